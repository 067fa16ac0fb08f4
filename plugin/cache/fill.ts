// From an answer to its entry: place, instants, bodies, bytes; then the fill, and the landing of its flight. The lease is
// renewed until then, as the flight is on.
import { type Background, type Flights, type Landing } from './flight.js'
import type { Answer, Claim } from './claim.js'
import { placeFill, selectEntry, union, without, type Shelf } from './lookup.js'
import type { Milliseconds } from '../duration.js'
import { encode, ownName, NOT_ENCODED, NOT_SOFTENED, type EncodedBody } from '../entry/entry.js'
import { Compressor } from '../entry/compression.js'
import { isReplacement } from '../http/headers.js'
import { within } from '../store/wait/deadline.js'
import {
  REFUSALS, noteRefusal, refuse, channels, since, stamp, tellFill, type Caller, type Complaints
} from '../telling/events.js'
import { count } from '../telling/stats.js'

const CROWDED = 'cache: a key has more variants than maxVariants, so the oldest go. Raise it, or have the responses vary by less, ' +
  'such as a language among those that there are, instead of the header as it is sent'

const FILL_FAILED = 'cache fill failed, so the response is not stored'

const NONE: readonly string[] = []

interface FillParts {
  shelf: Shelf
  flights: Flights
  background: Background
  complaints: Complaints
  deadline: Milliseconds
  jitter: number
  now: () => Milliseconds
  random: () => number
  /** Gives back a lease that is not used; `pass`: of a response that can't be shared. */
  abandon: (claim: Claim, caller: Caller, pass?: boolean) => void
  /** The same, and ends what lies there: the response takes its place. */
  end: (claim: Claim, caller: Caller) => void
  /** Lands a flight whose entry is stored. */
  handOut: (claim: Claim) => Promise<void>
  invalidate: (key: string) => Promise<unknown>
}

export class Fills {
  readonly #parts: FillParts
  readonly #compressor = new Compressor()

  constructor (parts: FillParts) {
    this.#parts = parts
  }

