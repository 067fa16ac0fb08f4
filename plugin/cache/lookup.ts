// The lookup in full: read; on a miss follow the flight that is on, or open one and take the lease. Failures of the store
// are caught here: the request goes on without the cache, counted and logged.
import { randomBytes } from 'node:crypto'
import type { Caller, Complaints } from '../telling/events.js'
import type { Claim, Found, Missed, Question, Spare, Selected, Selection } from './claim.js'
import type { Milliseconds } from '../duration.js'
import {
  encodeMarker, isMarker, ownName, soundEntry, soundMarker, useOf, asSoftened, isValid, type Entry, type Use,
  type ValidityBasis, type Marker, type DecodedEntries
} from '../entry/entry.js'
import type { Failures } from './refresh.js'
import { flightName, type Flight, type Flights, type LandedEntry, type Place } from './flight.js'
import type { FormerBuild } from './former-build.js'
import type { CacheLimits, AnswerLimits } from '../options/limits.js'
import type { Breaker } from '../store/wait/breaker.js'
import { Deadline, isLate, within } from '../store/wait/deadline.js'
import { nameOf } from '../store/keys.js'
import type { Taken, Ask, Lease, Reading, Store, Varied } from '../store/store.js'
import { fingerprint, type RequestFields } from '../http/headers.js'
import { EPOCH_LENGTH } from '../store/layout.js'

/** The result of a read; `flight`: somebody is about to fill the key. */
type Finding = Found | { type: 'flight', flight: Flight, spare: Spare | null }

/** A lookup under way, and whether its request has gone on without it. */
interface Progress {
  question: Question
  /** The deadline has passed. */
  isOverdue: boolean
  canWait: boolean
  /** The store has answered the read. */
  isRead: boolean
}

/** The entry in the store, if this lookup may not serve it, or only where the handler fails; and the name of its flight. */
interface Lying { name: string, spare: Spare | null, entry: Entry | null, first: First | undefined }

type Polled = Pick<Question, 'key' | 'selection' | 'waitTimeout'> & { variant: string | null }

const MOST_OVERDUE_LOOKUPS = 100
/** What the log says of lookups that fail; the end of that is said, too. */
export const LOOKUP_FAILED = 'cache lookup failed, so the request goes to its handler'
/** A request waits for one run; and for another, where the first ended without an entry. */
const MOST_WAITS = 2

interface LookupParts extends Pick<CacheLimits, 'deadline' | 'maxWaiters'> {
  shelf: Shelf
  flights: Flights
  failures: Failures
  formerBuild: FormerBuild
  breaker: Breaker
  complaints: Complaints
  now: () => Milliseconds
  random: () => number
  /** Gives back a lease that came too late. */
  abandon: (claim: Claim, caller: Caller) => void
  /** And one that was taken with a read in vain. */
  untake: (key: string, token: string, caller: Caller) => void
}

export class Lookup {
  readonly #parts: LookupParts
  /** Requests that wait for another one's handler. */
  #waiting = 0
  /** Lookups that were given up and are not answered yet. */
  #overdue = 0

  constructor (parts: LookupParts) {
    this.#parts = parts
  }

  /** How many requests wait for another one's handler. */
  get waiting (): number {
    return this.#waiting
  }

