// Invalidations that the store could not be told of yet. They are kept and told again and again until the store has them
// all, and before that this process serves nothing from the cache. With a write W, requests R, and a store that is away for
// a while:
//
//   1. W  writes the new row; invalidate('user:1') -> rejects, and the key is kept here
//   2. R  begins, with the store back and the old entry still in it: goes past the cache
//   3.    the key is told: the entry and the lease of a fill that is still under way are gone
//   4. R  begins: a miss, and what it reads is stored
//
// Told late, an invalidation drops more than it would have, never less. But what is kept while it is told is told again:
//
//   1.    `user:1` is told
//   2. F  takes the lease, reads the row
//   3. W  writes the row; invalidate('user:1') -> rejects, and is kept
//   4.    the store answers 1: of the write in 3 it knows nothing
import { setTimeout as pause } from 'node:timers/promises'
import { NO_TARGETS, type Targets } from './claim.js'
import type { Milliseconds } from '../duration.js'
import { RouteCacheError } from '../errors.js'
import { apart, together, isNothing } from '../key/target.js'
import { Backoff } from '../store/wait/backoff.js'
import { within } from '../store/wait/deadline.js'
import type { Answering, Follower, Witness } from '../store/witness.js'
import type { Log } from '../telling/events.js'

const EVERYTHING: Targets = { ...NO_TARGETS, all: true }
const ITS_NAME = nameOf(EVERYTHING)

interface JournalParts {
  tell: (targets: Targets) => Promise<unknown>
  /** Hears of all that was told at last. Default: nobody does. */
  onTold?: (targets: Targets) => void
  log: Log
  /** Names the store that failed, and the cause, in words. */
  describe?: ((error: unknown) => string) | undefined
  /** The store's name with its address, for the log. */
  storeName?: string | undefined
  /** More targets than these are replaced by one: everything. */
  most: number
}

export class Journal {
  readonly #tell: JournalParts['tell']
  readonly #onTold: (targets: Targets) => void
  readonly #log: Log
  readonly #describe: (error: unknown) => string
  readonly #named: string
  readonly #most: number
  /** When the oldest of the kept invalidations was kept. */
  #since: Milliseconds = 0
  /** Each by its name. Kept again it is another object, so that it outlives what is being told. */
  readonly kept = new Map<string, Targets>()
  /** How many repeated targets were kept: Redis had confirmed them. They have a limit of their own. */
  #repeated = 0
  readonly #pauses = new Backoff({ first: 100, longest: 2_000 })
  /** Whether the timer is due after the shortest pause. */
  #isSoon = false
  #timer: NodeJS.Timeout | undefined
  #replay: Promise<void> | null = null
  #phase: 'open' | 'patient' | 'last' | 'closed' = 'open'

  constructor ({ tell, onTold = () => {}, log, most, describe = () => 'the store', storeName }: JournalParts) {
    this.#named = storeName === undefined ? '' : `, in ${storeName},`
    this.#onTold = onTold
    this.#describe = describe
    this.#tell = tell
    this.#log = log
    this.#most = most
  }

  get size (): number {
    return this.kept.size
  }

  get isEmpty (): boolean {
    return this.kept.size === 0
  }

  /** Keeps targets that the store could not be told of, because of this error. */
  keep (targets: Targets, error: unknown): void {
    const wasEmpty = this.isEmpty
    for (const one of apart(targets)) this.kept.set(nameOf(one), one)
    if (this.isEmpty) return
    if (this.kept.size > this.#most + this.#repeated || this.kept.has(ITS_NAME)) {
      this.kept.clear()
      this.kept.set(ITS_NAME, { ...EVERYTHING })
    }
    if (wasEmpty) {
      this.#since = performance.now()
      const next = NEXT[this.#phase]
      this.#log.error({ err: error, journal: this.size }, 'the cache could not be told of an invalidation, as ' +
        `${this.#describe(error)} did not take it: ${next}`)
    }
    this.#schedule()
  }

