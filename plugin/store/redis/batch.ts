// Reads of one turn of the event loop travel together. A read joins the batch that is not sent yet: it reads what the server
// has after the read began. A batch is sent when the sockets that were ready have been read, so requests that came together
// share one trip; one that came alone waits for nothing but that.
import type { Milliseconds } from '../../duration.js'
import { RouteCacheError } from '../../errors.js'
import { Deadline, isLate } from '../wait/deadline.js'
import { leastOf, readGeneration, type FloorState, type Generation, type Keys } from '../keys.js'
import type { Ask, Reader, Reading } from '../store.js'
import type { RedisClient } from '../server/redis-client.js'

/** Names in a batch: a reply of thousands would have everybody wait for its last. */
const MOST_NAMES = 1_000
/** Each of them is a command that the client still keeps: a store that hangs must not be piled up with more. */
const MOST_OVERDUE = 100
const NONE: readonly never[] = []
/** Where the floor stands among the names. */
const FLOOR = 0

/** What the names of a batch hold, and what the floor says. */
export interface BatchAnswer extends FloorState { values: readonly (Buffer | null)[] }

export interface BatchParts {
  keys: Keys
  /** Asks the servers; the first name is the floor's. */
  ask: (names: readonly string[]) => Promise<BatchAnswer>
  /** How long a reader waits. 0: without limit. */
  deadline: Milliseconds
}

interface Waiting {
  reader: Reader
  key: string | null
  /** The lookup's deadline is not for this reader. */
  isPatient: boolean
  main: number
  varied: number
  tags: readonly number[]
}

class Batch {
  readonly names: string[]
  readonly #places = new Map<string, number>()
  /** Places of values that several readers get. */
  readonly #shared = new Set<number>()
  #waiting: Waiting[] = []
  isSent = false

  constructor (floor: string) {
    this.names = [floor]
  }

  add (waiting: Waiting): void {
    this.#waiting.push(waiting)
  }

  /** Where this name's value will be. */
  place (name: string): number {
    let place = this.#places.get(name)
    if (place === undefined) {
      place = this.names.push(name) - 1
      this.#places.set(name, place)
    } else {
      this.#shared.add(place)
    }
    return place
  }

  answer ({ values, history, prefixes }: BatchAnswer, left: Milliseconds): void {
    const generations: Array<Generation | null | undefined> = []
    const generationAt = (place: number): Generation | null => {
      let generation = generations[place]
      if (generation === undefined) generation = generations[place] = readGeneration(values[place]?.toString('latin1') ?? '')
      return generation
    }
    for (const { reader, key, main, varied, tags } of this.#take()) {
      reader.read({
        main: values[main] ?? null,
        varied: varied === FLOOR ? null : values[varied] ?? null,
        history,
        least: prefixes.length === 0 || key === null ? 0 : leastOf(prefixes, key),
        generations: tags.length === 0 ? NONE : tags.map((place) => generationAt(place)?.dropped ?? null),
        softened: tags.length === 0 ? NONE : tags.map((place) => generationAt(place)?.stale ?? 0),
        isKept: this.#shared.has(varied === FLOOR ? main : varied),
        isNear: false
      }, left)
    }
  }

  fail (error: unknown, isMeant?: (waiting: Waiting) => boolean): void {
    for (const { reader } of this.#take(isMeant)) reader.failed(error)
  }

  #take (isMeant?: (waiting: Waiting) => boolean): Waiting[] {
    const taken = this.#waiting
    this.#waiting = isMeant === undefined ? [] : taken.filter((waiting) => !isMeant(waiting))
    return isMeant === undefined ? taken : taken.filter(isMeant)
  }
}

export class Batches {
  readonly #parts: BatchParts
  #next: Batch | null = null
  #overdue = 0

  constructor (parts: BatchParts) {
    this.#parts = parts
  }

