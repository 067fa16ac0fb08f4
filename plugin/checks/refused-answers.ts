// A route whose responses can't be stored, one like the other: its author has asked for a cache, and there is none. That is
// said once, when so many of its first responses were refused for one reason and none was stored.
import type { RefusalReason } from '../telling/outcome.js'
import { REFUSAL_WORDS } from '../telling/reasons.js'
import type { Warning } from './warnings.js'

/** Fewer may be by chance. */
const FIRST = 20

/** The advice for a reason. Other reasons come from the route's own policy, or from the moment. */
const INSTEAD: Partial<Record<RefusalReason, string>> = {
  'set-cookie': 'set cookies on routes without cache, or leave cache out of this one',
  private: 'send Cache-Control: public, or none; or leave cache out of this route',
  'no-store': 'send another Cache-Control, or none; or leave cache out of this route',
  vary: 'name the request headers by which the response differs, in its Vary or as cache: { vary: [...] }',
  size: 'raise maxBodyBytes, of this route or of the plugin, or leave cache out',
  payload: 'leave cache out of this route',
  raw: 'send the response by return or reply.send(), or leave cache out of this route',
  trailer: 'leave cache out of this route',
  response: 'set status and fields on the Response',
  header: 'mend the field, which Node refuses'
}

interface Counted { stores: number, refusals: Partial<Record<RefusalReason, number>> }

/** Called behind each refusal of a route; gives the warning that is due, or null. */
export function neverStored (route: string, { stores, refusals }: Counted, reason: RefusalReason): Warning | null {
  const instead = INSTEAD[reason]
  if (instead === undefined || stores > 0 || refusals[reason] !== FIRST) return null
  return {
    check: 'never-stored',
    route,
    message: `route ${route}: ${FIRST} responses were refused (${reason}), and none was stored: ${REFUSAL_WORDS[reason]}. So ${instead}`
  }
}
