// From an entry to the answer that the client gets: 200 (or what was stored), or 304 where the client has it already.
import type { FastifyReply } from 'fastify'
import { ServerResponse } from 'node:http'
import type { Milliseconds } from './duration.js'
import type { Entry } from './entry.js'
import { isNotModified } from './http/conditional.js'
import { ACCEPT_ENCODING } from './http/encoding.js'
import { deltaSeconds } from './http/freshness.js'
import { isOf304 } from './head.js'
import { isSame, mergedVary, type HeaderFields } from './http/headers.js'
import type { RequestFields } from './http/vary.js'
import type { CacheOutcome } from './outcome.js'
import { representationOf } from './representation.js'

export interface Hit {
  entry: Entry
  /** The request's, as they came. */
  headers: RequestFields
  now: Milliseconds
  /** Others look at the payload in onSend: they get the like of what the handler sent. */
  asSent: boolean
}

/** Sends the entry through the reply: the route's onSend chain runs, as for the handler's own answer. */
export function sendEntry (reply: FastifyReply, hit: Hit): void {
  reply.send(putHead(reply, hit))
}

/** Of what is on its way out: Fastify gives the reply a Response's status later. */
export function statusOf (reply: FastifyReply, payload: unknown): number {
  return isResponse(payload) ? payload.status : reply.statusCode
}

function isResponse (payload: unknown): payload is Response {
  return Object.prototype.toString.call(payload) === '[object Response]'
}

/**
 * An error was raised behind an entry: its answer is not in the entry's coding. And where that entry stands in for another
 * error's answer, Fastify may have no error handler left by then: it sends the error with the status and type that are
 * there.
 */
export function standBack (reply: FastifyReply, outcome: CacheOutcome | null): void {
  if (outcome?.type === 'hit' || outcome?.type === 'stale') reply.removeHeader('content-encoding')
  if (outcome?.type === 'stale' && outcome.status !== null) reply.code(outcome.status).removeHeader('content-type')
}

/** What the reply is on its way with, and the fields that it had at the lookup. */
export interface Failed { payload: unknown, before: HeaderFields }

/** Has the entry take the place of a failed answer that is on its way out; gives what is sent instead. */
export function standIn (reply: FastifyReply, hit: Hit, { payload, before }: Failed): Buffer | string | null {
  discard(payload)
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (isSame(before[name], value)) continue
    reply.removeHeader(name)
    reply.raw.removeHeader(name)
  }
  const present = reply.getHeaders()
  for (const [name, value] of Object.entries(before)) {
    if (value !== undefined && present[name] === undefined) reply.header(name, value)
  }
  const body = putHead(reply, hit)
  restoreType(reply, hit.entry, before['content-type'])
  // Fastify takes undefined for "as it was".
  return body ?? null
}

/** A stream that nobody will read is let go, and not heard of any more. */
function discard (payload: unknown): void {
  const stream = (isResponse(payload) ? payload.body : payload) as Discardable
  if (typeof stream !== 'object' || stream === null) return
  stream.on?.('error', () => {})
  stream.destroy?.()
  stream.cancel?.().catch(() => {})
}

/** Of Node, or of the web. */
type Discardable = {
  on?: (event: 'error', listener: () => void) => void
  destroy?: () => void
  cancel?: () => Promise<void>
} | null

