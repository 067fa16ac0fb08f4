// From what was found to an answer for people: what would happen to a request, why, and by what that was judged.
import { decodedSize } from '../entry/bodies.js'
import type { Bytes, Milliseconds, Seconds } from '../duration.js'
import { staleSince, useOf, type Entry, type Use } from '../entry/entry.js'
import type { Examined } from '../request/examination.js'
import type { Warning } from '../checks/warnings.js'
import { own } from '../key/key.js'
import type { BypassReason, MissReason, RefusalReason, StaleReason, UncachedReason } from '../telling/outcome.js'
import { BYPASS_WORDS, UNCACHED_WORDS } from '../telling/reasons.js'
import { nameOf } from '../store/keys.js'
import type { Selected } from '../cache/variant.js'

/** What would happen to a request, and why. */
export interface Explanation {
  /** What its outcome would be; null: the cache has nothing to do with it. */
  outcome: 'hit' | 'stale' | 'miss' | 'bypass' | null
  /** Why: of a bypass a `BypassReason`, of a miss a `MissReason`, and so on; of a hit always `fresh`. */
  reason: 'fresh' | StaleReason | MissReason | BypassReason | UncachedReason
  /** The cached route, `GET /users/:id`; or the path of the one that is not cached; null: none was come to, or asked for. */
  route: string | null
  /** What the route's `cache` option says; null: there is none, or a key was asked for. */
  policy: ExplainedPolicy | null
  /** Null where the request goes past the cache before it has one. */
  key: string | null
  /** Which response under the key; null: there is but one, or none is known. */
  variant: { members: readonly string[], fingerprint: string } | null
  /** What lies there, be it valid or not; null: nothing, or nothing readable. */
  entry: ExplainedEntry | null
  /** Those that decide about the entry: of the policy, and of the entry itself. */
  tags: ExplainedTag[]
  /** `held`: somebody is filling it; `pass`: nobody waits for it, or it is in quarantine; null: the store was not asked. */
  lease: 'held' | 'pass' | 'none' | null
  /** How many of the route's responses were not stored since the start, by why. */
  refusals: Partial<Record<RefusalReason, number>>
  /** What is most likely a mistake in how the app uses the cache: of this route, and of the app as a whole. */
  warnings: readonly Warning[]
  /** All of it, in some lines for people. */
  text: string
}

/** A route's policy, as it was declared. */
export interface ExplainedPolicy {
  /** Seconds or a text with a unit; `origin`; or `function`. */
  ttl: number | string
  /** For this request. */
  tags: readonly string[]
  shared: boolean
  /** Whether there is one. */
  identity: boolean
  /** Request headers, in lower case, sorted. */
  vary: readonly string[]
  version: string | null
  /** Whether what is stale may be served while it is refreshed. */
  staleWhileRevalidate: boolean
  /** Whether it may stand in where the handler fails. */
  staleIfError: boolean
  /** Where the lookup stands: in onRequest, or in front of the handler. */
  lookup: 'onRequest' | 'handler'
}

/** What lies where the response would. */
export interface ExplainedEntry {
  status: number
  /** How long ago it was stored. */
  age: Seconds
  /** How long it is fresh yet; 0 or less: it is stale. */
  ttl: Seconds
  /** Of the body as the handler sent it. */
  size: Bytes
  /** The clock's value before its handler ran. */
  asOf: number
  /** Whether nothing has invalidated it. */
  isValid: boolean
}

/** A tag that decides about the entry. */
export interface ExplainedTag {
  tag: string
  /** The clock's value when it was last invalidated; null: it is not known, or in quarantine. */
  generation: number | null
  /** What it says of the entry; `missing`: it was lost, so the entry is not valid; null: there is no entry. */
  state: 'valid' | 'stale' | 'invalidated' | 'missing' | 'quarantine' | null
}

type Verdict = Pick<Explanation, 'outcome' | 'reason'>

const NOTHING = { policy: null, key: null, variant: null, entry: null, tags: [], lease: null, refusals: {} }

/** Of a request that came to no lookup. `more`: what else there is to say. */
export function unexamined (
  what: string, route: string | null, reason: UncachedReason | 'answered', more = ''
): ToldInWords {
  const outcome = reason === 'answered' ? 'bypass' : null
  const words = (reason === 'answered' ? BYPASS_WORDS[reason] : UNCACHED_WORDS[reason]) + more
  return { outcome, reason, route, ...NOTHING, text: `${what}: ${outcome ?? 'not cached'}, as ${words}` }
}

/** That, and its text. */
export type ToldInWords = Omit<Explanation, 'warnings'>

/** What this request alone leads to. */
export type Told = Omit<Explanation, 'text' | 'warnings'>

