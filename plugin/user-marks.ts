// What tells that a request is somebody's own, so that its response must not be another's: RFC 9111 §3.5, §7.3. One table,
// asked at the lookup, and again when the response is stored: a hook or the handler may have found out by then who asks.
import { countedCookie, isNoAnalyticsCookie, listedCookies, type CookieRule } from './http/cookies.js'
import { namesNobody } from './http/credential-headers.js'
import type { RequestFields } from './http/vary.js'
import { unpromised } from './identity.js'

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

export interface MarkOptions {
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
    const { raw } = request
    return userOf(request as Request, raw) ?? field ?? sessionOf(request as Request, raw, { headers, cookies: counts }) ??
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
    // Of two Authorization fields Node shows the first: one that names nobody, or is empty, may hide somebody.
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

/** Its name comes from the client, so it is for the log only. */
function cookieMark (name: string | null): UserMark | null {
  return name === null ? null : { reason: 'cookie', detail: 'cookie', words: `the cookie ${JSON.stringify(name.slice(0, 60))}` }
}

/** Where hooks put who asks, on the request or the raw one. */
interface Users {
  user?: unknown
  account?: unknown
  auth?: unknown
  currentUser?: unknown
  principal?: unknown
  userId?: unknown
  tenant?: unknown
  tenantId?: unknown
  uid?: unknown
  identity?: unknown
  claims?: unknown
  viewer?: unknown
  customer?: unknown
  member?: unknown
  oidc?: unknown
  kauth?: unknown
}
interface Request extends Users { session?: unknown, cookies?: unknown }
interface Raw extends Users { session?: unknown, cookies?: unknown, signedCookies?: unknown, ntlm?: unknown }

/** A place where hooks, and middleware of other frameworks, put who asks. */
interface Holder { mark: UserMark, read: (request: Request, raw: Raw) => unknown }

const PLACES: readonly [name: keyof Users, ...others: Array<keyof Users>] = [
  'user', 'account', 'auth', 'currentUser', 'principal', 'userId', 'tenant', 'tenantId', 'uid', 'identity', 'claims', 'viewer', 'customer',
  'member', 'oidc', 'kauth'
]
const USERS: readonly Holder[] = [
  holder('user', 'request.user', ({ user }) => user),
  ...PLACES.slice(1).map((name) => holder(`user:${kebab(name)}`, `request.${name}`, (request) => request[name])),
  holder('user:raw', 'request.raw.user', (_, { user }) => user),
  ...PLACES.slice(1).map((name) => holder(`user:raw-${kebab(name)}`, `request.raw.${name}`, (_, raw) => raw[name])),
  holder('user:raw-ntlm', 'request.raw.ntlm', (_, { ntlm }) => ntlm)
]
const SESSIONS: readonly Holder[] = [
  holder('session', 'request.session', ({ session }) => session),
  holder('session:raw', 'request.raw.session', (_, { session }) => session)
]
const JARS: readonly Holder[] = [
  holder('cookie', 'request.cookies', ({ cookies }) => cookies),
  holder('cookie', 'request.raw.cookies', (_, { cookies }) => cookies),
  holder('cookie', 'request.raw.signedCookies', (_, { signedCookies }) => signedCookies)
]

function kebab (name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

function holder (detail: string, place: string, read: Holder['read']): Holder {
  return { mark: { reason: detail.split(':')[0] as MarkReason, detail, words: `a ${place}` }, read }
}

/**
 * All places of a kind are read in one expression first, as that costs a hundredth of asking them one by one. Each read of a
 * getter may make a promise of its own.
 */
function userOf (request: Request, raw: Raw): UserMark | null {
  const user = anyOf(request) ?? anyOf(raw) ?? raw.ntlm
  return unpromised(user) == null ? null : firstOf(USERS, { request, raw }, holds)
}

function anyOf (one: Users): unknown {
  return one.user ?? one.account ?? one.auth ?? one.currentUser ?? one.principal ?? one.userId ?? one.tenant ??
    one.tenantId ?? one.uid ?? one.identity ?? one.claims ?? one.viewer ?? one.customer ?? one.member ??
    one.oidc ?? one.kauth
}

function sessionOf (request: Request, raw: Raw, { headers, cookies }: Jar): UserMark | null {
  const session = request.session ?? raw.session
  const own = unpromised(session) == null ? null : firstOf(SESSIONS, { request, raw }, (one) => isOwnSession(one, headers))
  if (own !== null) return own
  const jar = request.cookies ?? raw.cookies ?? raw.signedCookies
  return unpromised(jar) == null ? null : firstOf(JARS, { request, raw }, (one) => hasCountedCookie(one, cookies))
}

interface Jar { headers: RequestFields, cookies: CookieRule }

function firstOf (
  holders: readonly Holder[], { request, raw }: { request: Request, raw: Raw }, counts: (value: unknown) => boolean
): UserMark | null {
  return holders.find(({ read }) => counts(unpromised(read(request, raw))))?.mark ?? null
}

/** Whether there is somebody in it: not in an empty text, false, an object or a list without anything, or a method. */
function holds (value: unknown): boolean {
  if (value == null || value === false || value === '' || typeof value === 'function') return false
  if (typeof value !== 'object') return true
  if (value instanceof Map || value instanceof Set) return value.size > 0
  if (Array.isArray(value)) return value.length > 0
  const prototype: unknown = Object.getPrototypeOf(value)
  // An object of a class may keep all that it has where we can't see it.
  return (prototype !== Object.prototype && prototype !== null) || Reflect.ownKeys(value).length > 0
}

function hasCountedCookie (jar: unknown, counts: CookieRule): boolean {
  if (typeof jar !== 'object' || jar === null) return holds(jar)
  for (const name in jar) if (counts(name)) return true
  return false
}

/** As @fastify/session, @fastify/secure-session, express-session and cookie-session have it. */
interface Session { changed?: unknown, isChanged?: unknown, isModified?: () => unknown, data?: () => unknown }

/** Of a session itself, not of who has it. */
const NO_DATA = ['cookie', 'changed', 'deleted']

/**
 * Whether a session is somebody's: these plugins make an empty one for everybody. What is in it came with its cookie, or was
 * put there by a hook just now. One that shows nothing of what it has is somebody's where it may have come with a cookie.
 */
function isOwnSession (session: unknown, headers: RequestFields): boolean {
  if (typeof session !== 'object' || session instanceof Map || !holds(session)) return holds(session)
  const { changed, isChanged, data } = session as Session
  if (changed === true || isChanged === true) return true
  // secure-session keeps its data behind a method.
  const content = typeof changed === 'boolean' && typeof data === 'function' ? data.call(session) : session
  const names = Object.keys(content as object)
  if (names.some((name) => !NO_DATA.includes(name) && holds((content as Record<string, unknown>)[name]))) return true
  if (names.length > 0 || content !== session) return false
  const { cookie } = headers
  return cookie !== undefined && countedCookie(cookie, isNoAnalyticsCookie) !== null
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

/** Whether the client has shown one, be it trusted or not. HTTP/2's socket stands for the connection's. */
function presentsCertificate (raw: { socket?: unknown }): boolean {
  const { socket } = raw
  if (typeof socket !== 'object' || socket === null || (socket as { encrypted?: unknown }).encrypted !== true) return false
  const { getPeerX509Certificate: certificate } = socket as { getPeerX509Certificate?: () => unknown }
  return typeof certificate === 'function' && certificate.call(socket) !== undefined
}