/** Puts the entry's head on the reply; gives its payload. */
function putHead (reply: FastifyReply, { entry, headers: conditions, now, asSent }: Hit): Buffer | string | undefined {
  const { status } = entry
  const { body, coding, headers, head } = representationOf(entry, conditions[ACCEPT_ENCODING])
  // Somebody else wrote it: with our checksum, but with fields that Node would throw at.
  if (!head.isSendable) throw new Error('the entry has header fields that can not be sent')
  const notModified = status === 200 && isNotModified(conditions, head.etag, head.lastModified)
  reply.code(notModified ? 304 : status)
  for (const [name, value] of headers) {
    if (notModified && !isOf304(name)) continue
    // Overwrites, where the handler would have: only what the handler added or changed was stored. `Vary` is a sum. Fastify
    // adds to the arrays that it is given.
    const own = typeof value === 'string' ? value : [...value]
    reply.header(name, name === 'vary' ? mergedVary(reply.getHeader('vary'), value) : own)
  }
  reply.header('age', String(ageOf(entry, head.age, now)))
  if (head.date === undefined) reply.header('date', dateOf(entry.storedAt))
  if (notModified) return undefined
  return coding === null ? payloadOf(entry, asSent || head.hasNonAscii) : body
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

interface Places { headers: symbol, trailers: symbol }

let places: Places | null | undefined

/**
 * Whether nobody has put a field or a trailer on it. Fastify gives fields as a copy, and tells of a trailer by its name
 * only, but keeps both in places that are called so; where they are not there, somebody may have.
 */
function isUntouched (reply: FastifyReply): boolean {
  if (places === undefined) places = placesOf(reply)
  if (places === null) return false
  const { [places.headers]: fields, [places.trailers]: trailers } = reply as unknown as Record<symbol, object | null>
  if (trailers !== null || reply.raw.getHeaderNames().length > 0) return false
  for (const name in fields) if (Object.hasOwn(fields, name)) return false
  return true
}

function placesOf (reply: FastifyReply): Places | null {
  const placeOf = (name: string): symbol | undefined =>
    Object.getOwnPropertySymbols(reply).find(({ description }) => description === `fastify.reply.${name}`)
  const [headers, trailers] = [placeOf('headers'), placeOf('trailers')]
  return headers === undefined || trailers === undefined ? null : { headers, trailers }
}

/** Node sends a body that is a string in one piece with the head. */
const LONGEST_STRING = 16 * 1024

/** A hit that is sent past the reply. */
export interface BareHit extends Hit {
  /** Seconds. */
  ttl: number
  /** The entry is given again, to others. */
  isKept: boolean
  /** What we say of it, as name and value in turns: always the same for this entry and ttl. */
  say: () => readonly string[]
}

/** The head's lines as they were sent last for an entry that is kept: for the rest of the second they are the same. */
interface Said { of: readonly string[], age: number, ttl: number, lines: string[] }

const said = new WeakMap<Entry, Said>()

/**
 * Sends the entry past the reply: only what the entry has and what we say of it, so only where nobody has put anything on
 * the reply, and nobody looks at what is sent. False: it can't be sent so.
 */
export function writeEntry (reply: FastifyReply, hit: BareHit): boolean {
  const { entry, headers: conditions } = hit
  const { status } = entry
  const { raw, request: { method } } = reply
  // Also inject's and HTTP/2's are other classes: they read what was set on the response.
  if (Object.getPrototypeOf(raw) !== ServerResponse.prototype || !isUntouched(reply)) return false
  const { body, head } = representationOf(entry, conditions[ACCEPT_ENCODING])
  if (!head.isSendable || !head.isFixed || head.hasNonAscii || status === 204) return false
  const notModified = status === 200 && isNotModified(conditions, head.etag, head.lastModified)
  const lines = linesOf(hit, notModified ? head.linesOf304 : head.lines, notModified ? null : body.length)
  reply.hijack()
  raw.writeHead(notModified ? 304 : status, lines)
  if (notModified || method === 'HEAD' || body.length === 0) raw.end()
  // Latin-1 has a character for each byte.
  else if (body.length <= LONGEST_STRING) raw.end(body.toString('latin1'), 'latin1')
  else raw.end(body)
  return true
}

function linesOf ({ entry, now, ttl, isKept, say }: BareHit, own: readonly string[], length: number | null): string[] {
  const age = ageOf(entry, undefined, now)
  const last = isKept ? said.get(entry) : undefined
  if (last?.of === own && last.age === age && last.ttl === ttl) return last.lines
  const lines = [...own, 'age', String(age), 'date', dateOf(entry.storedAt), ...say()]
  if (length !== null) lines.push('content-length', String(length))
  if (isKept) said.set(entry, { of: own, age, ttl, lines })
  return lines
}

/** RFC 9111 §4.2.3: what it had when it came, and how long it is here. Another host's clock may be ahead: never negative. */
function ageOf (entry: Entry, age: string | undefined, now: Milliseconds): number {
  return (deltaSeconds(age) ?? 0) + Math.max(0, Math.floor((now - entry.storedAt) / 1000))
}

function payloadOf ({ kind, body }: Entry, asSent: boolean): Buffer | string | undefined {
  if (kind === 'none') return undefined
  return asSent && kind === 'text' ? body.toString() : body
}

/** Fastify gives bytes a type where they have none, or one that it does not understand: the handler's answer had not. */
export function restoreType (reply: FastifyReply, { headers }: Entry, before: unknown): void {
  const type = headers.find(([name]) => name === 'content-type')?.[1] ?? before
  if (type === undefined || reply.statusCode === 304) reply.removeHeader('content-type')
  else reply.header('content-type', type)
}
