// Credentials in the query, such as `?access_token=`: they say who asks, unless the key has their value.
import type { KeySource } from '../key/key.js'
import { isThenable } from '../key/key-value.js'
import type { UserMark } from './user-marks.js'

/** By their letters and digits, in lower case: `accessToken`, `access_token` and `access-token` are one. */
const CREDENTIALS = new Map([
  'access_token', 'id_token', 'refresh_token', 'auth_token', 'user_token', 'session_token', 'api_token', 'token', 'jwt', 'bearer', 'auth',
  'authorization', 'api_key', 'x_api_key', 'client_secret', 'secret', 'password', 'sig', 'signature', 'hmac',
  'x_amz_signature', 'x_amz_security_token', 'x_amz_credential', 'x_goog_signature', 'x_goog_credential', 'key_pair_id', 'session',
  'session_id', 'sid', 'ssid', 'jsessionid', 'phpsessid', 'ticket', 'saml_response', 'access_key', 'private_key', 'passwd', 'pwd', 'otp',
  'hdnts', 'client_assertion'
].map((name) => [lettersOf(name), name]))

/** So end other names of credentials, `reset_token` and `oauth_signature` for example. */
const ENDINGS = /(?:token|signature|secret|password|apikey|accesskey|sessionid|sessionkey|assertion)$/

/** Whether one of them may be there: all of them have one of these in their names. */
const HINT = /token|jwt|bearer|auth|key|secret|pass|pwd|otp|sig|hmac|hdnts|cred|ses|sid|saml|assertion|ticket/i
/** Or its letters are percent-encoded. */
const ENCODED = /%[46][\da-f]|%[57][\da]/i

function lettersOf (name: string): string {
  return name.toLowerCase().replace(/[^a-z\d]/g, '')
}

/** As much of a request as is looked at here. */
export interface Targeted { url: string, raw: { originalUrl?: unknown } }

/** A name in the query as it was sent, decoded, and which credential that is. */
interface Credential { name: string, as: string }

/** Of the query as the client sent it: the validation may have taken away what a hook has read. */
export function credentialsIn ({ url, raw: { originalUrl } }: Targeted): readonly Credential[] {
  const found = findIn(url)
  // Before the app has rewritten it. Fastify's own getter would keep it on each request.
  return typeof originalUrl !== 'string' || originalUrl === url ? found : [...found, ...findIn(originalUrl)]
}

const NONE: readonly Credential[] = []

/** A client may send as many as it likes: where there are more, the rest is not looked at. */
const MOST = 4

function findIn (url: string): readonly Credential[] {
  const begin = url.indexOf('?')
  if (begin === -1) return NONE
  const query = url.slice(begin + 1)
  if (!HINT.test(query) && !ENCODED.test(query)) return NONE
  const found: Credential[] = []
  for (const pair of query.split(/[&;]/)) {
    if (!HINT.test(pair) && !ENCODED.test(pair)) continue
    const equals = pair.indexOf('=')
    // Without a value it is nobody's.
    if (equals === -1 || equals === pair.length - 1) continue
    const name = decoded(pair.slice(0, equals))
    const as = HINT.test(name) ? credentialOf(name) : undefined
    if (as !== undefined) found.push({ name, as })
    if (found.length > MOST) break
  }
  return found
}

/** Of `token[0]` and `auth[user]`, as some parsers of queries nest them, each part counts by itself. */
function credentialOf (name: string): string | undefined {
  for (const part of [name, ...name.split(/[[\].]/)]) {
    const letters = lettersOf(part)
    const as = CREDENTIALS.get(letters) ?? ENDINGS.exec(letters)?.[0]
    if (as !== undefined) return as
  }
  return undefined
}

/** Never throws: a client may send thousands of names that are no percent-encoding, and to throw is dear. */
function decoded (text: string): string {
  const spaced = text.replaceAll('+', ' ')
  if (!spaced.includes('%')) return spaced
  const bytes = spaced.replace(/%([\da-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return /[\x80-\xff]/.test(bytes) ? Buffer.from(bytes, 'latin1').toString() : bytes
}

/** How a key is made of params and query; the change of a URL is for functions that look at that. */
export type MakeKey = (source: KeySource, changed: (url: string) => string) => unknown

export interface Keyed { source: KeySource, key: unknown, make: MakeKey }

/**
 * The first of these credentials that the key lacks, or has only a part of: with something else before or behind its value
 * it is the same. Null: the key has them all. At once, unless the key comes as a promise.
 */
export function lackedBy (credentials: readonly Credential[], keyed: Keyed): UserMark | null | Promise<UserMark | null> {
  if (credentials.length > MOST) return queryMark(credentials[0]!.as)
  const others = credentials.flatMap(({ name, as }) =>
    [true, false].map((isBefore) => ({ as, key: changedKey(keyed, name, isBefore) })))
  const judge = (key: unknown, keys: readonly unknown[]): UserMark | null => {
    const lacked = others.find((_, i) => keys[i] === key)
    return lacked === undefined ? null : queryMark(lacked.as)
  }
  const keys = others.map(({ key }) => key)
  if (![keyed.key, ...keys].some(isThenable)) return judge(keyed.key, keys)
  return Promise.all([keyed.key, ...keys]).then(([key, ...keys]) => judge(key, keys))
}

function queryMark (name: string): UserMark {
  return { reason: 'query', detail: `query:${name}`, words: `${name} in the query` }
}

/** No value of a client's has it by chance. */
const OTHER = '~other~'

/** The key of a request with another value of this name; the key itself where the query that makes keys does not have it. */
function changedKey ({ source, make }: Keyed, name: string, isBefore: boolean): unknown {
  const query = source.query as Record<string, unknown> | null | undefined
  const isThere = typeof query === 'object' && query !== null && Object.hasOwn(query, name)
  const change = (value: unknown): string => (isBefore ? OTHER + String(value) : String(value) + OTHER)
  const changed = isThere ? { ...query, [name]: change(query[name]) } : query
  return make({ params: source.params, query: changed }, (url) => changedUrl(url, name, change))
}

function changedUrl (url: string, name: string, change: (value: string) => string): string {
  const begin = url.indexOf('?') + 1
  if (begin === 0) return url
  const pairs = url.slice(begin).split('&').map((pair) => {
    const equals = pair.indexOf('=')
    // No name gets longer when it is decoded. Most of a long query is told by that.
    if (equals < name.length || decoded(pair.slice(0, equals)) !== name) return pair
    return `${pair.slice(0, equals)}=${change(pair.slice(equals + 1))}`
  })
  return url.slice(0, begin) + pairs.join('&')
}
