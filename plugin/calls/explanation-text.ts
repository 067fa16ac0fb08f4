// An explanation as people read it.
import { show } from '../errors.js'
import type { Examined } from '../request/examination.js'
import type { ExplainedPolicy, Told } from './explanation.js'
import type { BypassReason, MissReason, RefusalReason, StaleReason } from '../telling/outcome.js'
import { BYPASS_WORDS, MISS_WORDS, REFUSAL_WORDS, STALE_WORDS } from '../telling/reasons.js'

/** All of it, in lines: the verdict, the route, the policy, the entry, its tags. `what`: the request. */
export function textOf (what: string, told: Told, examined: Examined): string {
  const { outcome, route, policy, key, variant, entry, tags } = told
  const lines = [`${what}: ${outcome ?? 'not cached'}, as ${wordsOf(told, examined)}`]
  const selects = variant === null ? '' : `, variant by ${variant.members.map(nameOf).join(', ')}`
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
function nameOf (member: string): string {
  return member.replace(/^:/, '')
}
