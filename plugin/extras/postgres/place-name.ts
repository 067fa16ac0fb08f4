// Whose place in the outbox it is. What one build has read is not read for another one that watches more, or other tables by
// the same names: so a place belongs to what is watched, and a build that watches something else has a place of its own.
import { createHash } from 'node:crypto'
import type { Relations } from './catalogue.js'

/** `reader`: the option, or the cache's prefix. */
export function placeName (reader: string, relations: Relations): string {
  const watched = [...relations].filter(([, { isChild }]) => !isChild).sort(([a], [b]) => a - b)
    .map(([oid, { watched: { templates, wholes } }]) =>
      [oid, templates.map(({ kind, parts, whole }) => [kind, parts, whole]), wholes])
  return `${reader} ${createHash('sha256').update(JSON.stringify(watched)).digest('hex').slice(0, 16)}`
}
