// Content codings: which of them a request is answered in, which responses may be encoded at all, and how the
// representations are told apart. RFC 9110 §8.4, §8.8.3.3, §12.5.3.
// https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3
import { parseCacheControl, type HeaderFields } from './headers.js'

/** The codings that bodies are stored in, the better one first: of two that a client likes as much it gets that. */
export const CODINGS = ['br', 'gzip'] as const
export type Coding = typeof CODINGS[number]

/** The request field that decides about the coding, as `Vary` names it. */
export const ACCEPT_ENCODING = 'accept-encoding'

const NONE: readonly Coding[] = []
/** Browsers differ in few ways: what their fields mean is kept. */
const known = new Map<string, readonly Coding[]>()
const MOST_KNOWN = 100
const LONGEST_KNOWN = 200

/**
 * The codings that the client would rather have than the body as it is, the best first. None where the field is absent: all
 * is acceptable then (§12.5.3), but who says nothing may understand nothing.
 */
export function acceptedCodings (field: string | readonly string[] | undefined): readonly Coding[] {
  if (field === undefined) return NONE
  const text = String(field)
  const present = known.get(text)
  if (present !== undefined) return present
  const codings = parse(text)
  if (text.length <= LONGEST_KNOWN) {
    if (known.size >= MOST_KNOWN) known.clear()
    known.set(text, codings)
  }
  return codings
}

function parse (field: string): readonly Coding[] {
  const weights = weightsOf(field)
  const any = weights.get('*') ?? 0
  // The body as it is: acceptable unless it is excluded, but what is named comes first unless a weight says otherwise.
  const least = weights.get('identity') ?? any
  const weightOf = (coding: Coding): number => weights.get(coding) ?? any
  return CODINGS.filter((coding) => weightOf(coding) > 0 && weightOf(coding) >= least)
    .sort((a, b) => weightOf(b) - weightOf(a))
}

/** A member with a weight that is none is left out; of a coding that is named twice the lower weight counts. */
function weightsOf (field: string): Map<string, number> {
  const weights = new Map<string, number>()
  for (const member of field.toLowerCase().split(',')) {
    const [name = '', ...parameters] = member.split(';').map((part) => part.trim())
    // §8.4.1.3: an old name of the same.
    const coding = name === 'x-gzip' ? 'gzip' : name
    const weight = weightIn(parameters)
    if (coding !== '' && weight !== null) weights.set(coding, Math.min(weight, weights.get(coding) ?? 1))
  }
  return weights
}

/** §12.4.2: from 0 to 1 with three decimals at most, 1 where there is none; null where it is not that. */
function weightIn (parameters: readonly string[]): number | null {
  if (parameters.length === 0) return 1
  const [, weight] = /^q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.exec(parameters[0]!) ?? []
  return parameters.length > 1 || weight === undefined ? null : Number(weight)
}

/** Text, and what is written like it; not what is compressed already, as images, films and archives are. */
const COMPRESSIBLE = /^(?:text\/|application\/(?:json|javascript|ecmascript|xml|wasm|graphql|x-ndjson|x-javascript|yaml)$|[\w.+-]+\/[\w.+-]+\+(?:json|xml|text|yaml)$)/

/** Fields that speak of the very bytes of the body: those of another representation are others. RFC 9530, RFC 3230. */
const OF_THE_BYTES = ['content-encoding', 'content-range', 'content-md5', 'content-digest', 'repr-digest', 'digest']

/**
 * Whether this response may be stored encoded, too: it is one with a body, of a kind that gets smaller, and nothing in its
 * header says otherwise. `no-transform`: RFC 9111 §5.2.2.6.
 */
export function mayBeEncoded (status: number, fields: HeaderFields): boolean {
  if (status === 204 || status === 205 || status === 304) return false
  if (OF_THE_BYTES.some((name) => fields[name] !== undefined)) return false
  if (forbidsEncoding(fields['cache-control']) || forbidsEncoding(fields['cdn-cache-control'])) return false
  const [type = ''] = String(fields['content-type'] ?? '').split(';')
  return COMPRESSIBLE.test(type.trim().toLowerCase())
}

/** Whether this Cache-Control says that the body is to stay as it is. */
export function forbidsEncoding (cacheControl: HeaderFields[string]): boolean {
  return cacheControl !== undefined && parseCacheControl(String(cacheControl)).has('no-transform')
}

/** The tag of the encoded body: as strong or weak as the other, and never the same. §8.8.3.3. */
export function encodedEtag (etag: string, coding: Coding): string {
  return etag.endsWith('"') ? `${etag.slice(0, -1)}-${coding}"` : `${etag}-${coding}`
}
