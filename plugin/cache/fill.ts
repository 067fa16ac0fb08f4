// From an answer to what is stored of it: its place, its instants, its bodies, its bytes; then the fill, and the landing of
// its flight. The lease that it is stored under is renewed until then, as the flight is on.
import type { Background } from './background.js'
import { REFUSALS, noteRefusal, refuse, type Caller } from '../telling/caller.js'
import type { Answer, Claim } from './claim.js'
import { encode, ownName } from '../entry/codec.js'
import type { Complaints } from '../telling/log.js'
import { Compressor } from '../entry/compression.js'
import type { Milliseconds } from '../duration.js'
import { NOT_ENCODED, NOT_SOFTENED, type EncodedBody } from '../entry/entry.js'
import { channels, since, stamp, tellFill } from '../telling/events.js'
import { flightName, type Flights, type Landing } from './flight.js'
import { Kept } from './kept.js'
import { isReplacement } from '../http/statuses.js'
import { count } from '../telling/stats.js'
import { isLate, within } from '../store/wait/deadline.js'
import { placeFill, selectEntry, without, type Shelf } from './variant.js'

const CROWDED = 'cache: a key has more variants than maxVariants, so the oldest go. Raise it, or have the responses vary by less, ' +
  'such as a language among those that there are, instead of the header as it is sent'

export interface FillParts {
  shelf: Shelf
  flights: Flights
  background: Background
  complaints: Complaints
  deadline: Milliseconds
  jitter: number
  now: () => Milliseconds
  random: () => number
  /** Gives back a lease that is not used, of a response that can't be shared. */
  abandon: (claim: Claim, caller: Caller) => void
  /** The same, and ends what lies there: the response takes its place. */
  end: (claim: Claim, caller: Caller) => void
  /** Lands a flight whose entry is stored. */
  handOut: (name: string, claim: Claim) => Promise<void>
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
    const { shelf: { store, memory }, background, complaints, jitter, now, random, abandon, end, handOut } = this.#parts
    const { key, selection, lease, marker, ground, flight } = claim
    const place = placeFill(selection, { members, marker, lease })
    if (place === 'unfit') {
      refuse(key, 'vary', caller)
      ;(claim.isOver && isReplacement(answer.status) ? end : abandon)(claim, caller)
      return null
    }
    flight.isAnswered = true
    const storedAt = now()
    const life = longest - Math.floor(longest * jitter * random())
    const tags = [...new Set([...selection.tags, ...named])]
    memory.remember(key, tags.slice(selection.tags.length))
    const staleAt = storedAt + life
    const [deadAt, rescueUntil] = [staleAt + stale, staleAt + rescue]
    const { epoch, varied } = place
    const whole = life + Math.max(stale, rescue, keep)
    const began = stamp(channels.fill)
    const kept = new Kept(tags, { key, caller, until: storedAt + whole, now, end: () => { this.#end(key, caller) } })
    background.run(async () => {
      const encoded = isEncoded ? made ?? await this.#compress(answer.body, key, caller) : NOT_ENCODED
      const { status, headers, body, kind, cost } = answer
      const { history } = ground
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
      }, ownName(key, varied))
      // Behind `reply.send` the handler may use the bytes for something else, and say more of the response, both at once.
      await Promise.resolve()
      if (basis !== null && !await this.#stands(claim, basis)) {
        refuse(key, 'lease', caller)
        this.#land(claim, { type: 'again' })
        return await store.release(key, lease)
      }
      if (!kept.send()) return abandon(claim, caller)
      const filling = store.fill(key, lease, { bytes, life: whole, varied, tags, late: without(tags, ground.tags) })
      this.#letGoLate(claim, filling)
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
      caller.counters.stores++
      caller.counters.bytes += bytes.length
      if (channels.fill.hasSubscribers) {
        tellFill(caller.source, key, { result: 'stored', bytes: bytes.length, duration: since(began) })
      }
      caller.log.debug({ key, bytes: bytes.length, ttl: life / 1000 }, 'cache stored')
      await handOut(flightName(key, lease.variant), claim)
    }, (error) => {
      this.#land(claim, { type: 'again' })
      // It may be held yet, where Redis is full for example: others would wait for nobody.
      background.run(async () => { await store.release(key, lease) }, () => {})
      caller.counters.errors++
      count(caller.counters.refusals, 'store')
      caller.onEnd?.('store')
      if (channels.fill.hasSubscribers) tellFill(caller.source, key, { result: 'store', bytes: 0, duration: since(began) })
      complaints.warn(caller.log, 'cache fill failed', { err: error, key })
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

  /** What was stored is not to be kept. */
  #end (key: string, { log }: Caller): void {
    const { background, invalidate } = this.#parts
    background.run(async () => { await invalidate(key) }, (error) => {
      log.error({ err: error, key }, 'cache could not be told of a response that is not to be kept')
    })
  }

  /** What fails here costs bytes on the way to clients, so it is not worth more than a line for who looks for it. */
  async #compress (body: Buffer, key: string, { log }: Caller): Promise<readonly EncodedBody[]> {
    try {
      return await this.#compressor.run(body)
    } catch (error) {
      log.debug({ err: error, key }, 'cache compression failed')
      return NOT_ENCODED
    }
  }

  /** Who waits for this run has its answer no later than a lookup would have had: a store may hang. */
  #letGoLate (claim: Claim, filling: Promise<unknown>): void {
    within(this.#parts.deadline, filling).catch((error: unknown) => {
      if (isLate(error)) this.#land(claim, { type: 'pass' })
    })
  }

  #land ({ key, lease, flight }: Claim, landing: Landing): void {
    this.#parts.flights.land(flightName(key, lease.variant), flight, landing)
  }

  /** What has not begun to be compressed is stored as it is. */
  close (): void {
    this.#compressor.close()
  }
}
