// What the response of a write says of its declared invalidation, where that is asked for: a member of Cache-Status, as the
// request was forwarded by its method (RFC 9211 §2.2), with what was invalidated as its detail (§2.8).
// https://www.rfc-editor.org/rfc/rfc9211#section-2.2
import type { Targets } from '../cache/claim.js'
import type { Concluded } from '../request/exchange.js'
import { cacheStatus, sfString, withMember } from '../send/reply.js'
import { nameOf } from '../store/keys.js'

/** The options that have responses of writes say what was invalidated. */
export interface WriteSignals {
  cacheStatus: { name: string, key: boolean, writes: boolean } | null
}

interface ReplyView {
  getHeader: (name: string) => unknown
  header: (name: string, value: string) => unknown
}

/** Of more names than these, only their number is said: a header has little room. */
const MOST_NAMES = 10

/** Null: nothing was invalidated. */
export function sayWrite (reply: ReplyView, concluded: Concluded | null, { cacheStatus: status }: WriteSignals): void {
  if (status?.writes !== true) return
  const member = cacheStatus(status.name, { fwd: 'method', detail: sfString(detailOf(concluded, status.key)) })
  reply.header('cache-status', withMember(String(reply.getHeader('cache-status') ?? ''), member))
}

function detailOf (concluded: Concluded | null, isNamed: boolean): string {
  if (concluded === null) return 'nothing invalidated'
  const { targets, isLate } = concluded
  const what = partsOf(targets).map(([kind, names]) => saidOf(kind, names, isNamed))
  return `${isLate ? 'to be invalidated later' : 'invalidated'}: ${targets.all ? 'everything' : what.join(', ')}`
}

type Part = [kind: 'key' | 'tag' | 'prefix', names: readonly string[]]

function partsOf ({ keys, tags, prefixes }: Targets): Part[] {
  const parts: Part[] = [['key', [...new Set(keys.map(nameOf))]], ['tag', tags], ['prefix', prefixes]]
  return parts.filter(([, names]) => names.length > 0)
}

function saidOf (kind: string, names: readonly string[], isNamed: boolean): string {
  if (isNamed && names.length <= MOST_NAMES) return names.map((name) => `${kind} ${name}`).join(', ')
  const many = kind === 'prefix' ? 'prefixes' : `${kind}s`
  return `${names.length} ${names.length === 1 ? kind : many}`
}
