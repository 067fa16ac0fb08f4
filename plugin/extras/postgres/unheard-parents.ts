// A partition, or an inherited child, that is watched without its parent: statements that name the parent change the
// child's rows, and fire none of its triggers. That is fine if nobody writes to the parent, so it is only a warning at the
// start.
import type pg from 'pg'
import type { Log } from '../../telling/events.js'
import type { Relations } from './catalogue.js'

const PARENTS = `
WITH RECURSIVE above AS (
  SELECT inhrelid AS child, inhparent AS parent FROM pg_catalog.pg_inherits WHERE inhrelid OPERATOR(pg_catalog.=) ANY ($1::oid[])
  UNION
  SELECT a.child, i.inhparent FROM above AS a JOIN pg_catalog.pg_inherits AS i ON i.inhrelid OPERATOR(pg_catalog.=) a.parent
)
SELECT child::pg_catalog.regclass::text AS child, parent::pg_catalog.regclass::text AS parent FROM above
WHERE NOT parent OPERATOR(pg_catalog.=) ANY ($2::oid[]) ORDER BY child, parent`

/** Warns of each parent that is not heard. */
export async function warnOfUnheardParents (client: pg.Client, relations: Relations, log: Log): Promise<void> {
  const watched = [...relations].filter(([, { isChild }]) => !isChild).map(([oid]) => oid)
  const { rows } = await client.query<{ child: string, parent: string }>(PARENTS, [watched, [...relations.keys()]])
  for (const { child, parent } of rows) {
    log.warn({ table: child, parent }, `${child} is watched, and ${parent} is not: a statement that names ${parent} ` +
      `changes rows of ${child}, and nothing tells of it; watch ${parent}, too, or instead`)
  }
}
