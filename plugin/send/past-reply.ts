// A hit that is written past Fastify's reply: no more than a head and a body on Node's response. For those that nobody else
// has put anything on, or looks at.
import type { FastifyReply } from 'fastify'
import { bodyOf } from '../entry/codec.js'
import type { Entry } from '../entry/entry.js'
import { isNotModified } from '../http/conditional.js'
import { ACCEPT_ENCODING } from '../http/encoding.js'
import { isPlainResponse } from '../response/raw-response.js'
import { ageOf, dateOf, isDeclaredBy, type Hit } from './reply.js'
import type { Head } from './head.js'
import { representationOf } from './representation.js'

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
interface Said { of: readonly string[], age: number, second: number, ttl: number, lines: string[] }

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
  if (!isPlainResponse(raw) || !isUntouched(reply)) return false
  const { body: present, head } = representationOf(entry, conditions[ACCEPT_ENCODING])
  if (!head.isFixed || head.hasNonAscii || status === 204 || conditions['range'] !== undefined) return false
  // What throws does so before the reply is hijacked, so that the reply can still say that it failed.
  if (status === 200 && isNotModified(conditions, head, hit.now)) {
    raw.writeHead(304, linesOf(hit, head, null))
    reply.hijack()
    raw.end()
    return true
  }
  const body = typeof present === 'number' ? bodyOf(entry) : present
  raw.writeHead(status, linesOf(hit, head, body.length))
  reply.hijack()
  if (method === 'HEAD' || body.length === 0) raw.end()
  // Latin-1 has a character for each byte.
  else if (body.length <= LONGEST_STRING) raw.end(body.toString('latin1'), 'latin1')
  else raw.end(body)
  return true
}

/** `length`: of the body; null: it is a 304. */
function linesOf (hit: BareHit, head: Head, length: number | null): string[] {
  const { entry, now, ttl, isKept, say } = hit
  const own = length === null ? head.linesOf304 : head.lines
  const isDeclared = isDeclaredBy(hit, head)
  const age = isDeclared ? 0 : ageOf(entry, undefined, now)
  const second = Math.floor((isDeclared ? now : entry.storedAt) / 1000)
  const last = isKept ? said.get(entry) : undefined
  if (last?.of === own && last.age === age && last.second === second && last.ttl === ttl) return last.lines
  const lines = [...own, 'age', String(age), 'date', dateOf(second * 1000), ...say()]
  if (length !== null) lines.push('content-length', String(length))
  if (isKept) said.set(entry, { of: own, age, second, ttl, lines })
  return lines
}
