// The user who asks, by the policy's `identity`: a text that only this user has, or nobody in particular.
import { RouteCacheError, show } from '../errors.js'
import { countedCookie, isNoAnalyticsCookie, listedCookies, namesNobody, type CookieRule } from '../http/credentials.js'
import type { RequestFields } from '../http/headers.js'
import { isThenable, type KeySource } from '../key/key.js'

/** As much of a policy as says it. */
interface Telling { identity: ((request: unknown) => unknown) | null }

/** The user who asks; undefined: the policy doesn't tell users apart, or nobody in particular asks. Throws FRC_OPTION. */
export function identify ({ identity }: Telling, request: object): string | undefined {
  if (identity === null) return undefined
  const given = unpromised(identity(request))
  if (Array.isArray(given)) return joined(given)
  const text = textOf(given, given)
  if (text === undefined || /[\p{L}\p{N}]/u.test(text)) return text
  throw shared(given, 'it has neither letters nor digits, so its parts are empty')
}

/** A promise that nobody waits for must not end the process when it rejects. */
export function unpromised (value: unknown): unknown {
  if (value instanceof Promise) value.catch(() => {})
  return value
}

/** Begins the text of a list. A text that begins so gets it twice, so no text is that of a list. */
const LIST = '\0'

/** If all parts are absent, nobody in particular asks; if only some are, all users who lack them would share the rest. */
function joined (parts: readonly unknown[]): string | undefined {
  const texts = parts.map((part) => textOf(typeof part === 'string' && part.trim() === '' ? '' : part, parts))
  if (texts.every((text) => text === undefined)) return undefined
  if (texts.includes(undefined)) throw shared(parts, 'a part of it is absent, so all users who lack it share it')
  return LIST + JSON.stringify(parts.map((part) => (typeof part === 'bigint' ? [String(part)] : part)))
}

/** The identity of one value; `given`: all values. */
function textOf (value: unknown, given: unknown): string | undefined {
  if (value == null || value === '') return undefined
  // Any other value has a text that all users share, such as "[object Promise]" or "NaN".
  if (typeof value !== 'string') {
    if (Number.isSafeInteger(value) || typeof value === 'bigint') return String(value)
    unpromised(value)
    throw new RouteCacheError('FRC_OPTION', `cache.identity gave ${show(given)}; it must give a string, or an array of strings, at once`)
  }
  if (COMMON.test(value)) throw shared(given, 'that text is made of a value that is absent, or no text, so many users share it')
  if (LACKING.test(value)) throw shared(given, 'a part of that text is empty, so all users who lack it share it')
  return value.startsWith(LIST) ? LIST + value : value
}

/**
 * The text of a value that is absent, or no text, as a whole or as one part: `undefined:undefined`, `acme/null`,
 * `42undefined`, `[object Object]`, a function's source.
 */
const COMMON = new RegExp([
  'undefined', '(?<![A-Za-z0-9])[A-Za-z]{0,20}(?:null|NaN|Infinity)(?![A-Za-z0-9])', '^(?:true|false)$',
  '\\[object |Invalid Date|Symbol\\(|=>|\\) ?\\{|^class\\b.*\\{'
].join('|'))

/** A part is empty: `acme:`, `:admin`, `Bearer `. Not so an address of IPv6, such as `::1`. */
const LACKING = /^[:|,\s](?![:|])|(?<![:|])[:|,]$|\s$/

function shared (given: unknown, why: string): RouteCacheError {
  return new RouteCacheError('FRC_OPTION', `cache.identity gave ${show(given)}; ${why}: give an array such as [user.tenant, user.role], ` +
    'or undefined where nobody in particular asks')
}

// Marks by which a request is somebody's own, so that its response must not be another's: RFC 9111 §3.5, §7.3. They are
// looked for at the lookup, and again when the response is stored: a hook or the handler may have found out the user by
// then.

export type MarkReason = 'authorization' | 'credential' | 'cookie' | 'certificate' | 'query' | 'user' | 'session'

export interface UserMark {
  reason: MarkReason
  /** For Cache-Status, a token: the reason, and behind a colon which one where there are several. */
  detail: string
  /** For people: "the header field x-api-key". */
  words: string
}

/** As much of a request as is looked at here. */
export interface MarkedRequest { raw: object }

/** The first mark of the request; null: it is nobody's in particular. */
export type Marking = (request: MarkedRequest, headers: RequestFields) => UserMark | null