  /** Keeps what another server confirmed than the one that answers now, however much it is; it is told at once. */
  again (list: readonly Targets[]): void {
    const each = list.flatMap(apart)
    if (this.isEmpty) this.#since = performance.now()
    for (const one of each) this.kept.set(nameOf(one), one)
    if (this.#repeated === 0) {
      this.#log.warn({ journal: this.size }, 'another Redis server answers than the one that confirmed the last invalidations: ' +
        'it is told of them again, and nothing is served from the cache until then')
    }
    this.#repeated += each.length
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#schedule(true)
  }

  /** The store has just answered: what is kept is told soon, however long the pauses have become. */
  hurry (): void {
    this.#pauses.reset()
    if (this.#timer === undefined || this.#isSoon) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#schedule()
  }

  /** Open; closing, with an end that tries again and again, or once; closed: nothing that is kept from now on is told. */
  get phase (): 'open' | 'patient' | 'last' | 'closed' {
    return this.#phase
  }

  /** Tries once more, for so long at most (0: no limit). `isPatient`: again and again. Never rejects. */
  async finish (time: Milliseconds, isPatient = false): Promise<void> {
    this.#phase = isPatient ? 'patient' : 'last'
    clearTimeout(this.#timer)
    let isOver = !isPatient
    await within(time, this.#finish(() => isOver)).catch(() => {})
    isOver = true
  }

  /** The same, and gives what is then left, which is lost, `others` among it; null: nothing is. */
  async close (time: Milliseconds, isPatient = false, others: () => readonly Targets[] = () => []): Promise<Targets | null> {
    await this.finish(time, isPatient)
    this.#phase = 'closed'
    const left = [...this.kept.values(), ...others()]
    if (left.length === 0) return null
    this.#log.error({ journal: left.length }, 'the cache closes with invalidations that could not be told: what they were to ' +
      'end may be served by others until its ttl is over')
    return together(left)
  }

  /** Once at least, and until it is over. */
  async #finish (isOver: () => boolean): Promise<void> {
    await this.#replay
    if (!this.isEmpty) await this.#tellAll()
    while (!this.isEmpty && !isOver()) {
      await pause(this.#pauses.next())
      if (!isOver()) await this.#tellAll()
    }
  }

  #schedule (isAtOnce = false): void {
    if (this.isEmpty || this.#phase !== 'open' || this.#timer !== undefined || this.#replay !== null) return
    this.#isSoon = isAtOnce || this.#pauses.isReset
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#replay = this.#tellAll().finally(() => {
        this.#replay = null
        this.#schedule()
      })
    }, isAtOnce ? 0 : this.#pauses.next())
    this.#timer.unref()
  }

  /** Tells all that is kept by now. Never rejects. */
  async #tellAll (): Promise<void> {
    const told = [...this.kept]
    const all = told.map(([, targets]) => targets)
    try {
      // One alone: a store that hangs must not be piled up with all of them each time. It is among all of them again, as
      // what was made of it may have been stored meanwhile.
      if (all.length > 1) await this.#tell(all[0]!)
      await this.#tell(together(all))
    } catch (error) {
      return this.#log.debug({ err: error, journal: this.size }, 'cache journal could not be told')
    }
    for (const [name, targets] of told) if (this.kept.get(name) === targets) this.kept.delete(name)
    this.#onTold(together(all))
    this.#pauses.reset()
    if (!this.isEmpty) return
    const level = this.#repeated > 0 ? 'warn' : 'error'
    this.#repeated = 0
    const time = Math.round(performance.now() - this.#since)
    // As loud as the line that it ends.
    this.#log[level]({ told: told.length, time }, `the cache${this.#named} was told of all invalidations, and serves again, after ` +
      `${(time / 1000).toFixed(1)} s`)
  }
}

/** What becomes of an invalidation that is kept, for the log. */
const NEXT: Readonly<Record<Journal['phase'], string>> = {
  open: 'it is kept, and nothing is served from the cache by this process until it is told. It is lost if the process ends before',
  patient: 'the cache is closing: it is tried again until close() gives up',
  last: 'the cache is closing: it is tried once more at most',
  closed: 'the cache is closed: it is not tried again'
}

/** Two equal targets have one name. */
function nameOf (target: Targets): string {
  return JSON.stringify(target)
}

// Invalidations that the store confirmed lately: told again where another server has taken over from the one that confirmed
// them, as it may never have heard of them (store/witness.ts has the interleaving). Until it is told, this process serves
// nothing from the cache.
//
// Bounded in time: what was confirmed more than a minute or two ago is forgotten. Not while the servers are not known, a
// primary has lost all of its replicas, or replicas did not confirm a write in time: each may mean that the server was
// replaced. And in number: of more, everything is invalidated instead.

/** A confirmed invalidation is kept for one such time at least, and two at most. */
export const SPAN: Milliseconds = 60_000
/** Targets in a span. */
export const MOST_IN_SPAN = 5_000

/** By which servers a target was invalidated last, and as which invalidation, counted. */
interface Confirmation { servers: string, order: number }

/** Whether the servers of now have it, need it no more, or have to be told. */
type Fate = (confirmation: Confirmation) => 'had' | 'moot' | 'owed'

interface ConfirmedParts {
  /** Null: there are no servers that could be replaced. */
  witness: Witness | null
  /** Has these told again: from then on, `isTold` gives false until they are. */
  again: (list: readonly Targets[]) => void
  isTold: () => boolean
  /** A clock that is not set back or ahead. Default: this process' own. */
  now?: () => Milliseconds
}

export class Confirmed implements Follower {
  readonly #witness: Witness | null
  readonly #again: ConfirmedParts['again']
  readonly #isTold: ConfirmedParts['isTold']
  readonly #now: () => Milliseconds
  #old: Span
  #young: Span
  #orders = 0
  mayBeBehind = false
  /** The number of the last work that too few replicas confirmed; 0: the replicas have everything. */
  #unreplicated = 0
  #works = 0

