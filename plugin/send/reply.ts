// From an entry to the answer that the client gets: 200 (or what was stored), 304 where the client has it already, 206 where
// it asks for a part.
import type { FastifyReply } from 'fastify'
import { promisify } from 'node:util'
import { brotliDecompress, gunzip } from 'node:zlib'
import { ServerResponse } from 'node:http'
import { Http2ServerResponse } from 'node:http2'
import { bodyOf, type Entry, type HeaderField } from '../entry/entry.js'
import type { Milliseconds, Bytes } from '../duration.js'
import { isNotModified, contentRange, partOf, type Part } from '../http/request.js'
import { ACCEPT_ENCODING, acceptedCodings, encodedEtag, type Coding } from '../http/encoding.js'
import { deltaSeconds, isSame, mergedVary, type HeaderFields, type RequestFields } from '../http/headers.js'
import { httpDate } from '../http/http-date.js'
import type { CacheOutcome } from '../telling/outcome.js'
import { discard, isMade, isResponse, isText, payloadOf, responseOf } from '../response/payload.js'

export interface Hit {
  entry: Entry
  /** The request's, as they came. */
  headers: RequestFields
  now: Milliseconds
  /** Others look at the payload in onSend: they get the like of what the handler sent. */
  asSent: boolean
  /** The Cache-Control that the route declares for answers whose handler sets none; null: none. */
  declared: string | null
}

type Payload = ReturnType<typeof payloadOf> | Response

/** Sends the entry through the reply: the route's onSend chain runs, as for the handler's own answer. */
export function sendEntry (reply: FastifyReply, hit: Hit): void {
  const payload = putHead(reply, hit)
  if (typeof payload === 'string') sendText(reply, payload)
  else reply.send(payload)
}

/** Fastify gives a text to the serializer that a hook has set on the reply. A stored text has been serialized already. */
function sendText (reply: FastifyReply, text: string): void {
  serializerPlace ??= findSerializerPlace(reply)
  const place = serializerPlace
  const own = place === undefined ? null : (reply as unknown as Record<symbol, Serializer | null>)[place]
  if (own == null) {
    // Bytes are never serialized: what can't be known is sent so.
    reply.send(place === undefined ? Buffer.from(text) : text)
    return
  }
  // The field is there again for the error of a hook that comes behind.
  let isPast = false
  reply.serializer((stored) => {
    isPast = true
    reply.serializer(own)
    return stored as string
  })
  reply.send(text)
  if (!isPast) reply.serializer(own)
}

type Serializer = (payload: unknown) => string

let serializerPlace: symbol | undefined

/** A reply's property for its own serializer: Fastify has a function that sets it, and none that gives it. */
function findSerializerPlace (reply: FastifyReply): symbol | undefined {
  const twin = Object.create(reply) as FastifyReply
  const probe: Serializer = () => ''
  twin.serializer(probe)
  return Object.getOwnPropertySymbols(twin).find((place) => (twin as unknown as Record<symbol, unknown>)[place] === probe)
}

/** The status of the answer on its way out: Fastify gives the reply a Response's status later. */
export function statusOf (reply: FastifyReply, payload: unknown): number {
  return isResponse(payload) ? payload.status : reply.statusCode
}

/**
 * An error was raised behind an entry: its answer is not in the entry's coding, nor a part of it. And where that entry
 * stands in for another error's answer, Fastify may have no error handler left by then: it sends the error with the status
 * and type that are there.
 */
export function standBack (reply: FastifyReply, outcome: CacheOutcome | null): void {
  if (outcome?.type === 'hit' || outcome?.type === 'stale') {
    reply.removeHeader('content-encoding')
    // Fastify takes another status than 200 for the error's.
    if (reply.getHeader('content-range') !== undefined || reply.statusCode === 304) reply.code(200).removeHeader('content-range')
  }
  if (outcome?.type === 'stale' && outcome.status !== null) reply.code(outcome.status).removeHeader('content-type')
}

/** The reply's payload, and the fields that the reply had at the lookup. */
export interface FailedAnswer { payload: unknown, before: HeaderFields }

