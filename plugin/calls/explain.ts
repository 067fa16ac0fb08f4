// Explains a request by an internal one that ends at its lookup: it goes through the app's hooks as a client's does,
// authentication too, and its handler does not run. Explains a key by the entry under it.
import type { ResponseCache } from '../cache/cache.js'
import { RouteCacheError, optionError, show } from '../errors.js'
import type { Milliseconds } from '../duration.js'
import { examineKey } from '../request/examination.js'
import type { Examined } from '../request/own-request.js'
import { explained, unexamined, textOf, type ToldInWords } from './explanation.js'
import type { RequestFields } from '../http/headers.js'
import { own } from '../key/key.js'
import { OptionReader } from '../options/reader.js'
import { openTicket, type OwnRequests } from '../request/own-request.js'
import { readHeaders, readRequest, type RequestOption } from './request-option.js'
import { valueKey } from '../store/keys.js'
import { askedKeys } from '../key/target.js'
import { selectBy } from '../cache/lookup.js'

/** The request that is to be explained. */
export interface ExplainOption extends RequestOption {
  /** Default: GET. Only GET and HEAD requests are looked up. */
  method?: string
}

/** A key that is to be explained, whatever request leads to it. */
export interface ExplainKeyOption {
  /** As `cache.key()` builds it: `user:7`. */
  key: string
  /** If the key's responses vary: the headers of a request that would get the response in question. Default: none. */
  headers?: RequestOption['headers']
}

interface ExplainParts { cache: ResponseCache, requests: OwnRequests, ttl: Milliseconds }

const WHERE = 'cache.explain'

/** Rejects with FRC_OPTION or FRC_TARGET, and with FRC_ROUTE where the request has no answer. */
export async function explain (
  parts: ExplainParts, option: string | ExplainOption | ExplainKeyOption
): Promise<ToldInWords> {
  if (own(option, 'key') !== undefined) return await explainKey(parts, option as ExplainKeyOption)
  return await explainRequest(parts, option as string | ExplainOption)
}

/** Explains the response under the key; or if there is none, the value that `getOrSet` keeps there. */
async function explainKey ({ cache, ttl }: ExplainParts, option: ExplainKeyOption): Promise<ToldInWords> {
  new OptionReader(WHERE, option).onlyKnows(['key', 'headers'], 'there is no such option beside key; there is: headers')
  const headers = readHeaders(WHERE, 'headers', option.headers)
  const keys = askedKeys(option.key)
  let found = await examinedUnder(cache, keys[0]!, headers)
  for (const key of keys.slice(1)) if (!found.isThere) found = await examinedUnder(cache, key, headers)
  const { key, examined, isValue } = found
  const told = explained(examined, ttl)
  return { ...told, text: textOf(`${isValue ? 'value under key' : 'key'} ${show(key)}`, told, examined) }
}

interface Under { key: string, examined: Examined, isValue: boolean, isThere: boolean }

async function examinedUnder (cache: ResponseCache, key: string, headers: RequestFields): Promise<Under> {
  const response = await examineKey(cache, key, selectBy(headers))
  const isThere = response.bypass !== null || response.present !== null || response.look?.found.marker != null
  const value = isThere ? null : await examineKey(cache, valueKey(key), selectBy({}))
  const isValue = value !== null && value.present !== null
  return { key, examined: isValue ? value : response, isValue, isThere: isThere || isValue }
}

async function explainRequest ({ requests, ttl }: ExplainParts, option: string | ExplainOption): Promise<ToldInWords> {
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
