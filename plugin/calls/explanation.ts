// The explanation of a request: what would happen to it, why, and by which facts, as data and in words.
import { decodedSize, staleSince, useOf, type Entry, type Use } from '../entry/entry.js'
import type { Bytes, Milliseconds, Seconds } from '../duration.js'
import type { Examined } from '../request/own-request.js'
import type { Warning } from '../checks/warnings.js'
import { own } from '../key/key.js'
import type { BypassReason, MissReason, RefusalReason, StaleReason, UncachedReason } from '../telling/outcome.js'
import { BYPASS_WORDS, UNCACHED_WORDS, MISS_WORDS, REFUSAL_WORDS, STALE_WORDS } from '../telling/reasons.js'
import { nameOf } from '../store/keys.js'
import type { Selected } from '../cache/claim.js'
import { show } from '../errors.js'

/** The result that a request would have, and why. */
export interface Explanation {
  /** The outcome that the request would have; null: the route is not cached. */
  outcome: 'hit' | 'stale' | 'miss' | 'bypass' | null
  /** Why: of a bypass a `BypassReason`, of a miss a `MissReason`, and so on; of a hit always `fresh`. */
  reason: 'fresh' | StaleReason | MissReason | BypassReason | UncachedReason
  /** The cached route, `GET /users/:id`; or the path of the one that is not cached; null: none was come to, or asked for. */
  route: string | null
  /** The route's `cache` option in effect; null: there is none, or a key was asked for. */
  policy: ExplainedPolicy | null
  /** Null where the request goes past the cache before it has one. */
  key: string | null
  /** Which response under the key; null: there is but one, or none is known. */
  variant: { members: readonly string[], fingerprint: string } | null
  /** The stored entry, be it valid or not; null: none, or none that can be read. */
  entry: ExplainedEntry | null
  /** The tags that decide about the entry: those of the policy, and those of the entry itself. */
  tags: ExplainedTag[]
  /** `held`: somebody is filling it; `pass`: nobody waits for it, or it is in quarantine; null: the store was not asked. */
  lease: 'held' | 'pass' | 'none' | null
  /** How many of the route's responses were not stored since the start, by why. */
  refusals: Partial<Record<RefusalReason, number>>
  /** Likely mistakes in how the app uses the cache: on this route, and in the app as a whole. */
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
  /** The place of the lookup: in onRequest, or in front of the handler. */
  lookup: 'onRequest' | 'handler'
}

/** The entry in the place of the response. */
export interface ExplainedEntry {
  status: number
  /** How long ago it was stored. */
  age: Seconds
  /** How long it is fresh yet; 0 or less: it is stale. */
  ttl: Seconds
  /** The size of the body as the handler sent it. */
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
  /** Whether the entry is valid by this tag; `missing`: it was lost, so the entry is not valid; null: there is no entry. */
  state: 'valid' | 'stale' | 'invalidated' | 'missing' | 'quarantine' | null
}

type Verdict = Pick<Explanation, 'outcome' | 'reason'>

const NOTHING = { policy: null, key: null, variant: null, entry: null, tags: [], lease: null, refusals: {} }

/** The explanation of a request that came to no lookup. `more`: further sentences. */
export function unexamined (
  what: string, route: string | null, reason: UncachedReason | 'answered', more = ''
): ToldInWords {
  const outcome = reason === 'answered' ? 'bypass' : null
  const words = (reason === 'answered' ? BYPASS_WORDS[reason] : UNCACHED_WORDS[reason]) + more
  return { outcome, reason, route, ...NOTHING, text: `${what}: ${outcome ?? 'not cached'}, as ${words}` }
}

/** That, and its text. */
export type ToldInWords = Omit<Explanation, 'warnings'>

/** The part that this request alone decides. */
export type Told = Omit<Explanation, 'text' | 'warnings'>

/** The explanation of a request whose lookup was examined. `ttl`: for a route without one. */
export function explained (examined: Examined, ttl: Milliseconds): Told {
  const { site, wanted, look } = examined
  return {
    ...verdictOf(examined),
    route: site?.policy.route ?? null,
    policy: policyOf(examined, ttl),
    key: wanted === null ? null : nameOf(wanted.key),
    variant: variantOf(look?.found ?? null, examined),
    entry: entryOf(examined),
    tags: tagsOf(examined),
    lease: look?.holder ?? null,
    refusals: { ...site?.counters.refusals }
  }
}