/** Has the entry take the place of a failed answer that is on its way out; gives what is sent instead. */
export function standIn (reply: FastifyReply, hit: Hit, { payload, before }: FailedAnswer): Payload | null {
  discard(payload)
  putBefore(reply, before)
  const body = putHead(reply, hit, false)
  restoreType(reply, hit.entry, before['content-type'])
  // Fastify takes undefined for "as it was".
  return body ?? null
}

/** Puts these fields of an entry on the reply, in place of all that came there since the lookup. */
export function putFields (reply: FastifyReply, fields: readonly HeaderField[], before: HeaderFields): void {
  putBefore(reply, before)
  for (const [name, value] of fields) putField(reply, name, value)
}

/**
 * Overwrites, where the handler would have: only the fields that the handler added or changed were stored. `Vary` is a sum.
 * Fastify adds to the arrays that it is given.
 */
function putField (reply: FastifyReply, name: string, value: HeaderField[1]): void {
  if (name === 'vary') reply.header(name, mergedVary(reply.getHeader('vary'), value))
  else reply.header(name, typeof value === 'string' ? value : [...value])
}

/** Takes off the reply all that came there since the lookup. */
function putBefore (reply: FastifyReply, before: HeaderFields): void {
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (isSame(before[name], value)) continue
    reply.removeHeader(name)
    reply.raw.removeHeader(name)
  }
  const present = reply.getHeaders()
  for (const [name, value] of Object.entries(before)) {
    if (value !== undefined && present[name] === undefined) reply.header(name, value)
  }
}

/** Puts the entry's head on the reply; gives its payload. `mayWrap`: a Response has its head by itself. */
function putHead (reply: FastifyReply, hit: Hit, mayWrap = true): Payload | undefined {
  const { entry, headers: conditions, now } = hit
  const { status } = entry
  // Middleware that replaces methods of the raw response looks at the body, too.
  const asSent = hit.asSent || !isOwnOfNode(reply.raw)
  const { body, coding, headers, head } = representationOf(entry, conditions[ACCEPT_ENCODING])
  const notModified = status === 200 && isNotModified(conditions, head, now)
  const part = notModified || conditions['range'] === undefined ? null : partOfEntry(reply, hit)
  const isDeclared = isDeclaredBy(hit, head)
  if (part !== 'unsatisfiable') reply.header('age', isDeclared ? '0' : String(ageOf(entry, head.age, now)))
  if (part !== 'unsatisfiable' && (isDeclared || head.date === undefined)) reply.header('date', dateOf(isDeclared ? now : entry.storedAt))
  if (entry.kind === 'response' && mayWrap && asSent && !notModified && part === null && reply.request.method !== 'HEAD') {
    return wrappedBeside(reply, headers, { body: typeof body === 'number' ? bodyOf(entry) : body, status, isDeclared })
  }
  reply.code(notModified ? 304 : status)
  const leftOut = leftOutOf(part)
  for (const [name, value] of notModified ? head.fieldsOf304 : head.fields) {
    if ((isDeclared && name === 'date') || leftOut.includes(name)) continue
    putField(reply, name, value)
  }
  if (notModified) return undefined
  if (part !== null) return putPart(reply, entry, { part, asSent })
  if (asSent && entry.kind.startsWith('sized')) reply.header('content-length', lengthOf(body))
  return bodyOfKind(entry, { body, coding, head }, asSent)
}

function lengthOf (body: Representation['body']): string {
  return String(typeof body === 'number' ? body : body.length)
}

function bodyOfKind (entry: Entry, { body, coding, head }: Omit<Representation, 'headers'>, asSent: boolean): Payload | undefined {
  if (coding === null || typeof body === 'number') return bodyAs(entry, asSent || head.hasNonAscii)
  return asSent ? payloadOf(isText(entry.kind) ? 'bytes' : entry.kind, body) : body
}

/** Fields that say something of the body: a hook that has changed it has changed them. */
const OF_THE_BODY = [
  'content-type', 'content-encoding', 'content-language', 'content-location', 'content-length', 'content-md5', 'content-digest',
  'repr-digest', 'digest', 'etag', 'last-modified'
]