  /**
   * The entry, or on a miss the lease: read and taken within one deadline. Where somebody else is about to fill it, waits
   * for that, `waitTimeout` in all. `first`: was read for it before. Never rejects.
   */
  async run (question: Question, caller: Caller, first?: First): Promise<Found> {
    let left = question.waitTimeout
    let collapsed = false
    for (let waits = 0; ; waits++) {
      const canWait = left > 0 && waits < MOST_WAITS
      const finding = await this.#findInTime({ question, isOverdue: false, isRead: false, canWait }, caller, first)
      // Who waits for another's fill must not keep the lease of that fill.
      if (first !== undefined) this.giveBack(first, caller)
      first = undefined
      if (finding.type === 'hit') return { type: 'hit', entry: finding.entry, collapsed, early: finding.early }
      if (finding.type !== 'flight') return finding
      const began = performance.now()
      // If the handler has answered, only the fill is left to wait for.
      collapsed ||= !finding.flight.isAnswered && !finding.flight.isLanded
      if (this.#waiting >= this.#parts.maxWaiters) return { type: 'miss', claim: null, spare: finding.spare, why: 'waiters' }
      this.#waiting++
      const landing = await finding.flight.follow(left)
      this.#waiting--
      left -= performance.now() - began
      const { spare } = finding
      if (landing === null) this.#tellLongRun(question, caller)
      if (landing?.type === 'failed' && spare !== null && useOf(spare.entry, this.#parts.now(), { mayRescue: true, hasFailed: true }) !== null) {
        return { type: 'stale', entry: spare.entry, selected: spare.selected, ifError: true }
      }
      if (landing === null || landing.type === 'pass' || landing.type === 'failed') return { type: 'miss', claim: null, spare }
      const entry = landing.type === 'stored' ? this.#fitting(landing.stored, question) : null
      if (entry !== null) return { type: 'hit', entry, collapsed, early: null }
    }
  }

  /** Gives back the lease that was taken with the first read, if nobody uses it. */
  giveBack (first: First, caller: Caller): void {
    const { asked: { key }, token } = first
    if (token === null) return
    first.token = null
    this.#parts.untake(key, token, caller)
  }

  /** A handler that asks for the key that it fills waits for itself, in vain; so do two that ask for each other's. */
  #tellLongRun ({ key, waitTimeout }: Question, { log }: Caller): void {
    this.#parts.complaints.warn(log, 'another run for this cache key did not end within waitTimeout, so nobody waits for it any more: ' +
      'it is slow, or asks for this very key itself, as a load of getOrSet or a handler must not', { key: nameOf(key), waitTimeout })
  }

  /** The entry that a landing handed out, if this request selects it, too. */
  #fitting (stored: LandedEntry, { selection }: Question): Entry | null {
    const { entry, tags } = stored
    const isOurs = isSelected(selection, stored) && without(selection.tags, tags).length === 0
    return isOurs && useOf(entry, this.#parts.now(), {}) === 'fresh' ? entry : null
  }

  async #findInTime (progress: Progress, caller: Caller, first?: First): Promise<Finding> {
    if (first?.reading === null) return this.#failed(progress, caller, first.error)
    if (this.#parts.breaker.isOpen) return { type: 'unknown', reason: 'breaker' }
    // Each of them is a command that the client still keeps: a store that hangs must not be piled up with more.
    if (this.#overdue >= MOST_OVERDUE_LOOKUPS) return { type: 'unknown', reason: 'store' }
    const finding = this.#find(progress, caller, first)
    try {
      if (this.#parts.shelf.store.kind === 'memory') return await finding
      const found = await new Deadline(first?.left ?? this.#parts.deadline).wait(finding, (found) => {
        if (found.type === 'miss' && found.claim !== null) this.#parts.abandon(found.claim, caller)
      })
      if (this.#parts.breaker.isDoubtful) this.#parts.breaker.succeeded()
      // A full server answers reads: only a lease shows that it takes writes again.
      if (this.#parts.complaints.areOpen && found.type === 'miss' && found.claim !== null) {
        this.#parts.complaints.end(caller.log, LOOKUP_FAILED, 'cache lookups succeed again')
      }
      return found
    } catch (error) {
      if (isLate(error)) this.#giveUp(progress, finding)
      return this.#failed(progress, caller, error)
    }
  }

  #failed ({ isRead, question: { key } }: Progress, { counters, log }: Caller, error: unknown): Finding {
    // A store that refuses to write may still answer reads.
    if (!isRead || isLate(error)) this.#parts.breaker.failed()
    counters.errors++
    this.#parts.complaints.warn(log, LOOKUP_FAILED, { err: error, key })
    return { type: 'unknown', reason: 'store' }
  }

  async #find (progress: Progress, { counters }: Caller, first?: First): Promise<Finding> {
    const { question } = progress
    const { key, selection, toFill, toRefresh } = question
    const selected = await selectEntry(this.#parts.shelf, key, selection, first)
    progress.isRead = true
    const { entry, variant } = selected
    const name = flightName(key, variant)
    if (entry?.isOfFormerBuild === true) this.#parts.formerBuild.notice(entry)
    const use = entry === null || toRefresh ? null : this.#useOf(entry, question, name)
    if (use === 'fresh' || use === 'early') {
      return { type: 'hit', entry: entry!, collapsed: false, early: use === 'early' ? selected : null }
    }
    if (use === 'stale' || use === 'stand-in') return { type: 'stale', entry: entry!, selected, ifError: use === 'stand-in' }
    const spare = use === 'spare' ? { entry: entry!, selected } : null
    const missed = { type: 'miss' as const, claim: null, spare }
    if (selected.isOutdated) counters.outdated++
    if (selected.isUnreadable) counters.unreadable++
    // Late, nobody waits any more: a lease would only keep others from filling.
    if (!toFill || progress.isOverdue) return missed
    // A tag in quarantine: nothing that runs now could be served later.
    if (selected.validity.generations.includes(Infinity)) return missed
    const flight = this.#parts.flights.get(name)
    if (flight === undefined && question.toFollow === true) return missed
    if (flight === undefined) return await this.#open(progress, selected, { name, spare, entry, first })
    if (toRefresh || !progress.canWait || flight.age > question.waitTimeout) return missed
    await flight.known()
    return flight.isPass ? missed : { type: 'flight', flight, spare }
  }

  #useOf (entry: Entry, { mayBeStale, mayRescue, mayBeEarly }: Question, name: string): Use {
    const { now, random: chance, failures } = this.#parts
    return useOf(entry, now(), { mayBeStale, mayRescue, mayBeEarly, chance, hasFailed: () => failures.has(name, entry) })
  }