  /** `key` null: only the tags are asked for. `isPatient`: the deadline is not for this reader. */
  add ({ key, variant, tags }: Omit<Ask, 'key'> & { key: string | null }, reader: Reader, isPatient: boolean): void {
    if (this.#overdue >= MOST_OVERDUE) {
      reader.failed(new RouteCacheError('FRC_STORE', `${MOST_OVERDUE} reads have not been answered yet`))
      return
    }
    const { keys } = this.#parts
    const batch = this.#open()
    batch.add({
      reader,
      key,
      isPatient,
      main: key === null ? FLOOR : batch.place(keys.entry(key)),
      varied: key === null || variant === null ? FLOOR : batch.place(keys.variant(key, variant)),
      tags: tags.length === 0 ? NONE : tags.map((tag) => batch.place(keys.tag(tag)))
    })
    if (batch.names.length >= MOST_NAMES) this.#send(batch)
  }

  #open (): Batch {
    if (this.#next !== null) return this.#next
    const batch = this.#next = new Batch(this.#parts.keys.floor)
    setImmediate(() => { this.#send(batch) })
    return batch
  }

  #send (batch: Batch): void {
    if (batch.isSent) return
    batch.isSent = true
    if (this.#next === batch) this.#next = null
    const asking = this.#parts.ask(batch.names)
    const deadline = new Deadline(this.#parts.deadline)
    const answer = (values: BatchAnswer): void => { batch.answer(values, deadline.left) }
    deadline.wait(asking).then(answer, (error: unknown) => {
      if (!isLate(error)) return batch.fail(error)
      this.#overdue++
      batch.fail(error, ({ isPatient }) => !isPatient)
      asking.then(answer, (error: unknown) => { batch.fail(error) }).finally(() => { this.#overdue-- })
    })
  }
}

/** A reader as a promise. */
export async function promised (add: (reader: Reader) => void): Promise<Reading> {
  return await new Promise((resolve, reject) => { add({ read: resolve, failed: reject }) })
}

// Plain reads of many names in one trip: one MGET; on a Cluster one pipeline of GETs for each server that has some of them.

/** A Cluster's servers may answer apart in time, but not for longer than the floor keeps what was invalidated by prefix. */
export const LONGEST_READ: Milliseconds = 1_000

/** The primary that has this name, as far as it is known. */
export type ServerOf = (name: string) => RedisClient | undefined

/**
 * The values of these names. What is no string, a hash of somebody else for example, is as if it were not there. On a
 * Cluster without `serverOf`, or where a server has them no more, each name is asked for by itself: the client follows it.
 * Rejects with FRC_STORE where that took too long.
 */
export async function readAll (
  client: RedisClient, names: readonly string[], serverOf: ServerOf = () => undefined
): Promise<(Buffer | null)[]> {
  if (client.isCluster !== true) return await client.mgetBuffer(...names)
  const began = performance.now()
  const values: (Buffer | null)[] = []
  const places = new Map<RedisClient | undefined, number[]>()
  for (const [i, name] of names.entries()) {
    const server = serverOf(name)
    const group = places.get(server)
    if (group === undefined) places.set(server, [i])
    else group.push(i)
  }
  const readOne = async (i: number): Promise<void> => { values[i] = await client.getBuffer(names[i]!).catch(asMissing) }
  await Promise.all(Array.from(places, async ([server, group]) => {
    const pipeline = group.length > 1 ? server?.pipeline?.() : undefined
    if (pipeline === undefined) return await Promise.all(group.map(readOne))
    for (const i of group) pipeline.getBuffer(names[i]!)
    const replies = await pipeline.exec()
    const failed: number[] = []
    for (const [at, i] of group.entries()) {
      const [error, reply] = replies?.[at] ?? [new Error('no reply'), null]
      if (error === null) values[i] = reply as Buffer | null
      else if (isNoString(error)) values[i] = null
      else failed.push(i)
    }
    if (failed.length > 0) await Promise.all(failed.map(readOne))
  }))
  if (performance.now() - began < LONGEST_READ) return values
  throw new RouteCacheError('FRC_STORE', `the Cluster's servers took longer than ${LONGEST_READ} ms to answer one read`)
}

/** MGET does so by itself. */
function asMissing (error: unknown): null {
  if (isNoString(error)) return null
  throw error
}

function isNoString (error: unknown): boolean {
  return String((error as { message?: unknown } | null)?.message).startsWith('WRONGTYPE')
}