/**
 * An entry on its way out has passed the onSend hooks ahead of ours. On the miss they made what was stored, and now they may
 * have changed that once more. Gives the body as it was stored, and puts its fields on the reply. A hook that has set
 * another status has given an answer of its own, such as a 304.
 */
export function restored (reply: FastifyReply, hit: Hit, { payload, before }: FailedAnswer): unknown {
  const { entry, headers: conditions } = hit
  if (statusOf(reply, payload) !== entry.status || isResponse(payload) !== (entry.kind === 'response')) return payload
  if (isMade(payload) || (isResponse(payload) && payload.bodyUsed)) return payload
  discard(payload)
  const representation = representationOf(entry, conditions[ACCEPT_ENCODING])
  const { body, headers } = representation
  if (isResponse(payload)) {
    return responseOf(entry.status, headers.map(withReplys(reply, isDeclaredBy(hit, representation.head))), typeof body === 'number' ? bodyOf(entry) : body)
  }
  const stored = new Map(headers)
  if (entry.kind.startsWith('sized')) stored.set('content-length', lengthOf(body))
  for (const name of OF_THE_BODY) {
    const value = stored.get(name) ?? before[name]
    if (value === undefined) reply.removeHeader(name)
    else reply.header(name, typeof value === 'object' ? [...value] : value)
  }
  // Fastify takes undefined for "as it was".
  return bodyOfKind(entry, representation, hit.asSent) ?? null
}

/** The part of its body as it is that this request gets; of an encoded body there are none. */
function partOfEntry (reply: FastifyReply, { entry, headers: conditions, now }: Hit): Part | 'unsatisfiable' | null {
  const { status } = entry
  const { body, coding, head } = representationOf(entry, conditions[ACCEPT_ENCODING])
  if (status !== 200 || coding !== null || reply.request.method !== 'GET') return null
  const madeAt = httpDate(head.date, now) ?? entry.storedAt
  return partOf(conditions, { ...head, madeAt, size: typeof body === 'number' ? body : body.length }, now)
}

/** Fields about all of the content: RFC 9530 §2, RFC 2616 §14.15. */
const OF_THE_WHOLE = ['content-digest', 'content-md5']
/**
 * Fields that tell what the 200 is, how long others may keep it, and how old it is. Beside a 416 they would have a cache in
 * front keep that for everybody: RFC 9111 §3.
 */
const OF_A_200 = [
  ...OF_THE_WHOLE, 'content-type', 'content-language', 'content-location', 'content-disposition', 'repr-digest', 'digest',
  'etag', 'last-modified', 'cache-control', 'cdn-cache-control', 'expires', 'age', 'date'
]

const NOTHING: readonly string[] = []

/** Fields of the entry that an answer with this part of it has not. */
function leftOutOf (part: Part | 'unsatisfiable' | null): readonly string[] {
  return part === null ? NOTHING : part === 'unsatisfiable' ? OF_A_200 : OF_THE_WHOLE
}

/** RFC 9110 §15.3.7, §15.5.17. */
function putPart (
  reply: FastifyReply, entry: Entry, { part, asSent }: { part: Part | 'unsatisfiable', asSent: boolean }
): Payload | undefined {
  const whole = bodyOf(entry)
  reply.header('content-range', contentRange(part, whole.length))
  if (part === 'unsatisfiable') {
    reply.code(416).removeHeader('content-type')
    return undefined
  }
  reply.code(206)
  const bytes = whole.subarray(part.from, part.to + 1)
  if (asSent && entry.kind.startsWith('sized')) reply.header('content-length', String(bytes.length))
  // A text may be cut within a character.
  return asSent ? payloadOf(isText(entry.kind) ? 'bytes' : entry.kind, bytes) : bytes
}

/** A Response with these fields, as it is sent beside those of the reply. */
export function wrappedBeside (
  reply: FastifyReply, headers: readonly HeaderField[], { body, status = 200, isDeclared = false }: Wrapped
): Response {
  return responseOf(status, headers.map(withReplys(reply, isDeclared)), body)
}

interface Wrapped { body: Buffer, status?: number, isDeclared?: boolean }