  /**
   * The miss, with the lease, of a request for which the store of this process has nothing and nobody fills the key: it
   * waits for nothing. Null: the lookup in full has to tell.
   */
  missAtOnce (question: Question, { asked: { tags }, reading }: First): Missed | null {
    const { breaker, flights, shelf: { store } } = this.#parts
    const { key, selection, toFill, toFollow, waitTimeout } = question
    if (store.takeAtOnce === undefined || breaker.isOpen || reading === null || reading.main !== null) return null
    if (!toFill || toFollow === true || selection.needs.length > 0 || reading.generations.includes(Infinity)) return null
    const name = flightName(key, null)
    if (flights.get(name) !== undefined) return null
    const lease = store.takeAtOnce(key)
    if (lease === null) return null
    const { history, least, generations, softened } = reading
    const flight = flights.open(name, key)
    flight.lead({ store, key, lease, waitTimeout })
    const validity = { history, least, tags, generations, softened }
    return { type: 'miss', claim: { key, selection, lease, marker: null, validity, flight, isOccupied: false }, spare: null }
  }

  /** No handler runs in this process: takes the lease, or waits, with all that come now, for the process that has it. */
  async #open (progress: Progress, selected: Selected, { name, spare, entry, first: ahead }: Lying): Promise<Finding> {
    const { variant, bytes, marker: present, validity, clock } = selected
    const { question: { key, selection, toRefresh, waitTimeout }, canWait } = progress
    const first = present === null ? firstMarker(selection) : null
    const flight = this.#parts.flights.open(name, key)
    let taken: Taken = 'pass'
    try {
      const missing = validity.tags.filter((_, i) => validity.generations[i] === null)
      const matters = first !== null || (!toRefresh && canWait)
      const marker = first === null ? null : encodeMarker(first)
      const token = variant === null && ahead !== undefined ? ahead.token : null
      if (token !== null) ahead!.token = null
      const seen = { tags: validity.tags, missing, bytes: matters ? bytes : undefined, marker, clock, token }
      taken = await this.#parts.shelf.store.take(key, variant, seen)
    } finally {
      if (taken === 'pass') this.#parts.flights.land(flight, { type: 'pass' })
      if (taken === 'changed' || (taken === 'held' && !canWait)) this.#parts.flights.land(flight, { type: 'again' })
    }
    if (typeof taken !== 'string') {
      flight.lead({ store: this.#parts.shelf.store, key, lease: taken, waitTimeout })
      const claim = { key, selection, lease: taken, marker: present ?? first, validity, flight, isOccupied: bytes != null }
      return { type: 'miss', claim, spare, present: entry === null ? null : { entry, selected } }
    }
    if (taken === 'changed') return { type: 'flight', flight, spare }
    if (flight.isLanded) return { type: 'miss', claim: null, spare }
    this.#poll(flight, { key, selection, waitTimeout, variant }).catch(() => { this.#parts.flights.land(flight, { type: 'pass' }) })
    return { type: 'flight', flight, spare }
  }

  /** Waits for another process' fill, for all who join. */
  async #poll (flight: Flight, { key, variant, selection, waitTimeout }: Polled): Promise<void> {
    const holder = async (): Promise<'held' | 'pass' | 'none'> => await within(this.#parts.deadline, this.#parts.shelf.store.holder(key, variant))
    const { type } = await flight.poll(holder, waitTimeout)
    if (type === 'pass') this.#parts.flights.land(flight, { type })
    else await this.handOut({ key, selection, flight })
  }

  /** Hands out the entry that lies there and is valid now, when all followers have begun: see the head of flight.ts. */
  async handOut ({ key, selection, flight }: Pick<Claim, 'key' | 'selection' | 'flight'>): Promise<void> {
    this.#parts.flights.close(flight)
    const stored = flight.isAlone ? null : await this.#reread(key, selection)
    flight.land(stored === null ? { type: 'again' } : { type: 'stored', stored })
  }

  async #reread (key: string, selection: Selection): Promise<LandedEntry | null> {
    const found = await within(this.#parts.deadline, selectEntry(this.#parts.shelf, key, selection)).catch(() => null)
    if (found?.entry == null) return null
    const { entry, marker, variant } = found
    return { entry, members: marker?.members ?? [], variant, tags: [...selection.tags, ...entry.tags] }
  }

  #giveUp (progress: Progress, finding: Promise<unknown>): void {
    progress.isOverdue = true
    this.#overdue++
    const settled = (): void => { this.#overdue-- }
    finding.then(settled, settled)
  }
}

// Which of a key's responses a request gets where they vary, and where a new one is put: the marker, and its variants. The
// fields that select are those of `Vary` and of the policy; `:identity` stands for the user, where the policy has an
// identity.

/** The member of a marker that stands for the policy's `identity`: no header field has such a name. */
export const IDENTITY = ':identity'
/** And the one for its `version`. */
export const VERSION = ':version'
/** The host that the router has matched, where a route takes those of a pattern. */
export const MATCHED_HOST = ':host'

/** By these headers alone, whatever a route would say. */
export function selectBy (headers: RequestFields): Selection {
  const by = (members: readonly string[]): string => fingerprint(members, headers)
  return { needs: [], hint: { members: [] }, fingerprint: by, tags: [], maxVariants: 1 }
}

/** The store, the tags that are remembered by key, how large an entry may be that is served, and those decoded lately. */
export interface Shelf { store: Store, tagMemory: TagMemory, limits: AnswerLimits, decoded: DecodedEntries }

/** The first read of a request: its key, its most likely variant, the generations that likely decide. */
export interface FirstAsk extends Ask {
  toTake: boolean
  /** By which the variant was guessed. */
  members: readonly string[]
}

/** The first read's result, or why it failed; `left`: the rest of the deadline, 0: no deadline, null: it has not begun. */
export interface First {
  asked: FirstAsk
  reading: Reading | null
  error: unknown
  left: Milliseconds | null
  /** Of the lease that was taken with it, as long as nobody uses it. */
  token: string | null
}

export function askFor ({ tagMemory }: Shelf, key: string, { needs, hint, fingerprint, tags }: Selection): FirstAsk {
  const members = contains(hint.members, needs) ? hint.members : needs
  const variant = members.length === 0 ? null : fingerprint(members)
  return { key, variant, tags: union(tags, tagMemory.of(key)), toTake: false, members }
}

interface Ready { reading: Reading, decoded: DecodedEntries }

/** The entry that the selection leads to, where this reading shows that it is valid; null: a full lookup has to tell. */
export function readyEntry (
  { key, variant, tags, members }: FirstAsk, selection: Selection, { reading, decoded }: Ready
): Entry | null {
  const { main, varied, isKept, isNear } = reading
  if (main === null) return null
  let entry: Entry | null
  if (isMarker(main)) {
    const marker = variant === null || varied === null ? null : soundMarker(main)
    if (marker === null || !isSame(marker.members, members) || !contains(members, selection.needs)) return null
    entry = decoded.of({ bytes: varied!, name: ownName(key, { variant: variant! }), isKept }, isNear)
    if (entry?.epoch !== marker.epoch) return null
  } else {
    entry = selection.needs.length > 0 ? null : decoded.of({ bytes: main, name: key, isKept }, isNear)
    if (entry?.epoch !== '') return null
  }
  const { history, least, generations, softened } = reading
  const validity = { history, least, tags, generations, softened }
  if (tags === selection.tags) {
    if (!isSame(entry.tags, tags) && without(entry.tags, tags).length > 0) return null
    return isValid(entry, validity) ? asSoftened(entry, validity) : null
  }
  if (without(entry.tags, tags).length > 0) return null
  const telling = only(union(selection.tags, entry.tags), validity)
  return isValid(entry, telling) ? asSoftened(entry, telling) : null
}

function isSame (list: readonly string[], other: readonly string[]): boolean {
  return list.length === other.length && list.every((text, i) => text === other[i])
}

/**
 * Reads the entry that the selection leads to, with what decides about it; in a second trip only where the marker has other
 * members than the hint, or the entry has tags that nobody remembers. `first`: was read before.
 */
export async function selectEntry (shelf: Shelf, key: string, selection: Selection, first?: First): Promise<Selected> {
  const { needs, hint, fingerprint } = selection
  const asked = first?.asked ?? askFor(shelf, key, selection)
  const { variant: guess, tags, members } = asked
  const reading = first?.reading ?? await shelf.store.read(asked)
  const { main, varied: guessed, history, least, generations, softened, clock } = reading
  const validity = { history, least, generations, softened, tags }
  const marker = main === null ? null : soundMarker(main)
  if (marker === null) {
    const present = main === null ? null : soundEntry({ bytes: main, name: key }, shelf.limits)
    const entry = needs.length > 0 ? null : present
    const variant = needs.length === 0 ? null : members === needs ? guess : fingerprint(needs)
    const isUnreadable = main !== null && present === null
    const judging = judged(shelf, { key, entry, epoch: '', selection, clock }, validity)
    const found = judging instanceof Promise ? await judging : judging
    return selectedIn(found, { isUnreadable, marker: null, variant, bytes: main })
  }
  hint.members = marker.members
  const variant = guess !== null && isSame(marker.members, members) ? guess : fingerprint(marker.members)
  if (!contains(marker.members, needs)) {
    return { entry: null, isOutdated: false, isUnreadable: false, marker, variant, bytes: undefined, validity, clock }
  }
  const varied = variant === guess ? guessed : (await shelf.store.read({ key, variant, tags: [] })).varied
  const entry = varied === null ? null : soundEntry({ bytes: varied, name: ownName(key, { variant }) }, shelf.limits)
  const isUnreadable = varied !== null && entry === null
  const found = await judged(shelf, { key, entry, epoch: marker.epoch, selection, clock }, validity)
  return selectedIn(found, { isUnreadable, marker, variant, bytes: varied })
}

function selectedIn (
  { entry, isOutdated, validity, clock }: Judged, { isUnreadable, marker, variant, bytes }: Omit<Selected, keyof Judged>
): Selected {
  return { entry, isOutdated, isUnreadable, marker, variant, bytes, validity, clock }
}

type Judged = Pick<Selected, 'entry' | 'isOutdated' | 'validity' | 'clock'>

interface Candidate { key: string, entry: Entry | null, epoch: string, selection: Selection, clock: number | null }

/** The entry if it has this epoch and is valid, and the basis of that judgment; a promise if more has to be read first. */
function judged (shelf: Shelf, candidate: Candidate, validity: ValidityBasis): Judged | Promise<Judged> {
  const { key, entry, epoch, selection, clock } = candidate
  if (entry?.epoch !== epoch) return { entry: null, isOutdated: false, validity, clock }
  const unread = without(entry.tags, validity.tags)
  if (unread.length === 0) return judgment(entry, selection, { validity, first: validity.history, clock })
  shelf.tagMemory.remember(key, without(entry.tags, selection.tags))
  return shelf.store.generations(unread).then(({ history, generations, softened }) => {
    const whole = {
      history,
      least: validity.least,
      tags: [...validity.tags, ...unread],
      generations: [...validity.generations, ...generations],
      softened: [...validity.softened, ...softened]
    }
    // These generations may be above the clock.
    return judgment(entry, selection, { validity: whole, first: validity.history, clock: null })
  })
}

/** `first`: the history that was read first. */
interface Basis { validity: ValidityBasis, first: string, clock: number | null }

function judgment (entry: Entry, selection: Selection, { validity, first, clock }: Basis): Judged {
  // Tags that an earlier response had say nothing about this one.
  const telling = validity.tags === selection.tags ? validity : only(union(selection.tags, entry.tags), validity)
  // Two reads must be of one history: see the head of floor.ts.
  const isSound = validity.history === first && isValid(entry, telling)
  return { entry: isSound ? asSoftened(entry, telling) : null, isOutdated: !isSound, validity, clock }
}

/** The part of it that is about these tags. */
function only (tags: readonly string[], validity: ValidityBasis): ValidityBasis {
  const at = new Map(validity.tags.map((tag, i) => [tag, i]))
  return {
    history: validity.history,
    least: validity.least,
    tags,
    generations: tags.map((tag) => validity.generations[at.get(tag)!] ?? null),
    softened: tags.map((tag) => validity.softened[at.get(tag)!] ?? 0)
  }
}

/** The tags that are not among the others: a list of articles may have a thousand. */
export function without (tags: readonly string[], others: readonly string[]): string[] {
  const known = new Set(others)
  return tags.filter((tag) => !known.has(tag))
}

/** All of them, each once. */
export function union (tags: readonly string[], others: readonly string[]): readonly string[] {
  return others.length === 0 ? tags : [...new Set([...tags, ...others])]
}

/** Whether a request with this selection gets the entry in this place. */
export function isSelected ({ needs, fingerprint }: Selection, { members, variant }: Place): boolean {
  return contains(members, needs) && (variant === null || fingerprint(members) === variant)
}

interface FillPlace { epoch: string, varied: Varied | null }

const UNVARIED: FillPlace = { epoch: '', varied: null }

/**
 * Where a response with these members goes that was missed under this marker: null, under the key itself; 'unfit', nowhere:
 * a response that does not vary would stand for all the variants that are there.
 */
export function placeFill (
  { needs, fingerprint, maxVariants: most }: Selection,
  { members, marker, lease }: { members: readonly string[], marker: Marker | null, lease: Lease }
): FillPlace | 'unfit' {
  if (marker === null && needs.length === 0 && members.length === 0) return UNVARIED
  const wanted = [...new Set([...needs, ...members])].sort()
  if (marker !== null && members.length === 0 && needs.length === 0) return 'unfit'
  if (marker !== null && contains(marker.members, wanted)) {
    const varied = { variant: lease.variant!, marker: encodeMarker(marker), under: marker.epoch, most }
    return { epoch: marker.epoch, varied }
  }
  // Other fields select now: a new marker, under which former variants are not found any more.
  const next = { members: [...new Set([...marker?.members ?? [], ...wanted])].sort(), epoch: newEpoch() }
  return {
    epoch: next.epoch,
    varied: { variant: fingerprint(next.members), marker: encodeMarker(next), under: marker?.epoch ?? '', most }
  }
}

function contains (members: readonly string[], needs: readonly string[]): boolean {
  if (needs.length < 5) return needs.every((need) => members.includes(need))
  const known = new Set(members)
  return needs.every((need) => known.has(need))
}

/**
 * The marker for a key that has none, where the policy alone tells variants apart: put there before the first handler runs,
 * it gives each variant a lease of its own. Null: only the response can tell.
 */
function firstMarker ({ needs }: Selection): Marker | null {
  return needs.length === 0 ? null : { members: needs, epoch: newEpoch() }
}

function newEpoch (): string {
  return randomBytes(EPOCH_LENGTH * 3 / 4).toString('base64url')
}

// Which tags a key's last response had that only the handler knew: read together with the entry, their generations cost
// no second trip. A hint and no more: what it does not know is read then.

const MOST_KEYS = 10_000
const NONE: readonly string[] = []

export class TagMemory {
  /** Two halves: to find the oldest in one map is to walk past all that were removed from it. */
  #newer = new Map<string, readonly string[]>()
  #older = new Map<string, readonly string[]>()

  of (key: string): readonly string[] {
    return this.#newer.get(key) ?? this.#older.get(key) ?? NONE
  }

  /** The keys that were remembered long ago go first, many at a time. */
  remember (key: string, tags: readonly string[]): void {
    this.#newer.delete(key)
    this.#older.delete(key)
    if (tags.length === 0) return
    this.#newer.set(key, tags)
    if (this.#newer.size < MOST_KEYS / 2) return
    this.#older = this.#newer
    this.#newer = new Map()
  }
}
