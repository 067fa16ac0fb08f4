// The head of a stored response, made ready for sending: once for each header block, as the codec gives those of a hot entry
// the same fields again.
import type { HeaderField } from '../entry/entry.js'

export interface Head {
  /** Names and values in turns, as `writeHead` takes them; a field with several values is there as often. */
  lines: readonly string[]
  /** The same of a 304. */
  linesOf304: readonly string[]
  /** There is nothing in it that depends on the reply, or on the instant. */
  isFixed: boolean
  /** Node encodes the head as it does the body, so a string's with other bytes than a Buffer's where they are not ASCII. */
  hasNonAscii: boolean
  etag: string | undefined
  lastModified: string | undefined
  acceptRanges: string | undefined
  age: string | undefined
  date: string | undefined
  cacheControl: string | undefined
}

/** What a 304 has of a 200's fields: RFC 9110 §15.4.5. Age is the cache's own, RFC 9111 §5.1. */
const OF_A_304 = new Set(['cache-control', 'content-location', 'date', 'etag', 'expires', 'vary', 'age', 'cdn-cache-control'])
/** What is added to, or made anew, with each response. */
const MOVING = ['age', 'date', 'cache-status', 'x-cache', 'content-length', 'transfer-encoding', 'connection', 'trailer']

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
    lines: linesOf(headers),
    linesOf304: linesOf(headers.filter(([name]) => OF_A_304.has(name))),
    isFixed: !headers.some(([name]) => MOVING.includes(name)),
    hasNonAscii: headers.some(([, value]) => /[\x80-\xff]/.test(String(value))),
    etag: fieldOf('etag'),
    lastModified: fieldOf('last-modified'),
    acceptRanges: fieldOf('accept-ranges'),
    age: fieldOf('age'),
    date: fieldOf('date'),
    cacheControl: fieldOf('cache-control')
  }
}

function linesOf (headers: readonly HeaderField[]): string[] {
  return headers.flatMap(([name, value]) => [value].flat().flatMap((one) => [name, one as string]))
}