/**
 * A Response's fields take the place of the reply's in the end: so `Vary`, a sum, is made here; and `Age` is ours, as is
 * `Date` where the route declares the Cache-Control.
 */
function withReplys (reply: FastifyReply, isDeclared: boolean): (field: HeaderField) => HeaderField {
  return ([name, value]) => {
    if (name === 'vary') return [name, mergedVary(reply.getHeader('vary'), value)]
    return [name, name === 'age' || (isDeclared && name === 'date') ? String(reply.getHeader(name) ?? value) : value]
  }
}

/**
 * Whether the Cache-Control that is sent is the route's own. It says how long others may keep the answer that they are
 * given, so their time begins with that answer. Counted from the store, a time that is shorter than the ttl would soon be
 * over at once, and each cache in front would forward each request: RFC 9213 §2.3.
 */
function isDeclaredBy ({ declared }: Pick<Hit, 'declared'>, { cacheControl }: Pick<Head, 'cacheControl'>): boolean {
  return declared !== null && cacheControl === declared
}

/** Instants of the same second have the same text: an entry's is made once. */
const dates = new Map<number, string>()
const MOST_DATES = 1_000

/** IMF-fixdate: RFC 9110 §5.6.7. */
function dateOf (time: Milliseconds): string {
  const second = Math.floor(time / 1000)
  let text = dates.get(second)
  if (text === undefined) {
    if (dates.size >= MOST_DATES) dates.clear()
    dates.set(second, text = new Date(time).toUTCString())
  }
  return text
}

/** RFC 9111 §4.2.3: what it had when it came, and how long it is here. Another host's clock may be ahead: never negative. */
function ageOf (entry: Entry, age: string | undefined, now: Milliseconds): number {
  return (age === undefined ? 0 : deltaSeconds(age) ?? 0) + Math.max(0, Math.floor((now - entry.storedAt) / 1000))
}

/** The entry's body as the handler sent it, if somebody looks at it (`asSent`); or in the cheapest form. */
export function bodyAs (entry: Entry, asSent: boolean): Payload | undefined {
  if (entry.kind === 'none') return undefined
  const body = bodyOf(entry)
  return asSent ? payloadOf(entry.kind, body) : body
}

/** Statuses whose answers have no body here, and so no type either. */
const BODILESS = [304, 416]

/** Fastify gives bytes a type where they have none, or one that it does not understand: the handler's answer had not. */
export function restoreType (reply: FastifyReply, { headers }: Entry, before: unknown): void {
  const type = headers.find(([name]) => name === 'content-type')?.[1] ?? before
  if (type === undefined || BODILESS.includes(reply.statusCode)) reply.removeHeader('content-type')
  else reply.header('content-type', type)
}

// Which of an entry's bodies a request gets, and with which head: the one as it is, or an encoded one, which is a
// representation of its own with a tag of its own (RFC 9110 §8.8.3.3).

interface Representation {
  /** Or its size, where it has yet to be decoded. */
  body: Buffer | Bytes
  /** Null: as the handler sent it. */
  coding: Coding | null
  /** With those of the coding. */
  headers: Fields
  head: Head
}

/** The entry's representation for a request with this Accept-Encoding. */
export function representationOf (entry: Entry, acceptEncoding: string | readonly string[] | undefined): Representation {
  const { encoded, headers } = entry
  if (encoded.length > 0) {
    for (const coding of acceptedCodings(acceptEncoding)) {
      const found = encoded.find((one) => one.coding === coding)
      if (found === undefined) continue
      const own = headersIn(coding, headers)
      return { body: found.body, coding, headers: own, head: headOf(own) }
    }
  }
  return { body: entry.body, coding: null, headers, head: headOf(headers) }
}

/** Made once for each header block, as heads are. */
const made = { br: new WeakMap<Fields, Fields>(), gzip: new WeakMap<Fields, Fields>() }

type Fields = readonly HeaderField[]

function headersIn (coding: Coding, headers: Fields): Fields {
  let own = made[coding].get(headers)
  if (own === undefined) made[coding].set(headers, own = makeHeaders(coding, headers))
  return own
}

