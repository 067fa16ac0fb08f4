// A request as users name one, to `cache.warm` and `cache.explain`: its URL and its headers.
import { optionError } from '../errors.js'
import { own } from '../key/key.js'
import { isObject, OptionReader } from '../options/reader.js'
import type { Fields } from '../request/own-request.js'

/** A request of the app's own. */
export interface RequestOption {
  /** Path and query, as a client asks for them: `/users/7?full=1`. */
  url: string
  /** As a client sends them: `{ authorization: 'Bearer ...' }`. Default: none but Host. */
  headers?: Readonly<Record<string, string | readonly string[] | undefined>>
}

export interface Wish { url: string, headers: Fields }

interface Given { value: unknown, others: readonly string[] }

/** Throws FRC_OPTION for what is none. `name`: of the option, for the message; `others`: what else it may have. */
export function readRequest (where: string, name: string, { value, others }: Given): Wish {
  const names = ['url', 'headers', ...others]
  const options = typeof value === 'string' ? { url: value } : value
  if (typeof options !== 'object' || options === null) {
    throw optionError(where, name, value, 'it is a path such as "/users/7", or { url, headers }')
  }
  const url = new OptionReader(where, options, `${name}.`).onlyKnows(names).get('url')
  if (typeof url !== 'string' || !/^\/[\x21-\x7e]*$/.test(url)) {
    const right = 'it is a path as a client asks for it, such as "/users/7?full=1": it begins with "/" and is percent-encoded'
    throw optionError(where, typeof value === 'string' ? name : `${name}.url`, url, right)
  }
  return { url, headers: readHeaders(where, `${name}.headers`, own(options, 'headers')) }
}

/** With names in lower case, as a request has them. */
export function readHeaders (where: string, name: string, value: unknown): Fields {
  if (value === undefined) return {}
  if (!isObject(value)) throw optionError(where, name, value, 'write { name: value }')
  const headers: Fields = {}
  for (const [field, text] of Object.entries(value)) {
    if (text === undefined) continue
    const isText = typeof text === 'string' || (Array.isArray(text) && text.every((one) => typeof one === 'string'))
    if (!isText) throw optionError(where, `${name}.${field}`, text, 'a header\'s value is a string, or a list of strings')
    headers[field.toLowerCase()] = text
  }
  return headers
}
