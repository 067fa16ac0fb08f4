// What middleware says of a response when its head is written, behind all onSend hooks and our capture: it has replaced
// methods of the raw response for that. The answer waits for its end then, and the head that was sent is judged as well.
import type { Captured } from './exchange.js'
import { isSame } from '../http/headers.js'
import { refusalOf, type HeadRefusal } from '../http/storable.js'
import { directivesOf } from '../http/cache-control.js'
import type { Policy } from '../route/policy.js'
import { isReplaced, sentHead, type RawResponseView } from '../response/raw-response.js'

/** Why it may not be stored by what was added to its head, such as a cookie; null where nothing is against it. */
export function refusedByHead (policy: Policy, { status, leaving }: Captured, raw: RawResponseView): HeadRefusal | null {
  if (leaving === null || !isReplaced(raw)) return null
  const isAdded = ([name, value]: [string, unknown]): boolean => !isSame([value].flat(), [leaving[name]].flat())
  const added = Object.fromEntries(Object.entries(sentHead(raw)).filter(isAdded))
  const head = { status, added, all: { ...leaving, ...added }, directives: directivesOf(added, policy.isTargeted) }
  return refusalOf(head, policy.statuses)
}