/** Ranges are of the body as it is. */
function makeHeaders (coding: Coding, headers: Fields): Fields {
  const own: HeaderField[] = [['content-encoding', coding]]
  for (const field of headers) {
    if (field[0] === 'etag') own.push(['etag', encodedEtag(String(field[1]), coding)])
    else if (field[0] !== 'accept-ranges') own.push(field)
  }
  return own
}

// The head of a stored response, made ready for sending: once for each header block, as the codec gives those of a hot entry
// the same fields again.

interface Head {
  /** All but Age, which is made anew with each response. */
  fields: Fields
  /** The fields of a 304. */
  fieldsOf304: Fields
  /** Node encodes the head as it does the body, so a string's with other bytes than a Buffer's where they are not ASCII. */
  hasNonAscii: boolean
  etag: string | undefined
  lastModified: string | undefined
  acceptRanges: string | undefined
  age: string | undefined
  date: string | undefined
  cacheControl: string | undefined
}

/**
 * The fields of a 200 that a 304 has, too: RFC 9110 §15.4.5. Age is the cache's own, RFC 9111 §5.1. Caches in front take a
 * 304's for those of their copies, also the names by which these are purged.
 */
const OF_A_304 = new Set([
  'cache-control', 'content-location', 'date', 'etag', 'expires', 'vary', 'age', 'cdn-cache-control', 'surrogate-key', 'cache-tag'
])

const heads = new WeakMap<readonly HeaderField[], Head>()

export function headOf (headers: readonly HeaderField[]): Head {
  let head = heads.get(headers)
  if (head === undefined) heads.set(headers, head = makeHead(headers))
  return head
}

/** Whether a 304 has this field. */
export function isOf304 (name: string): boolean {
  return OF_A_304.has(name)
}

function makeHead (headers: readonly HeaderField[]): Head {
  const fieldOf = (name: string): string | undefined => {
    const value = headers.find(([field]) => field === name)?.[1]
    return value === undefined ? undefined : String(value)
  }
  return {
    fields: headers.filter(([name]) => name !== 'age'),
    fieldsOf304: headers.filter(([name]) => name !== 'age' && OF_A_304.has(name)),
    hasNonAscii: headers.some(([, value]) => /[\x80-\xff]/.test(String(value))),
    etag: fieldOf('etag'),
    lastModified: fieldOf('last-modified'),
    acceptRanges: fieldOf('accept-ranges'),
    age: fieldOf('age'),
    date: fieldOf('date'),
    cacheControl: fieldOf('cache-control')
  }
}

// Bodies that are stored in a coding only, for clients that take none: decoded in Node's pool of threads, so that the event
// loop goes on, and no further than they are said to be long. The length was checked against `maxBodyBytes` by then.

interface Bounds { maxOutputLength: number, chunkSize: number }

const DECODERS: Record<Coding, (body: Buffer, bounds: Bounds) => Promise<Buffer>> = {
  br: promisify(brotliDecompress),
  gzip: promisify(gunzip)
}
const CHUNK = 64 * 1024

/** Many that waited for one run are given the same entry, at once: it is decoded once. */
const running = new WeakMap<Entry['encoded'], Promise<Buffer>>()

/** Whether a request with these header fields gets the body as it is, and that has yet to be decoded. */
export function isPacked (entry: Entry, headers: RequestFields): boolean {
  return typeof entry.body === 'number' && typeof representationOf(entry, headers[ACCEPT_ENCODING]).body === 'number'
}

/** The entry with its body as it is. Rejects where what lies there is not so encoded: somebody else wrote it. */
export async function unpacked (entry: Entry): Promise<Entry> {
  const { body: size, encoded } = entry
  if (typeof size !== 'number') return entry
  let decoding = running.get(encoded)
  if (decoding === undefined) {
    decoding = decoded(encoded, size)
    running.set(encoded, decoding)
    const end = (): void => { running.delete(encoded) }
    decoding.then(end, end)
  }
  return { ...entry, body: await decoding }
}