  constructor ({ witness, again, isTold, now = () => performance.now() }: ConfirmedParts) {
    this.#witness = witness
    this.#again = again
    this.#isTold = isTold
    this.#now = now
    this.#old = this.#young = new Span(now())
    witness?.follow(this)
  }

  get isKeeping (): boolean {
    this.#age()
    return !this.#old.isEmpty || !this.#young.isEmpty
  }

  get isBehind (): boolean {
    if (this.mayBeBehind && this.#isTold()) this.mayBeBehind = false
    return this.mayBeBehind
  }

  /** Does the work, which invalidates these, and keeps them once it is confirmed. Rejects as the work does. */
  async by<T> (targets: Targets, work: () => Promise<T>): Promise<T> {
    const witness = this.#witness
    if (witness === null) return await work()
    const servers = witness.sent()
    const begun = ++this.#works
    try {
      const result = await work()
      // Replication is one stream: a replica that has this has all that came before it.
      if (begun > this.#unreplicated) this.#unreplicated = 0
      this.#keep(witness, targets, servers())
      return result
    } catch (error) {
      if (isUnreplicated(error)) {
        this.#unreplicated = ++this.#works
        this.#keep(witness, targets, servers())
      }
      throw error
    }
  }

  #keep (witness: Witness, targets: Targets, servers: string): void {
    // Others have taken over meanwhile, and nobody else would tell them.
    if (witness.servers !== '' && witness.servers !== servers) return this.#owe([targets])
    this.#age()
    this.#young.add(targets, { servers, order: ++this.#orders })
    witness.watch()
  }

  asking (): (answering: Answering) => void {
    // A confirmation that comes after the new history is not moot: it may be of a server that was replaced before.
    const before = this.#orders
    return ({ servers, unnamed, isNew }) => {
      const owed = this.#sift((confirmation) => {
        if (isNew && confirmation.order <= before) return 'moot'
        if (confirmation.servers === unnamed) confirmation.servers = servers
        return confirmation.servers === servers ? 'had' : 'owed'
      })
      if (owed.length > 0) this.#owe(owed)
    }
  }

  #sift (fate: Fate): Targets[] {
    const owed = [...this.#old.sift(fate), ...this.#young.sift(fate)]
    return owed.length === 0 ? [] : [together(owed)]
  }

  #owe (list: readonly Targets[]): void {
    this.mayBeBehind = true
    this.#again(list)
  }

  #age (): void {
    const witness = this.#witness
    if (this.#unreplicated > 0 || witness === null || witness.servers === '' || witness.isAlone) return
    const now = this.#now()
    if (now - this.#young.began < SPAN) return
    this.#old = this.#young
    this.#young = new Span(now)
  }
}

/** The primary has it. */
export function isUnreplicated (error: unknown): boolean {
  return error instanceof RouteCacheError && error.code === 'FRC_REPLICAS'
}

class Span {
  readonly began: Milliseconds
  readonly #keys = new Map<string, Confirmation>()
  readonly #tags = new Map<string, Confirmation>()
  readonly #prefixes = new Map<string, Confirmation>()
  /** By the servers. Also in place of targets that were more than fit. */
  readonly #everything = new Map<string, Confirmation>()
  #isFull = false

  constructor (began: Milliseconds) {
    this.began = began
  }

  get isEmpty (): boolean {
    return this.#everything.size === 0 && this.#named.every((map) => map.size === 0)
  }

  get #named (): readonly Map<string, Confirmation>[] {
    return [this.#keys, this.#tags, this.#prefixes]
  }

  add ({ keys, tags, prefixes, all }: Targets, confirmation: Confirmation): void {
    for (const key of keys) this.#keys.set(key, confirmation)
    for (const tag of tags) this.#tags.set(tag, confirmation)
    for (const prefix of prefixes) this.#prefixes.set(prefix, confirmation)
    if (all) this.#addAll(confirmation)
    if (this.#isFull || this.#named.reduce((sum, { size }) => sum + size, 0) > MOST_IN_SPAN) this.#fill()
  }

  #addAll (confirmation: Confirmation): void {
    this.#everything.set(confirmation.servers, confirmation)
  }

  /** Keeps of the targets only which servers confirmed them, and when they did last. */
  #fill (): void {
    this.#isFull = true
    for (const map of this.#named) {
      for (const confirmation of map.values()) this.#addAll(confirmation)
      map.clear()
    }
  }

  /** Gives the targets that are owed; these and moot ones are dropped. */
  sift (fate: Fate): Targets[] {
    const [keys, tags, prefixes, all] = [...this.#named, this.#everything].map((map) => owedOf(map, fate))
    const owed = { keys: keys!, tags: tags!, prefixes: prefixes!, all: all!.length > 0 }
    return isNothing(owed) ? [] : [owed]
  }
}

function owedOf (map: Map<string, Confirmation>, fate: Fate): string[] {
  const owed: string[] = []
  for (const [name, confirmation] of map) {
    const its = fate(confirmation)
    if (its === 'had') continue
    map.delete(name)
    if (its === 'owed') owed.push(name)
  }
  return owed
}