/** Of one whose lookup was examined. `ttl`: where the route says none. */
export function explained (examined: Examined, ttl: Milliseconds): Told {
  const { site, wanted, sight } = examined
  return {
    ...verdictOf(examined),
    route: site?.policy.route ?? null,
    policy: policyOf(examined, ttl),
    key: wanted === null ? null : nameOf(wanted.key),
    variant: variantOf(sight?.found ?? null, examined),
    entry: entryOf(examined),
    tags: tagsOf(examined),
    lease: sight?.holder ?? null,
    refusals: { ...site?.counters.refusals }
  }
}

/** What the lookup would decide: the same questions in the same order as in lookup.ts. */
function verdictOf ({ bypass, wanted, sight, site, now, hasFailed, present }: Examined): Verdict {
  const policy = site?.policy
  if (bypass !== null || sight === null) return { outcome: 'bypass', reason: bypass ?? 'store' }
  if (wanted?.toRefresh === true) return { outcome: 'miss', reason: 'forced' }
  const { found } = sight
  const { entry } = found
  if (entry === null) return { outcome: 'miss', reason: absenceOf(found, present) }
  // Without a route: by what the entry says itself.
  return VERDICTS[useOf(entry, now, { mayBeStale: policy?.stale !== null, mayRescue: policy?.rescue !== null, hasFailed }) ?? 'none']
}

const EXPIRED: Verdict = { outcome: 'miss', reason: 'expired' }
const FRESH: Verdict = { outcome: 'hit', reason: 'fresh' }

const VERDICTS: Readonly<Record<NonNullable<Use> | 'none', Verdict>> = {
  fresh: FRESH,
  early: FRESH,
  stale: { outcome: 'stale', reason: 'stale-while-revalidate' },
  'stand-in': { outcome: 'stale', reason: 'stale-if-error' },
  spare: EXPIRED,
  none: EXPIRED
}

function absenceOf ({ isUnreadable, isOutdated, bytes, ground }: Selected, present: Entry | null): MissReason {
  if (isUnreadable) return 'unreadable'
  if (bytes === undefined) return 'vary'
  if (present === null) return 'absent'
  if (isOutdated) return present.history === ground.history ? 'tag' : 'history'
  // Under the key itself, where the policy wants variants; or of another marker.
  return present.epoch === '' ? 'vary' : 'epoch'
}

function policyOf ({ site, wanted }: Examined, ttl: Milliseconds): ExplainedPolicy | null {
  if (site === null) return null
  const { policy, place } = site
  const written = own(policy.written, 'ttl') ?? ttl / 1000
  return {
    ttl: typeof written === 'function' ? 'function' : written as number | string,
    tags: wanted?.selection.tags ?? [],
    shared: policy.shared,
    identity: policy.identity !== null,
    vary: policy.needs.filter((member) => !member.startsWith(':')),
    version: policy.version,
    staleWhileRevalidate: policy.stale !== null,
    staleIfError: policy.rescue !== null,
    lookup: place
  }
}

function variantOf (found: Selected | null, { site }: Examined): Explanation['variant'] {
  if (found === null || found.variant === null) return null
  return { members: found.marker?.members ?? site?.policy.needs ?? [], fingerprint: found.variant }
}

function entryOf ({ sight, present, now }: Examined): ExplainedEntry | null {
  const entry = sight?.found.entry ?? present
  if (entry === null) return null
  const { status, storedAt, asOf } = entry
  return {
    status,
    age: Math.max(0, Math.floor((now - storedAt) / 1000)),
    ttl: Math.ceil((staleSince(entry) - now) / 1000),
    size: decodedSize(entry),
    asOf,
    isValid: sight?.found.entry != null
  }
}

function tagsOf ({ wanted, sight, present }: Examined): ExplainedTag[] {
  if (wanted === null || sight === null) return []
  const { tags, generations, softened } = sight.found.ground
  const places = new Map(tags.map((tag, place) => [tag, place]))
  return [...new Set([...wanted.selection.tags, ...present?.tags ?? []])].map((tag) => {
    const at = places.get(tag) ?? -1
    const generation = generations[at] ?? null
    return {
      tag,
      generation: generation === Infinity ? null : generation,
      state: present === null || at < 0 ? null : stateOf(present, generation, softened[at] ?? 0)
    }
  })
}

function stateOf ({ asOf }: Entry, generation: number | null, softened: number): ExplainedTag['state'] {
  if (generation === null) return 'missing'
  if (generation === Infinity) return 'quarantine'
  if (generation > asOf) return 'invalidated'
  return softened > asOf ? 'stale' : 'valid'
}