async function decoded (encoded: Entry['encoded'], size: number): Promise<Buffer> {
  // gzip is the faster one to decode.
  const { coding, body } = encoded.find(({ coding }) => coding === 'gzip') ?? encoded[0]!
  const whole = await DECODERS[coding](body, { maxOutputLength: Math.max(1, size), chunkSize: CHUNK })
  if (whole.length !== size) throw new Error(`a body of ${size} bytes has ${whole.length} when it is decoded`)
  return whole
}

// The fields that say what the cache did: Cache-Status (RFC 9211), and X-Cache if the option asks for it.

/** How responses say what the cache did. */
export interface Signals {
  cacheStatus: { name: string, key: boolean } | null
  xCache: boolean
}

/** As much of a reply as says it. */
interface ReplyView {
  getHeader: (name: string) => unknown
  header: (name: string, value: string) => unknown
}

/** Says what the cache did: our member goes behind those of caches that the handler itself went through. */
export function announce (reply: ReplyView, outcome: CacheOutcome, { cacheStatus: status, xCache }: Signals): void {
  // No client gets this response.
  if (outcome.type === 'own') return
  if (xCache) reply.header('x-cache', outcome.type === 'hit' || outcome.type === 'stale' ? 'HIT' : 'MISS')
  if (status === null) return
  const handling = handlingOf(outcome)
  if (status.key && outcome.type !== 'bypass') handling.key = outcome.key
  const member = cacheStatus(status.name, handling)
  reply.header('cache-status', withMember(String(reply.getHeader('cache-status') ?? ''), member))
}

function handlingOf (outcome: Exclude<CacheOutcome, { type: 'own' }>): Handling {
  if (outcome.type === 'hit') return outcome.collapsed ? { fwd: 'miss', collapsed: true, ttl: outcome.ttl } : { ttl: outcome.ttl }
  if (outcome.type === 'stale') return staleHandling(outcome)
  if (outcome.type === 'miss' && outcome.revalidated === true) return { fwd: 'stale', fwdStatus: 304 }
  if (outcome.type === 'miss') {
    const fwd = outcome.forced ? 'request' : 'miss'
    return outcome.refused === undefined ? { fwd } : { fwd, detail: outcome.refused }
  }
  return { fwd: 'bypass', detail: outcome.detail ?? outcome.reason }
}

/** The ttl of a stale entry is negative: RFC 9211 §2.4. `fwd=stale`: the request waited for the handler (§2.2). */
function staleHandling ({ ttl, ifError, status }: Extract<CacheOutcome, { type: 'stale' }>): Handling {
  if (!ifError) return { ttl }
  const detail = 'stale-if-error'
  return status === null ? { ttl, detail } : { fwd: 'stale', fwdStatus: status, ttl, detail }
}

// The Cache-Status field, RFC 9211: a list with one member for each cache on the way, ours last.
// https://www.rfc-editor.org/rfc/rfc9211#section-2

export interface Handling {
  /** Why the request went to the handler (§2.2); absent: it did not, it was a hit (§2.1). */
  fwd?: 'miss' | 'bypass' | 'request' | 'stale' | 'method'
  /** The handler's status, if another is sent (§2.3). */
  fwdStatus?: number
  /** The request waited for another's response instead (§2.6). */
  collapsed?: boolean
  /** Seconds left (§2.4). */
  ttl?: number
  /** Our reason (§2.8). */
  detail?: string
  /** The key (§2.7), where it is asked for. */
  key?: string
}

/** Our member: `name; hit; ttl=30`, or `name; fwd=miss`. */
export function cacheStatus (name: string, { fwd, fwdStatus, collapsed, ttl, detail, key }: Handling): string {
  return name + (fwd === undefined ? '; hit' : `; fwd=${fwd}`) + (fwdStatus === undefined ? '' : `; fwd-status=${fwdStatus}`) +
    (collapsed === true ? '; collapsed' : '') + (ttl === undefined ? '' : `; ttl=${ttl}`) +
    (key === undefined ? '' : `; key=${sfString(key)}`) + (detail === undefined ? '' : `; detail=${detail}`)
}

