// An answer at random: what a handler sends, in every way that Fastify knows; and what the rules say of storing it.
import fc from 'fast-check'
import type { FastifyReply } from 'fastify'
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'

type Value = string | number | string[]

export const KINDS = [
  'string', 'buffer', 'typed array', 'data view', 'object', 'serialized', 'null', 'undefined', 'empty', 'node stream',
  'node stream of strings', 'web stream', 'web stream of strings', 'Response of text', 'Response of bytes', 'Response of a stream',
  'Response of nothing'
] as const

/** Statuses that the cached routes store besides 200; the others are answered, and not stored. */
export const STATUSES = [201, 203, 204, 205, 301, 302, 307, 308, 400, 404, 410, 418, 500, 503]
const OTHERS = [202, 303, 403, 502]
export const LIMIT = 64 * 1024

export interface Answer {
  status: number
  fields: [name: string, value: Value][]
  type: string | null
  encoding: string | null
  etag: string | null
  cookie: boolean
  control: string | null
  kind: typeof KINDS[number]
  /** Where in the pool the body lies, and its size in bytes; in characters, of two bytes on average, for text. */
  from: number
  size: number
  chunks: number
  /** Whether a stream says its length ahead. */
  isSized: boolean
  way: 'return' | 'send' | 'later'
  shape: 'bare' | 'schema' | 'guarded' | 'hooked'
}

const TYPES = [
  'text/plain', 'text/html; charset=utf-8', 'application/json', 'application/vnd.api+json; charset=utf-8',
  'text/plain; charset=iso-8859-1', 'image/png', 'x', ''
]
const LARGEST = 100_000
const bytes = randomBytes(2 * LARGEST)
const signs = ['a', 'Z', '"', '\\', '\0', '\r\n', '\u00e9', '\u4e2d', '\u{1f600}']
const text = Array.from(randomBytes(LARGEST), (n) => signs[n % signs.length]).join('')

/** What Node sends in a field: tab, visible ASCII with spaces inside, latin1. */
const visible = fc.integer({ min: 0x21, max: 0xff }).filter((code) => code !== 0x7f).map((code) => String.fromCharCode(code))
const fieldValue = fc.oneof(
  fc.constantFrom('', 'a', '0', 'a, b', '"a, b"', 'a;b="c\\"d"', 'caf\u00e9', 'a\tb', '\u00a0\u00ff', 'x'.repeat(3000)),
  fc.string({ unit: visible, maxLength: 20 })
)
const token = fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz0123456789-_.!~')
const field = fc.tuple(
  fc.oneof(
    fc.constantFrom('link', 'content-language', 'content-disposition', 'location', 'retry-after', 'Allow', 'X-UPPER', 'x-a'),
    fc.string({ unit: token, maxLength: 8 }).map((name) => `x-${name}`)
  ),
  fc.oneof(
    { weight: 4, arbitrary: fieldValue }, fc.integer(), fc.double({ noNaN: true }), fc.array(fieldValue, { maxLength: 4 })
  )
)
const vary = fc.constantFrom<[string, Value]>(
  ['vary', 'Accept-Encoding'], ['vary', 'Origin, accept-language'], ['vary', ['b', 'a']]
)

const size = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 2000 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: LARGEST }) },
  fc.constantFrom(0, 1, LIMIT - 1, LIMIT, LIMIT + 1)
)

/** In `weight` of `weight + 10` cases the first. */
function mostly<T> (usual: T, weight: number, ...others: T[]): fc.Arbitrary<T> {
  return fc.oneof({ weight, arbitrary: fc.constant(usual) }, { weight: 10, arbitrary: fc.constantFrom(...others) })
}

/** But no object that can't be serialized where a hook is async: Fastify's throw is then an unhandled rejection. */
export const anyAnswer: fc.Arbitrary<Answer> = fc.record<Answer>({
  status: mostly(200, 10, ...STATUSES, ...OTHERS),
  fields: fc.tuple(fc.array(field, { maxLength: 6 }), fc.option(vary, { freq: 6 }))
    .map(([fields, extra]) => (extra === null ? fields : [...fields, extra])),
  type: fc.constantFrom(null, ...TYPES),
  encoding: mostly<string | null>(null, 40, 'gzip', 'br', 'identity'),
  etag: mostly<string | null>(null, 40, '"strong"', 'W/"weak"', 'W/""'),
  cookie: mostly(false, 200, true),
  control: mostly<string | null>(null, 100, 'public, max-age=60', 'no-cache', 'no-store', 'private'),
  kind: fc.constantFrom(...KINDS),
  from: fc.integer({ min: 0, max: 10_000 }),
  size,
  chunks: fc.integer({ min: 1, max: 5 }),
  isSized: fc.boolean(),
  way: fc.constantFrom('return', 'send', 'later'),
  shape: fc.constantFrom('bare', 'schema', 'guarded', 'hooked')
}).filter((answer) => !(isUnserializable(answer) && (answer.shape === 'hooked' || answer.shape === 'guarded')))

/** Whether it is sent in chunks, or with the length that it says itself: of a Response only the stream is known. */
export function isStream ({ kind }: Answer): boolean {
  return /stream|Response/.test(kind)
}

/**
 * Whether it says its length ahead. Not where strings come behind fields that aren't ASCII: Node writes such a field as
 * UTF-8 where the head goes out together with a string, else as latin1, so that a chunk's type would show.
 */
function saysLength (answer: Answer): boolean {
  const isAscii = answer.fields.every(([, value]) => /^[\0-\x7f]*$/.test(String(value)))
  if (!answer.isSized || !/stream/.test(answer.kind) || isBodiless(answer)) return false
  return isAscii || !answer.kind.endsWith('strings')
}