interface MarkOptions {
  /** The header fields that say who asks beside Authorization and Cookie, in lower case. */
  credentials: readonly string[]
  /** The cookies that count; null: all but those of analytics. */
  cookies: readonly string[] | null
  /** Header fields that tell variants apart: they are no mark then. */
  vary: readonly string[]
}

type FieldReason = Extract<MarkReason, 'authorization' | 'credential' | 'cookie'>

export function compileMarking ({ credentials, cookies, vary }: MarkOptions): Marking {
  const reasons = new Map<string, FieldReason>(credentials.map((name) => [name, 'credential']))
  reasons.set('authorization', 'authorization').set('cookie', 'cookie')
  for (const name of vary) reasons.delete(name)
  const fields = fieldsOf(reasons)
  // Parsed cookies are the field's, whoever has parsed them.
  const listed = cookies === null ? isNoAnalyticsCookie : listedCookies(cookies)
  const counts = reasons.has('cookie') ? listed : () => false
  return (request, headers) => {
    const field = markedField(fields, headers, counts)
    if (field?.reason === 'authorization') return field
    const raw = request.raw as Raw
    return userOf(request as Request, raw) ?? field ?? sessionOf(request as Request, raw, counts) ??
      (presentsCertificate(raw) ? CERTIFICATE : null)
  }
}

/** Which header fields are marks. */
interface Fields {
  reasons: ReadonlyMap<string, FieldReason>
  /** By `placeOf` a name: whether one of them stands there. Most names of a request need not be looked up then. */
  mayBe: Uint8Array
}

function fieldsOf (reasons: ReadonlyMap<string, FieldReason>): Fields {
  const mayBe = new Uint8Array(64 * 32)
  for (const name of reasons.keys()) mayBe[placeOf(name)] = 1
  return { reasons, mayBe }
}

/** By its length and its last letter, the same for capitals. */
function placeOf (name: string): number {
  const last = name.length - 1
  return (last & 63) << 5 | (name.charCodeAt(last) & 31)
}

/** Authorization comes before others. */
function markedField ({ reasons, mayBe }: Fields, headers: RequestFields, counts: CookieRule): UserMark | null {
  let found: UserMark | null = null
  for (const name in headers) {
    if (mayBe[placeOf(name)] !== 1) continue
    // A hook may have set headers under names in capitals.
    const field = name.toLowerCase()
    const reason = reasons.get(field)
    const value = headers[name]
    // Node shows only the first of two Authorization fields. So even an empty one counts: the second may name a user.
    if (reason === 'authorization' && value !== undefined) return AUTHORIZATION
    if (reason === undefined || namesNobody(value)) continue
    found ??= reason === 'credential' ? credentialMark(field) : cookieMark(countedCookie(value!, counts))
  }
  return found
}

const AUTHORIZATION: UserMark = { reason: 'authorization', detail: 'authorization', words: 'an Authorization header' }
const CERTIFICATE: UserMark = { reason: 'certificate', detail: 'certificate', words: 'a client certificate' }

function credentialMark (field: string): UserMark {
  return { reason: 'credential', detail: `credential:${field}`, words: `the header field ${field}` }
}

/** The field's name comes from the client, so it is for the log only. */
function cookieMark (name: string | null): UserMark | null {
  return name === null ? null : { reason: 'cookie', detail: 'cookie', words: `the cookie ${JSON.stringify(name.slice(0, 60))}` }
}

// The properties in which hooks, and middleware of other frameworks, keep the user: their names, on Fastify's request and on
// Node's. All are read for each request, so they stand in expressions: reads whose names are known cost a nanosecond each
// as long as they miss, a tenth of what a loop over names takes. The list of names is read from the expression itself, once,
// by a Proxy that notes the names that it is asked for.

/** Anything that has properties. */
type Owner = Readonly<Record<string, unknown>>

/**
 * The first user that there may be in these places; null or undefined: there is none. The two are read side by side, as V8
 * remembers for each read which kinds of objects it met: those of Fastify are many in an app with many contexts.
 */