/** The field with our member behind those that are there already. */
export function withMember (field: string, member: string): string {
  let end = field.length
  while (end > 0 && EMPTY.includes(field[end - 1]!)) end--
  return end === 0 ? member : `${field.slice(0, end)}, ${member}`
}

/** Drops empty members at the end. */
const EMPTY = ', \t\r\n'

/** An sf-string, RFC 8941 §3.3.3: what is not visible ASCII is percent-encoded. Keys are well-formed Unicode. */
export function sfString (text: string): string {
  const ascii = text.replace(/[^\x20-\x7e]+/g, (part) => encodeURIComponent(part))
  return `"${ascii.replace(/["\\]/g, '\\$&')}"`
}

// Node's response under a reply, as others may have made it: middleware replaces its methods to see, or to change, how a
// response leaves.

/** The methods that a head and a body go through, those that Node calls itself among them. */
type Methods = Partial<Record<
  'writeHead' | 'write' | 'end' | 'setHeader' | 'setHeaders' | 'appendHeader' | 'removeHeader' | 'getHeader' | 'getHeaders' |
  'getHeaderNames' | 'hasHeader' | 'flushHeaders' | 'addTrailers' | '_implicitHeader' | '_storeHeader' | '_send', unknown
>>

/** As they were when this package was loaded: middleware may also replace those of the class. */
const OF_HTTP = methodsOf(ServerResponse.prototype)
const OF_HTTP2 = methodsOf(Http2ServerResponse.prototype)

function methodsOf (raw: Methods): Methods {
  const { writeHead, write, end, setHeader, setHeaders, appendHeader, removeHeader, getHeader, getHeaders } = raw
  const { getHeaderNames, hasHeader, flushHeaders, addTrailers, _implicitHeader, _storeHeader, _send } = raw
  const ofHeaders = { setHeader, setHeaders, appendHeader, removeHeader, getHeader, getHeaders, getHeaderNames, hasHeader }
  return Object.assign({ writeHead, write, end, flushHeaders, addTrailers, _implicitHeader, _storeHeader, _send }, ofHeaders)
}

/** Whether this is Node's own response, with all its methods. Of another class nobody knows how it sends. */
export function isOwnOfNode (raw: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(raw)
  return (prototype === ServerResponse.prototype && areSame(raw, OF_HTTP)) ||
    (prototype === Http2ServerResponse.prototype && areSame(raw, OF_HTTP2))
}

/** As much of it as is looked at here. */
export interface RawResponseView {
  headersSent: boolean
  getHeaders: () => HeaderFields
}

/** Whether any method of it is not that of its class, whatever class that is. */
export function isReplaced (raw: object): boolean {
  return !areSame(raw, Object.getPrototypeOf(raw) as Methods)
}

/** The fields that were sent, by names in lower case. Node keeps HTTP/1's as a text, and what was set on it is less. */
export function sentHead (raw: RawResponseView): HeaderFields {
  const { _header: head } = raw as { _header?: unknown }
  if (typeof head !== 'string') return raw.getHeaders()
  const fields: Record<string, string | string[]> = {}
  for (const line of head.split('\r\n').slice(1)) {
    const end = line.indexOf(': ')
    if (end < 0) continue
    const name = line.slice(0, end).toLowerCase()
    const value = line.slice(end + 2)
    fields[name] = name in fields ? [fields[name]!, value].flat() : value
  }
  return fields
}

/** One by one, by their names: that takes 5 ns, and a loop a thousand. */
function areSame (raw: Methods, node: Methods): boolean {
  return raw.writeHead === node.writeHead && raw.write === node.write && raw.end === node.end &&
    raw.setHeader === node.setHeader && raw.setHeaders === node.setHeaders && raw.appendHeader === node.appendHeader &&
    raw.removeHeader === node.removeHeader && raw.getHeader === node.getHeader && raw.getHeaders === node.getHeaders &&
    raw.getHeaderNames === node.getHeaderNames && raw.hasHeader === node.hasHeader &&
    raw.flushHeaders === node.flushHeaders && raw.addTrailers === node.addTrailers &&
    raw._implicitHeader === node._implicitHeader && raw._storeHeader === node._storeHeader && raw._send === node._send
}