function bytesOf ({ from, size }: Answer): Buffer {
  return bytes.subarray(from, from + size)
}

function textOf ({ from, size }: Answer): string {
  return text.slice(from, from + size / 2)
}

function piecesOf<T extends string | Buffer> (whole: T, { chunks }: Answer): T[] {
  const step = Math.ceil(whole.length / chunks)
  const pieces = Array.from({ length: chunks }, (_, i) => whole.slice(i * step, (i + 1) * step) as T)
  return pieces.filter((piece) => piece.length > 0)
}

/** Piece by piece: one may end in the middle of a character. */
function encoded (text: string, answer: Answer): Buffer {
  return Buffer.concat(piecesOf(text, answer).map((piece) => Buffer.from(piece)))
}

function webStream (pieces: unknown[]): ReadableStream {
  return new ReadableStream({
    pull (controller) {
      if (pieces.length === 0) controller.close()
      else controller.enqueue(pieces.shift())
    }
  })
}

/** The schema of the routes of that shape: it leaves out what it doesn't name, and makes a string of the number. */
export const SCHEMA = { type: 'object', properties: { id: { type: 'string' }, text: { type: 'string' } } }

function objectOf (answer: Answer): Body {
  const payload = { id: answer.from, text: textOf(answer), hidden: [1, null, { a: 'b' }] }
  const shown = answer.shape === 'schema' ? { id: String(payload.id), text: payload.text } : payload
  return { payload, whole: JSON.stringify(shown) }
}

function serialized (payload: unknown): string {
  return `custom: ${JSON.stringify(payload)}`
}

interface Body { payload: unknown, whole: Buffer | string }

/** The body as the handler hands it over, and as it goes out. */
function bodyOf (answer: Answer): Body {
  const [bytes, text] = [bytesOf(answer), textOf(answer)]
  switch (answer.kind) {
    case 'string': return { payload: text, whole: text }
    case 'buffer': return { payload: bytes, whole: bytes }
    case 'typed array': {
      const even = Uint8Array.from(bytes).subarray(0, answer.size - answer.size % 2)
      return { payload: new Uint16Array(even.buffer, 0, even.length / 2), whole: Buffer.from(even) }
    }
    case 'data view': return { payload: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), whole: bytes }
    case 'object': return objectOf(answer)
    case 'serialized': return { payload: { text }, whole: serialized({ text }) }
    case 'null': return { payload: null, whole: 'null' }
    case 'undefined': case 'Response of nothing': return { payload: undefined, whole: '' }
    case 'empty': return { payload: '', whole: '' }
    case 'node stream': return { payload: Readable.from(piecesOf(bytes, answer), { objectMode: false }), whole: bytes }
    case 'web stream': case 'Response of a stream': return { payload: webStream(piecesOf(bytes, answer)), whole: bytes }
    case 'node stream of strings': return { payload: Readable.from(piecesOf(text, answer)), whole: encoded(text, answer) }
    case 'web stream of strings': return { payload: webStream(piecesOf(text, answer)), whole: encoded(text, answer) }
    case 'Response of text': return { payload: text, whole: text }
    case 'Response of bytes': return { payload: bytes, whole: bytes }
  }
}

/** What the handler does; what it gives is to be sent. */
export function give (answer: Answer, reply: FastifyReply): unknown {
  const { payload, whole } = bodyOf(answer)
  const head = headOf(answer, Buffer.byteLength(whole))
  if (answer.kind === 'serialized') reply.serializer(serialized)
  if (answer.kind.startsWith('Response')) return responseOf(answer, payload as ResponseBody, head)
  reply.code(answer.status)
  for (const [name, value] of head) reply.header(name, value)
  return payload
}

function headOf (answer: Answer, length: number): [string, Value][] {
  const { fields, type, encoding, etag, control, cookie } = answer
  const others: [string, Value | null][] = [
    ['content-type', type], ['content-encoding', encoding], ['etag', etag], ['cache-control', control],
    ['set-cookie', cookie ? 'sid=1' : null], ['content-length', saysLength(answer) ? length : null]
  ]
  return [...fields, ...others.filter((field): field is [string, Value] => field[1] !== null)]
}

type ResponseBody = string | Buffer | ReadableStream | undefined

function responseOf (answer: Answer, body: ResponseBody, head: [string, Value][]): Response {
  const response = new Response(isBodiless(answer) ? null : body ?? null, { status: answer.status })
  for (const [name, value] of head) {
    response.headers.delete(name)
    for (const one of [value].flat()) response.headers.append(name, String(one))
  }
  return response
}

/** A Response that must not have a body, by its constructor's rule. */
function isBodiless ({ kind, status }: Answer): boolean {
  return kind.startsWith('Response') && (status === 204 || status === 205)
}

/**
 * Whether an answer may be stored, by the rules of RFC 9111 and the routes' policy. Null where either is right: of a stream
 * that no client gets, as a 204 has no body, it is chance how much has been read when the response is over.
 */
export function isStorable (answer: Answer): boolean | null {
  const { status, kind, cookie, control } = answer
  if (status !== 200 && !STATUSES.includes(status)) return false
  if (cookie || control === 'no-store' || control === 'private') return false
  if (isUnserializable(answer)) return false
  if (status === 204 && /^(node|web) stream/.test(kind)) return null
  return isBodiless(answer) || Buffer.byteLength(bodyOf(answer).whole) <= LIMIT
}

/** An object under a type that isn't JSON's: Fastify fails. */
function isUnserializable ({ kind, type }: Answer): boolean {
  return kind === 'object' && type !== null && type.includes('/') && !type.includes('json')
}