function anyUser (request: Owner, raw: Owner): unknown {
  return request.user ?? raw.user ?? request.account ?? raw.account ?? request.auth ?? raw.auth ??
    request.currentUser ?? raw.currentUser ?? request.principal ?? raw.principal ?? request.userId ?? raw.userId ??
    request.tenant ?? raw.tenant ?? request.tenantId ?? raw.tenantId ?? request.uid ?? raw.uid ??
    request.identity ?? raw.identity ?? request.claims ?? raw.claims ?? request.viewer ?? raw.viewer ??
    request.customer ?? raw.customer ?? request.member ?? raw.member ?? request.oidc ?? raw.oidc ??
    request.kauth ?? raw.kauth ?? request.authUser ?? raw.authUser ??
    request.authenticatedUser ?? raw.authenticatedUser ?? request.loggedInUser ?? raw.loggedInUser ??
    request.userInfo ?? raw.userInfo ?? request.username ?? raw.username ?? request.email ?? raw.email ??
    request.sub ?? raw.sub ?? request.subject ?? raw.subject ?? request.profile ?? raw.profile ??
    request.credentials ?? raw.credentials ?? request.role ?? raw.role ?? request.roles ?? raw.roles ??
    request.permissions ?? raw.permissions ?? request.scopes ?? raw.scopes ?? request.org ?? raw.org ??
    request.orgId ?? raw.orgId ?? request.organization ?? raw.organization ??
    request.organizationId ?? raw.organizationId ?? request.workspace ?? raw.workspace ??
    request.workspaceId ?? raw.workspaceId ?? request.accountId ?? raw.accountId ??
    request.customerId ?? raw.customerId ?? request.memberId ?? raw.memberId ?? request.apiKey ?? raw.apiKey ??
    request.actor ?? raw.actor ?? request.jwt ?? raw.jwt ?? request.jwtPayload ?? raw.jwtPayload ??
    request.token ?? raw.token ?? request.decoded ?? raw.decoded ?? request.decodedToken ?? raw.decodedToken ??
    request.authContext ?? raw.authContext ?? request.securityContext ?? raw.securityContext
}

/** Objects for all that hooks know of a request: of Express and @fastify/view, of Koa, of @fastify/request-context. */
function anyScope (request: Owner, raw: Owner): unknown {
  return request.locals ?? raw.locals ?? request.state ?? raw.state ?? request.ctx ?? raw.ctx ??
    request.context ?? raw.context ?? request.requestContext ?? raw.requestContext
}

export const USER_NAMES = namesIn(anyUser)
const SCOPE_NAMES = namesIn(anyScope)

/** Which properties it reads. */
function namesIn (read: (request: Owner, raw: Owner) => unknown): readonly string[] {
  const names = new Set<string>()
  read(noting(names), noting(names))
  return [...names]
}

/** Has nothing, and notes what it is asked for. */
function noting (names: Set<string>): Owner {
  return new Proxy({}, {
    get: (_, name) => {
      names.add(String(name))
      return undefined
    }
  })
}

/** A request's property for its reply: hooks keep the data of pages there, which may be a user's. */
export const REPLY = Symbol('fastify-route-cache.reply')

interface Reply { locals?: unknown, raw?: { locals?: unknown } }
type Request = Owner & MarkedRequest & { [REPLY]?: Reply | null }
type Raw = Owner & { res?: Omit<Reply, 'raw'>, socket?: unknown }

/** A place where hooks, and middleware of other frameworks, put who asks. */
interface Place { mark: UserMark, owner: (request: Request, raw: Raw) => Owner, name: string }

const ofRequest: Place['owner'] = (request) => request
const ofRaw: Place['owner'] = (_, raw) => raw
const USERS: readonly Place[] = [
  ...USER_NAMES.map((name) => placeFor(name === 'user' ? 'user' : `user:${kebab(name)}`, `request.${name}`, ofRequest)),
  ...USER_NAMES.map((name) => placeFor(name === 'user' ? 'user:raw' : `user:raw-${kebab(name)}`, `request.raw.${name}`, ofRaw)),
  placeFor('user:raw-ntlm', 'request.raw.ntlm', ofRaw)
]
const SESSIONS: readonly Place[] = [
  placeFor('session', 'request.session', ofRequest), placeFor('session:raw', 'request.raw.session', ofRaw)
]
const JARS: readonly Place[] = [
  placeFor('cookie', 'request.cookies', ofRequest),
  placeFor('cookie', 'request.raw.cookies', ofRaw),
  placeFor('cookie', 'request.raw.signedCookies', ofRaw)
]

