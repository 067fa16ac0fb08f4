// The function that a table's triggers call. It must never be in the writer's way, nor give anybody its owner's rights:
//
// - It runs with its owner's rights, so that writers need none. So nothing of the writer's or of the table's owner may run
//   in it: names are searched in pg_catalog only, and texts are made by the types' own output functions (`format`), as a
//   cast to text can be a function that the owner of a type has written.
// - Whatever fails in it counts as "all rows may have changed", in a line without rows. To catch that costs a
//   subtransaction for each statement. Where even that line can't be written, the writer goes on, with a warning.
// - A column that is gone, renamed or has become a virtual one counts as "all of them", too.
// - Rows with texts longer than LONGEST are not written, as jsonb holds 256 MB at most: their templates count as a whole.
// - NOTIFY can't be prepared: PREPARE TRANSACTION would fail, long after the function has ended. So by default it is sent
//   only where `max_prepared_transactions` is 0, as it is unless somebody has set it.
import pg from 'pg'
import { dollarQuoted } from './dollar-quote.js'
import { OUTBOX_VERSION, functionMark, notifying, type Shape } from './shape.js'
import type { Watched } from './watch.js'

/** Rows to a line. */
const LINE = 1_000
/** Bytes of a row's texts together, so that a line has 2 MB at most. Nobody asks for keys with longer ones. */
const LONGEST = 2_048

// The settings make one text of one value, whoever writes: dates, intervals and floating-point numbers have several.
const SETTINGS = ['search_path = pg_catalog, pg_temp', "timezone = 'UTC'", "datestyle = 'ISO'", "intervalstyle = 'postgres'", 'extra_float_digits = 1']

/** `name` is quoted. */
export function functionSql (name: string, { schema, name: table, sets }: Watched, shape: Shape): string {
  const columns = [...new Set(sets.flat())].sort()
  const { escapeLiteral: literal } = pg
  const { names: { outbox, schema: own, channel } } = shape
  const source = literal(JSON.stringify({ version: OUTBOX_VERSION, table: [schema, table], sets }))
  const writing = { sets, columns, outbox, source, maxTargets: shape.maxTargets }
  const body = `
${functionMark(sets, shape)}
#variable_conflict use_column
BEGIN
  IF current_setting('route_cache.skip', true) = ${literal(own)} THEN
    RETURN NULL;
  END IF;
  BEGIN
    IF TG_OP = 'TRUNCATE'${lacking(columns)} THEN
      INSERT INTO ${outbox} (relation, source) VALUES (TG_RELID, ${source});
    ${byRowSql(shape, writing)}ELSIF TG_OP = 'UPDATE' THEN${writingSql(['old_rows', 'new_rows'], writing)}
    ELSE${writingSql(['changed_rows'], writing)}
    END IF;
  EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'fastify-route-cache: a change of % counts as one of all rows: %', TG_RELID::regclass, SQLERRM;
    BEGIN
      INSERT INTO ${outbox} (relation, source) VALUES (TG_RELID, ${source});
    EXCEPTION WHEN OTHERS THEN
      RAISE WARNING 'fastify-route-cache: a change of % could not be written down: %', TG_RELID::regclass, SQLERRM;
    END;
  END;
  IF FOUND${notifying(shape)} THEN
    PERFORM pg_notify(${literal(channel)}, '');
  END IF;
  RETURN NULL;
END
`
  return `CREATE OR REPLACE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET ${SETTINGS.join(' SET ')}
AS ${dollarQuoted(body)};
`
}

/** A record of the row's type is null where there is none. */
function byRowSql ({ replicated }: Shape, writing: Writing): string {
  if (!replicated) return ''
  return `ELSIF TG_LEVEL = 'ROW' THEN${writingSql(['(SELECT OLD.* WHERE TG_OP <> \'INSERT\')', '(SELECT NEW.* WHERE TG_OP <> \'DELETE\')'], writing)}
    `
}

/** Whether the table has any of its columns no more, or as one that transition tables don't hold. */
function lacking (columns: readonly string[]): string {
  if (columns.length === 0) return ''
  return ` OR (SELECT count(*) FROM pg_attribute WHERE attrelid = TG_RELID AND attnum > 0 AND NOT attisdropped
        AND attgenerated <> 'v' AND attname IN (${columns.map(pg.escapeLiteral).join(', ')})) < ${columns.length}`
}

interface Writing { sets: Watched['sets'], columns: readonly string[], outbox: string, source: string, maxTargets: number }

/** FOUND is true behind it where rows were changed. */
function writingSql (tables: readonly string[], { sets, columns, outbox, source, maxTargets }: Writing): string {
  const into = `INSERT INTO ${outbox} (relation, columns, rows, exact, source)`
  const some = tables.map((table) => `EXISTS (SELECT FROM ${table} AS r)`).join(' OR ')
  if (columns.length === 0) {
    return `
      ${into}
      SELECT TG_RELID, '{}', '[[]]', false, ${source} WHERE ${some};`
  }
  const apart = sets.map((set) => set.length === 0
    ? `
        ${into} VALUES (TG_RELID, '{}', '[[]]', true, ${source});`
    : `
        ${into}
        SELECT TG_RELID, ${textArray(set)}, CASE WHEN fits THEN jsonb_agg(line) END, true, ${source}
        FROM (${numbered(tables, set, maxTargets)}) AS numbered
        WHERE fits OR number = 1 GROUP BY fits, (number - 1) / ${LINE};`)
  return `
      ${into}
      SELECT TG_RELID, ${textArray(columns)}, jsonb_agg(line), false, ${source}
      FROM (${numbered(tables, columns, maxTargets)}) AS numbered
      WHERE fits GROUP BY (number - 1) / ${LINE};
      IF NOT FOUND AND (${some}) THEN${apart.join('')}
      END IF;`
}

/** Each combination of values once, with its number, and whether all of them can be told: neither too many nor too long. */
function numbered (tables: readonly string[], columns: readonly string[], most: number): string {
  const aliases = columns.map((_, i) => `c${i}`)
  const size = aliases.map((alias) => `coalesce(octet_length(${alias}), 0)`).join(' + ')
  const values = `${columns.map(textOf).join(', ')}, ${columns.map(isLong).join(' OR ')} AS is_long`
  const rows = tables.map((table) => `SELECT ${values} FROM ${table} AS r`).join(' UNION ALL ')
  const found = `SELECT DISTINCT ${aliases.join(', ')}, is_long FROM (${rows}) AS changed LIMIT ${most + 1}`
  return `SELECT jsonb_build_array(${aliases.join(', ')}) AS line, row_number() OVER () AS number,
          count(*) OVER () <= ${most} AND NOT bool_or(is_long OR size > ${LONGEST}) OVER () AS fits
        FROM (SELECT *, ${size} AS size FROM (${found}) AS found) AS sized`
}

/** By bytes: an equality of the column's own may take two texts for one, and then one of them would be lost. */
function textOf (column: string, i: number): string {
  const value = valueOf(column)
  return `CASE WHEN pg_column_size(${value}) <= ${LONGEST} THEN format('%s', ${value}) COLLATE "C" END AS c${i}`
}

/** As it is stored: a text of some MB is not even read. */
function isLong (column: string): string {
  return `(pg_column_size(${valueOf(column)}) > ${LONGEST}) IS TRUE`
}

function valueOf (column: string): string {
  return `r.${pg.escapeIdentifier(column)}`
}

function textArray (texts: readonly string[]): string {
  return `ARRAY[${texts.map(pg.escapeLiteral).join(', ')}]::text[]`
}
