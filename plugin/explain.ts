// What would happen to a request, asked with a request of our own that ends where its lookup stands: it goes the way of a
// client's through the app's hooks, authentication too, and its handler does not run.
import { RouteCacheError, optionError, show } from './errors.js'
import type { Milliseconds } from './duration.js'
import { explained, unexamined, type Explanation } from './explanation.js'
import { textOf } from './explanation-text.js'
import { own } from './key.js'
import type { OwnRequests } from './own-request.js'
import { readRequest, type RequestOption } from './request-option.js'
import { openTicket } from './ticket.js'

/** The request that is to be explained. */
export interface ExplainOption extends RequestOption {
  /** Default: GET. Only GET and HEAD requests are looked up. */
  method?: string
}

export interface ExplainParts { requests: OwnRequests, ttl: Milliseconds }

const WHERE = 'cache.explain'

/** Rejects with FRC_OPTION, and with FRC_ROUTE where the request has no answer. */
export async function explain ({ requests, ttl }: ExplainParts, option: string | ExplainOption): Promise<Explanation> {
  const { url, headers } = readRequest(WHERE, 'request', { value: option, others: ['method'] })
  const method = readMethod(typeof option === 'string' ? undefined : own(option, 'method'))
  const what = `${method} ${url}`
  if (method !== 'GET' && method !== 'HEAD') return unexamined(what, null, 'method')
  const ticket = openTicket('explain', null)
  ticket.hasAgent = 'user-agent' in headers
  const result = await requests.make(ticket, { method, url, headers })
  const { examined, isSeen, isRouted, path } = ticket
  if (examined !== null) {
    const told = explained(examined, ttl)
    return { ...told, text: textOf(what, told, examined) }
  }
  if ('error' in result) {
    const why = result.isGivenUp ? 'it was not answered in time' : (result.error as Error).message
    throw new RouteCacheError('FRC_ROUTE', `${WHERE}: ${show(what)} can't be explained: ${why}`, { cause: result.error })
  }
  const status = ` (with ${result.status})`
  if (!isSeen) return unexamined(what, null, 'unseen', status)
  if (!isRouted) return unexamined(what, path, path === null ? 'not-found' : 'uncached')
  return unexamined(what, `GET ${path}`, 'answered', status)
}

function readMethod (method: unknown): string {
  if (method === undefined) return 'GET'
  if (typeof method === 'string' && /^[a-z]+$/i.test(method)) return method.toUpperCase()
  throw optionError(WHERE, 'request.method', method, 'it is a method such as "GET"')
}