function kebab (name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

function placeFor (detail: string, place: string, owner: Place['owner']): Place {
  const mark: UserMark = { reason: detail.split(':')[0] as MarkReason, detail, words: `a ${place}` }
  return { mark, owner, name: place.slice(place.lastIndexOf('.') + 1) }
}

/** All places of a kind are read at once first. Each read of a getter may make a promise of its own. */
function userOf (request: Request, raw: Raw): UserMark | null {
  const user = anyUser(request, raw) ?? raw.ntlm
  const own = unpromised(user) == null ? null : firstOf(USERS, { request, raw }, isSomebody)
  return own ?? scopedOf(request, raw)
}

/** In one of the objects that are for all that hooks know of a request. */
function scopedOf (request: Request, raw: Raw): UserMark | null {
  const { [REPLY]: reply } = request
  const ofReply = reply?.locals ?? reply?.raw?.locals ?? raw.res?.locals
  if (ofReply == null && anyScope(request, raw) == null) return null
  for (const name of SCOPE_NAMES) {
    const mark = markIn(request[name], `request.${name}`) ?? markIn(raw[name], `request.raw.${name}`)
    if (mark !== null) return mark
  }
  return markIn(reply?.locals, 'reply.locals') ?? markIn(reply?.raw?.locals, 'reply.raw.locals') ??
    markIn(raw.res?.locals, 'request.raw.res.locals')
}

function markIn (given: unknown, place: string): UserMark | null {
  const scope = storeOf(unpromised(given))
  if (typeof scope !== 'object' || scope === null) return null
  const value = (name: string): unknown => scope instanceof Map ? scope.get(name) : (scope as Record<string, unknown>)[name]
  const name = USER_NAMES.find((name) => isSomebody(unpromised(value(name)), scope, name)) ??
    (isOwnSession(unpromised(value('session'))) ? 'session' : undefined)
  if (name === undefined) return null
  const detail = `user:${place.replace(/^request\./, '').replaceAll('.', '-')}-${kebab(name)}`
  return { reason: 'user', detail: kebab(detail), words: `a ${place}.${name}` }
}

/** The data of @fastify/request-context, or of an AsyncLocalStorage, are behind a method. */
function storeOf (scope: unknown): unknown {
  const getStore = typeof scope === 'object' && scope !== null ? (scope as { getStore?: unknown }).getStore : undefined
  return typeof getStore === 'function' ? getStore.call(scope) : scope
}

function sessionOf (request: Request, raw: Raw, cookies: CookieRule): UserMark | null {
  const session = request.session ?? raw.session
  const own = unpromised(session) == null
    ? null
    : firstOf(SESSIONS, { request, raw }, (one, owner, name) => isOwnSession(one) || isOwnMethod(one, owner, name))
  if (own !== null) return own
  const jar = request.cookies ?? raw.cookies ?? raw.signedCookies
  return unpromised(jar) == null ? null : firstOf(JARS, { request, raw }, (one) => hasCountedCookie(one, cookies))
}

type Counts = (value: unknown, owner: object, name: string) => boolean

interface Both { request: Request, raw: Raw }

function firstOf (places: readonly Place[], { request, raw }: Both, counts: Counts): UserMark | null {
  return places.find(({ owner, name }) => {
    const one = owner(request, raw)
    return counts(unpromised(one[name]), one, name)
  })?.mark ?? null
}

function isSomebody (value: unknown, owner: object, name: string): boolean {
  return namesSomebody(value) || isOwnMethod(value, owner, name)
}

/**
 * A function that was put on this very request, as Clerk's `request.auth`: it most likely knows who asks, and to call it may
 * do something. One that all requests have, a decorator, says nothing.
 */
function isOwnMethod (value: unknown, owner: object, name: string): boolean {
  return typeof value === 'function' && (owner instanceof Map || Object.hasOwn(owner, name))
}

function hasCountedCookie (jar: unknown, counts: CookieRule): boolean {
  if (typeof jar !== 'object' || jar === null) return namesSomebody(jar)
  for (const name in jar) if (counts(name)) return true
  return false
}

/** Whether the client has shown one, be it trusted or not. HTTP/2's socket stands for the connection's. */
function presentsCertificate (raw: { socket?: unknown }): boolean {
  const { socket } = raw
  if (typeof socket !== 'object' || socket === null || (socket as { encrypted?: unknown }).encrypted !== true) return false
  const { getPeerX509Certificate: certificate } = socket as { getPeerX509Certificate?: () => unknown }
  return typeof certificate === 'function' && certificate.call(socket) !== undefined
}

// Whether a session on a request is somebody's: session plugins make an empty one for everybody. What it has may be its own
// properties, or be kept where nobody sees it: in private fields, or behind a method.

/** As @fastify/session, @fastify/secure-session, express-session and cookie-session have it. */
interface Session { changed?: unknown, isChanged?: unknown, isModified?: () => unknown, data?: () => unknown }

/** Members of a session itself, which say nothing of its user. */
const NO_DATA = ['cookie', 'changed', 'deleted']

/** Whether it may say who asks: not so an empty text, false, an object or a list without anything, or a method. */
function namesSomebody (value: unknown): boolean {
  if (value == null || value === false || value === '' || typeof value === 'function') return false
  if (typeof value !== 'object') return true
  if (value instanceof Map || value instanceof Set) return value.size > 0
  if (Array.isArray(value)) return value.length > 0
  // An object of a class may keep all that it has where we can't see it.
  return !isBare(value) || Reflect.ownKeys(value).length > 0
}

function isBare (value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/**
 * A session's data came with its cookie, or was put there by a hook just now. A session that hides its data is somebody's,
 * unless it says that it is empty.
 */
function isOwnSession (session: unknown): boolean {
  if (typeof session !== 'object' || session instanceof Map || !namesSomebody(session)) return namesSomebody(session)
  const { changed, isChanged, data } = session as Session
  if (changed === true || isChanged === true) return true
  // secure-session keeps its data behind a method.
  if (typeof changed === 'boolean' && typeof data === 'function') return hasData(data.call(session))
  return hasData(session) || (isHiding(session!) && !isSeenEmpty(session!))
}

function hasData (content: unknown): boolean {
  if (typeof content !== 'object' || content === null) return namesSomebody(content)
  const values = content as Record<string, unknown>
  return Object.keys(values).some((name) => !NO_DATA.includes(name) && namesSomebody(values[name]))
}

/**
 * Whether nothing of it is seen but methods. A plain object that has no method to read with shows what it has: iron-session
 * has its own ones beside the data, not enumerable.
 */
function isHiding (session: object): boolean {
  const values = Object.values(session)
  if (values.some((value) => typeof value !== 'function')) return false
  return !isBare(session) || values.length > 0 || typeof (session as { get?: unknown }).get === 'function'
}

/** By what collections and cookie-session say of themselves. */
interface Countable {
  size?: unknown
  length?: unknown
  isPopulated?: unknown
  isEmpty?: unknown
  toJSON?: () => unknown
  [Symbol.iterator]?: () => Iterator<unknown>
}

function isSeenEmpty (session: Countable): boolean {
  const { size, length, isPopulated, isEmpty, toJSON, [Symbol.iterator]: iterate } = session
  if (size === 0 || length === 0 || isPopulated === false) return true
  if ((typeof isEmpty === 'function' ? isEmpty.call(session) : isEmpty) === true) return true
  if (typeof toJSON === 'function') return !hasData(toJSON.call(session))
  return typeof iterate === 'function' && iterate.call(session).next().done === true
}

/** Whether the handler, or a hook, wrote to a session of the request. */
export function hasChangedSession (request: object): boolean {
  const { session, raw } = request as { session?: unknown, raw?: { session?: unknown } }
  return isChanged(session) || isChanged(raw?.session)
}

function isChanged (session: unknown): boolean {
  if (typeof session !== 'object' || session === null) return false
  const { changed, isChanged, isModified } = session as Session
  return changed === true || isChanged === true || (typeof isModified === 'function' && isModified.call(session) === true)
}

// Credentials in the query, such as `?access_token=`: they say who asks, unless the key has their value.

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
interface Targeted { url: string, raw: { originalUrl?: unknown } }

/** A name in the query as it was sent, decoded, and which credential that is. */
interface Credential { name: string, as: string }

/** Looks at the query as the client sent it: the validation may have taken away values that a hook has read. */
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

/** Each part of `token[0]` and `auth[user]`, as some parsers of queries nest them, counts by itself. */
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
type MakeKey = (source: KeySource, changed: (url: string) => string) => unknown

interface Keyed { source: KeySource, key: unknown, make: MakeKey }

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
