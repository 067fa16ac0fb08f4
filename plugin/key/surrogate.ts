// The names by which caches in front of the app (a CDN, Varnish) know its responses: surrogate keys, or cache tags. A
// response carries, under the prefix `shop`:
//
//   shop            everything
//   shop:user:1     its key `user:1`
//   shop:users      its tag `users`
//   shop~any        in place of key and tags, where they are not known, or are more than fit into a header field
//
// An invalidation has such names, too, and each response that it may concern carries one of them. So whoever purges all of
// these reaches all of those. That is why each has `shop~any`. Where two things have one name (a key and a tag of one text,
// two texts of one encoding), more is purged than had to be, never less.
import { createHash } from 'node:crypto'
import { nameOf } from '../store/keys.js'
import type { Targets } from '../store/store.js'

/** CloudFront takes no longer ones than 256 characters, others take 1,024. */
const MOST_CHARACTERS = 250
const HEAD_CHARACTERS = 200
/** All but what is visible in ASCII, and the comma: Cache-Tag separates names by commas, Surrogate-Key by spaces. */
const UNSENDABLE = /[^\x21-\x2b\x2d-\x7e]+/g

/** All names of a response: under its key, with these tags. */
export function namesOfResponse (prefix: string, key: string, tags: readonly string[]): string[] {
  return [...new Set([prefix, ...[key, ...tags].map((name) => nameUnder(prefix, name))])]
}

/** The names of a response whose key and tags are not known, or are too many. */
export function namesOfAny (prefix: string): string[] {
  return [prefix, anyUnder(prefix)]
}

/** The names to purge: each response that the invalidation may concern carries one of them. */
export function namesOfTargets (prefix: string, { keys, tags, prefixes, all }: Targets): string[] {
  // Which keys begin so, nobody in front can tell.
  if (all || prefixes.length > 0) return [prefix]
  return [...new Set([...[...keys.map(nameOf), ...tags].map((name) => nameUnder(prefix, name)), anyUnder(prefix)])]
}

/** No prefix of an app has a tilde or a colon. */
function anyUnder (prefix: string): string {
  return `${prefix}~any`
}

function nameUnder (prefix: string, name: string): string {
  const encoded = `${prefix}:${name.replace(UNSENDABLE, encodeURIComponent)}`
  if (encoded.length <= MOST_CHARACTERS) return encoded
  return `${encoded.slice(0, HEAD_CHARACTERS)}%~${createHash('sha256').update(encoded).digest('base64url')}`
}