/** The decision of the lookup: the same questions in the same order as in lookup.ts. */
function verdictOf ({ bypass, wanted, look, site, now, hasFailed, present }: Examined): Verdict {
  const policy = site?.policy
  if (bypass !== null || look === null) return { outcome: 'bypass', reason: bypass ?? 'store' }
  if (wanted?.toRefresh === true) return { outcome: 'miss', reason: 'forced' }
  const { found } = look
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

function absenceOf ({ isUnreadable, isOutdated, bytes, validity }: Selected, present: Entry | null): MissReason {
  if (isUnreadable) return 'unreadable'
  if (bytes === undefined) return 'vary'
  if (present === null) return 'absent'
  if (isOutdated) return present.history === validity.history ? 'tag' : 'history'
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

function entryOf ({ look, present, now }: Examined): ExplainedEntry | null {
  const entry = look?.found.entry ?? present
  if (entry === null) return null
  const { status, storedAt, asOf } = entry
  return {
    status,
    age: Math.max(0, Math.floor((now - storedAt) / 1000)),
    ttl: Math.ceil((staleSince(entry) - now) / 1000),
    size: decodedSize(entry),
    asOf,
    isValid: look?.found.entry != null
  }
}

function tagsOf ({ wanted, look, present }: Examined): ExplainedTag[] {
  if (wanted === null || look === null) return []
  const { tags, generations, softened } = look.found.validity
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

// An explanation as people read it.

/** All of it, in lines: the verdict, the route, the policy, the entry, its tags. `what`: the request. */
export function textOf (what: string, told: Told, examined: Examined): string {
  const { outcome, route, policy, key, variant, entry, tags } = told
  const lines = [`${what}: ${outcome ?? 'not cached'}, as ${wordsOf(told, examined)}`]
  const selects = variant === null ? '' : `, variant by ${variant.members.map(memberName).join(', ')}`
  const place = key === null ? '' : `key ${show(key)}${selects}`
  const site = [route === null ? '' : `route ${route}`, place].filter((part) => part !== '')
  if (examined.site !== null || selects !== '') lines.push(site.join(', '))
  if (policy !== null) lines.push(`policy: ${policyText(policy)}`)
  if (entry !== null) {
    const { status, size, age, ttl, isValid } = entry
    const time = ttl > 0 ? `${ttl} s to live` : `stale since ${-ttl} s`
    lines.push(`entry: status ${status}, ${size} bytes, stored ${age} s ago, ${isValid ? time : 'not valid any more'}`)
  }
  if (outcome === 'miss') for (const reason of refused(told)) lines.push(reason)
  for (const { tag, state } of tags) if (state !== null) lines.push(`tag ${show(tag)}: ${TAG_WORDS[state]}`)
  return lines.join('\n')
}

/** Most often that is why there is no hit: the most frequent first. */
function refused ({ refusals }: Told): string[] {
  const reasons = Object.entries(refusals) as Array<[RefusalReason, number]>
  return reasons.sort(([, one], [, other]) => other - one)
    .map(([reason, count]) => `not stored, ${count} of the route's responses since the start: ${REFUSAL_WORDS[reason]}`)
}

const TAG_WORDS = {
  valid: 'not invalidated since the entry\'s handler began',
  stale: 'made stale since the entry\'s handler began',
  invalidated: 'invalidated since the entry\'s handler began',
  missing: 'the store has lost when it was last invalidated, so the entry counts as invalidated',
  quarantine: 'in quarantine, by a cache.mutate that is under way'
} as const

function wordsOf ({ reason, outcome, lease }: Told, { error, isHead, site, mark }: Examined): string {
  if (outcome === 'hit') return 'what is stored is fresh'
  if (outcome === 'stale') return STALE_WORDS[reason as StaleReason]
  if (outcome === 'bypass') {
    const seen = mark === null ? '' : ` (${mark.words})`
    return BYPASS_WORDS[reason as BypassReason] + seen + (error instanceof Error ? `: ${error.message}` : '')
  }
  const ends = isHead
    ? 'the handler runs, and nothing is stored, as only GET fills'
    : lease === 'held'
      ? (site?.policy.waitTimeout ?? 0) > 0 ? 'another request is filling it, and this one would wait for that' : 'another request is filling it'
      : lease === 'pass' ? 'the handler runs, and nobody waits for it: the last response could not be shared, or it is in quarantine' : ''
  return MISS_WORDS[reason as MissReason] + (ends === '' ? '' : `; ${ends}`)
}

function policyText (policy: ExplainedPolicy): string {
  const { ttl, tags, shared, identity, vary, version, staleWhileRevalidate, staleIfError, lookup } = policy
  return [
    `ttl ${typeof ttl === 'number' ? `${ttl} s` : ttl}`,
    tags.length > 0 && `tags ${tags.join(', ')}`,
    shared && 'shared',
    identity && 'told apart by identity',
    vary.length > 0 && `vary ${vary.join(', ')}`,
    version !== null && `version ${version}`,
    staleWhileRevalidate && 'staleWhileRevalidate',
    staleIfError && 'staleIfError',
    lookup === 'onRequest' ? 'lookup in onRequest' : 'lookup in front of the handler'
  ].filter((part) => part !== false).join('; ')
}

/** `:identity` and `:version` are members, too. */
function memberName (member: string): string {
  return member.replace(/^:/, '')
}