  /** Stores an answer under the lease; null: it has no place. Nobody waits for it; it never rejects. */
  run (claim: Claim, answer: Answer, caller: Caller): Kept | null {
    const { isEncoded, encoded: made, members, tags: named, life: longest, stale, rescue, keep = 0, basis = null } = answer
    const { shelf: { store, tagMemory }, flights, background, complaints, deadline, jitter, now, random } = this.#parts
    const { abandon, end, handOut } = this.#parts
    const { key, selection, lease, marker, validity, flight } = claim
    const place = placeFill(selection, { members, marker, lease })
    if (place === 'unfit') {
      refuse(key, 'vary', caller)
      if (claim.isOccupied && isReplacement(answer.status)) end(claim, caller)
      else abandon(claim, caller, true)
      return null
    }
    flight.isAnswered = true
    const storedAt = now()
    const life = longest - Math.floor(longest * jitter * random())
    const tags = union(selection.tags, named)
    tagMemory.remember(key, tags.slice(selection.tags.length))
    const staleAt = storedAt + life
    const [deadAt, rescueUntil] = [staleAt + stale, staleAt + rescue]
    const { epoch, varied } = place
    const whole = life + Math.max(stale, rescue, keep)
    const began = stamp(channels.fill)
    const kept = new Kept(tags, { key, caller, until: storedAt + whole, now, end: () => { this.#end(key, caller) } })
    background.run(async () => {
      const encoded = isEncoded ? made ?? await this.#compress(answer.body, key, caller) : NOT_ENCODED
      const { status, headers, body, kind, cost } = answer
      const { history } = validity
      const bytes = encode({
        status,
        headers,
        body,
        encoded,
        kind,
        epoch,
        history,
        tags,
        storedAt,
        softenings: NOT_SOFTENED,
        staleAt,
        deadAt,
        rescueUntil,
        cost,
        asOf: lease.asOf
      }, ownName(key, varied), store.kind === 'memory')
      // Behind `reply.send` the handler may use the bytes for something else, and say more of the response, both at once.
      await Promise.resolve()
      if (basis !== null && !await this.#stands(claim, basis)) {
        refuse(key, 'lease', caller)
        this.#land(claim, { type: 'again' })
        return await store.release(key, lease)
      }
      if (!kept.send()) return abandon(claim, caller, true)
      const unreadTags = tags === validity.tags ? NONE : without(tags, validity.tags)
      const filling = store.fill(key, lease, { bytes, life: whole, varied, tags, unreadTags })
      if (store.kind !== 'memory') flight.filling(deadline, () => { this.#land(claim, { type: 'pass' }) })
      const result = await filling
      const refused = REFUSALS[result]
      if (refused !== null) {
        noteRefusal(key, refused, caller)
        if (channels.fill.hasSubscribers) tellFill(caller.source, key, { result: refused, bytes: 0, duration: since(began) })
        return this.#land(claim, { type: result === 'too-large' ? 'pass' : 'again' })
      }
      if (!kept.stored()) return this.#land(claim, { type: 'pass' })
      if (result === 'crowded') complaints.warn(caller.log, CROWDED, { key, maxVariants: selection.maxVariants })
      caller.onEnd?.('stored')
      if (complaints.areOpen) complaints.end(caller.log, FILL_FAILED, 'responses are stored again')
      caller.counters.stores++
      caller.counters.bytes += bytes.length
      if (channels.fill.hasSubscribers) {
        tellFill(caller.source, key, { result: 'stored', bytes: bytes.length, duration: since(began) })
      }
      caller.log.debug({ key, bytes: bytes.length, ttl: life / 1000 }, 'cache stored')
      if (flight.isAlone) flights.land(flight, { type: 'again' })
      else await handOut(claim)
    }, (error) => {
      this.#land(claim, { type: 'again' })
      // It may be held yet, where Redis is full for example: others would wait for nobody.
      background.run(async () => { await store.release(key, lease) }, () => {})
      caller.counters.errors++
      count(caller.counters.refusals, 'store')
      caller.onEnd?.('store')
      if (channels.fill.hasSubscribers) tellFill(caller.source, key, { result: 'store', bytes: 0, duration: since(began) })
      complaints.warn(caller.log, FILL_FAILED, { err: error, key })
      kept.stored()
    })
    return kept
  }

  /** Whether an entry lies there yet, and is valid: see the head of revalidation.ts. */
  async #stands ({ key, selection }: Claim, basis: Buffer): Promise<boolean> {
    const { shelf, deadline } = this.#parts
    const { entry, bytes } = await within(deadline, selectEntry(shelf, key, selection))
    return entry !== null && bytes?.equals(basis) === true
  }

  /** Takes the stored entry away again. */
  #end (key: string, { log }: Caller): void {
    const { background, invalidate } = this.#parts
    background.run(async () => { await invalidate(key) }, (error) => {
      log.error({ err: error, key }, 'cache could not be told of a response that is not to be kept')
    })
  }

  /** A failure here costs bytes on the way to clients, so a line at level debug is enough. */
  async #compress (body: Buffer, key: string, { log }: Caller): Promise<readonly EncodedBody[]> {
    try {
      return await this.#compressor.run(body)
    } catch (error) {
      log.debug({ err: error, key }, 'cache compression failed')
      return NOT_ENCODED
    }
  }

  #land ({ flight }: Claim, landing: Landing): void {
    this.#parts.flights.land(flight, landing)
  }

  /** Bodies whose compression has not begun are stored as they are. */
  close (): void {
    this.#compressor.close()
  }
}

// A response that is being stored, or was, when something is said of it that comes too late: a tag that its entry does not
// have, so that invalidating the tag would not end it; or that it is not to be stored. Such a response is not kept: the
// store is not told of it, or its key is invalidated. With a handler H, which goes on behind `reply.send`, and a writer W:
//
//   1. H  reply.send('x')                the answer is captured, and on its way to the store with the tags named so far
//   2. H  reply.cacheTags('late')        its key is invalidated, if it has got there
//   3. W  invalidates the tag `late`     there is nothing that it would have to end
//
// Between 1 and 2 it may be served: nobody could know. So the log says that the call has to come earlier.

interface KeptParts {
  key: string
  caller: Caller
  /** When nobody is served it any more. */
  until: Milliseconds
  now: () => Milliseconds
  /** Invalidates its key. Nobody waits for it; it never rejects. */
  end: () => void
}

export class Kept {
  /** The tags of its entry. */
  readonly tags: readonly string[]
  readonly #parts: KeptParts
  #state: 'here' | 'sent' | 'stored' | 'gone' = 'here'
  /** Hears that it was not kept for what was said. */
  #told: (() => void) | null = null

  constructor (tags: readonly string[], parts: KeptParts) {
    this.tags = tags
    this.#parts = parts
  }

  /** Keeps the response out of the store; `told` is called if it would have been stored. Only the first call counts. */
  giveUp (told: () => void): void {
    const { until, now } = this.#parts
    if (this.#told !== null || this.#state === 'gone' || now() >= until) return
    this.#told = told
    if (this.#state === 'stored') this.#end()
  }

  /** Before the store is told of it: whether it is to be. */
  send (): boolean {
    const { key, caller } = this.#parts
    if (this.#told === null) {
      this.#state = 'sent'
      return true
    }
    this.#state = 'gone'
    refuse(key, 'called-late', caller)
    this.#told()
    return false
  }

  /** The store has it, or nobody knows, where it was sent at all: whether it is kept. */
  stored (): boolean {
    if (this.#state === 'sent') this.#state = 'stored'
    if (this.#told === null) return true
    if (this.#state === 'stored') this.#end()
    return false
  }

  #end (): void {
    const { key, caller, end } = this.#parts
    this.#state = 'gone'
    refuse(key, 'called-late', caller)
    this.#told?.()
    end()
  }
}
