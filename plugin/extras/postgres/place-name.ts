// The name of a place in the outbox. A build may watch more than another build, or other tables by the same names; the
// reading of one does not count for the other. So a place belongs to a `watch`, and a build with another `watch` has
// another place.
import { createHash } from 'node:crypto'
import type { Relations } from './catalogue.js'

/** `reader`: the option, or the cache's prefix. */
export function placeName (reader: string, relations: Relations): string {
  const watched = [...relations].filter(([, { isChild }]) => !isChild).sort(([a], [b]) => a - b)
    .map(([oid, { watched: { templates, wholes } }]) =>
      [oid, templates.map(({ kind, parts, whole }) => [kind, parts, whole]), wholes])
  return `${reader} ${createHash('sha256').update(JSON.stringify(watched)).digest('hex').slice(0, 16)}`
}
