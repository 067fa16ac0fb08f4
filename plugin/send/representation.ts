// Which of an entry's bodies a request gets, and with which head: the one as it is, or an encoded one, which is a
// representation of its own with a tag of its own (RFC 9110 §8.8.3.3).
import type { Bytes } from '../duration.js'
import type { Entry, HeaderField } from '../entry/entry.js'
import { headOf, type Head } from './head.js'
import { acceptedCodings, encodedEtag, type Coding } from '../http/encoding.js'

export interface Representation {
  /** Or its size, where it has yet to be decoded. */
  body: Buffer | Bytes
  /** Null: as the handler sent it. */
  coding: Coding | null
  /** With those of the coding. */
  headers: Fields
  head: Head
}

/** What the entry is for a request with this Accept-Encoding. */
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
