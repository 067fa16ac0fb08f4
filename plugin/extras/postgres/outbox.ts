// Reading what the triggers wrote down: each change at least once, in whatever order the writers commit, also what was
// written while nobody listened. NOTIFY only says that it is worth looking.
//
// A place in the outbox is a snapshot (pg_snapshot): which transactions could be seen when it was read. What comes next is
// what that snapshot can't see and the present one can. The highest number read so far would not do, with writers A and B:
//
//   1. A  updates a row; its line carries transaction 10
//   2. B  updates another one (11), and commits
//   3. P  reads 11
//   4. A  commits
//   5. P  reads "what comes after 11": not 10, and what A changed is served until its ttl ends
//
// By snapshots: at 3 the place is 10:12:10, as 10 is still running; at 5 line 10 is not visible in that, so it is read.
//
// Processes that share a Redis share a place, a row of `readers`; each change needs to be invalidated once:
//
//   1. P  locks the place, reads what is new
//   2. Q  finds the place locked: it looks again soon
//   3. P  invalidates, and dies before it has moved the place; its lock goes with its connection
//   4. Q  reads the same and invalidates it, maybe again: that drops more than it would have, never less
//
// The place moves when the cache has confirmed, in the transaction that holds the lock; a cache that can't be told leaves it
// where it is. A process that stands still in step 3 without dying loses its connection after IDLE_LIMIT. One with an
// in-process store shares with nobody: it reads everything, from a place of its own in memory.
//
// A place says nothing about a server with another past: one restored from a backup, or a standby that became the primary
// and had not all. There its history (system identifier and timeline) differs, or its transactions are behind those of the
// place; then everything that is watched is invalidated instead. So it is for a place that is new.
//
// Lines are removed when all shared places are beyond them, and everybody could have seen them for KEPT:
//
//   1. at t       the mark (the row of `readers` without a name) becomes the present snapshot
//   2. t + KEPT   what that snapshot sees, and all places too, is removed; the mark moves on
//   3.            a place in memory from before t was last read longer than KEPT ago: its process knows by the server's
//                 clock, and invalidates everything that is watched
import pg from 'pg'
import type { Names } from './shape.js'
import type { Change } from './watch.js'

/** How long lines stay for those who read by themselves. */
const KEPT = '60 s'
/** What a place in memory is too old for: well below that. Milliseconds. */
const TOO_OLD = 30_000
/** How long a transaction of ours may stand still; while the cache is told it does not. */
export const IDLE_LIMIT = '15s'
const PING = 4_000
/** Lines that are read at a time; each has a thousand rows at most. */
const PAGE = 200
/** How long a place stays that nobody reads from any more: lines wait for it so long. */
const LONGEST_IDLE = '1 day'
/** How old its time may become while a process reads from it. */
const TOUCHED = '1 hour'

/** A place in memory. */
export interface Place {
  /** The snapshot; null: none yet. */
  seen: string | null
  /** By the server's clock. */
  at: number
  history: string
}

/**
 * Hears, in parts, what is new; null: anything may have changed. It may ask the database more. What it rejects with leaves
 * the place where it was.
 */
export type Tell = (changes: readonly Change[] | null, client: pg.Client) => Promise<void>

/** What a look came to: the lines that were told; or somebody else is looking; or the cache could not be told. */
export interface Look {
  result: 'told' | 'busy' | 'failed'
  /** Lines. */
  changes: number
  error?: unknown
  /** The place was where this process had left it. */
  isMine: boolean
}

/** What one process needs to read. */
export interface Reading {
  client: pg.Client
  names: Names
  history: string
  tell: Tell
}

interface Row { until: string, at: string, xid: string | null, line: string | null, change: string | null }

/**
 * What tells one server's past from another's. Empty where that can't be asked: some hosts don't let it be, and then only
 * transactions that are behind tell.
 */
export async function historyOf (client: pg.Client): Promise<string> {
  try {
    const { rows: [row] } = await client.query<{ history: string }>('SELECT (SELECT system_identifier FROM pg_control_system())::text ' +
      '|| \':\' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS history')
    return row!.history
  } catch (error) {
    if (error instanceof pg.DatabaseError) return ''
    throw error
  }
}

/** Looks from the place that all processes with this reader's name share. Rejects where Postgres fails. */
export async function lookShared (
  reading: Reading, reader: string, mine: string | null
): Promise<Look & { seen: string | null }> {
  const { client, names: { outbox, readers }, history } = reading
  const name = pg.escapeLiteral(reader)
  const past = pastOf(outbox, history)
  const isLost = `seen IS NULL OR history IS DISTINCT FROM ${past} OR ${isAhead('seen')}`
  const [, { rows: [place] }, page] = await many(client, `BEGIN;
    SELECT seen::text AS seen, (${isLost}) AS lost FROM ${readers} WHERE name = ${name} FOR UPDATE SKIP LOCKED;
    ${pageSql(outbox, `(SELECT seen FROM ${readers} WHERE name = ${name})`)}`) as [unknown, pg.QueryResult, pg.QueryResult<Row>]
  if (place === undefined) {
    // Locked, or removed by hand.
    await client.query('ROLLBACK')
    await makePlace(client, reading.names, reader)
    return { result: 'busy', changes: 0, isMine: false, seen: null }
  }
  const isMine = mine === null || place.seen === mine
  const until = page.rows[0]!.until
  const told = await tellAll({ ...reading, tell: pinging(reading) }, place.lost ? null : place.seen, page.rows)
  const isMoved = told.result === 'told' && (told.changes > 0 || place.lost)
  await client.query(!isMoved
    ? 'ROLLBACK'
    : `UPDATE ${readers} SET seen = ${pg.escapeLiteral(until)}, history = ${past}, at = clock_timestamp()
      WHERE name = ${name}; COMMIT`)
  return { ...told, isMine, seen: isMoved ? until : place.seen }
}

/** Looks from a place of this process' own, and moves it. Rejects where Postgres fails. */
export async function lookAlone (reading: Reading, place: Place): Promise<Look> {
  const { client, names: { outbox }, history } = reading
  const seen = place.seen === null ? 'NULL::pg_snapshot' : `${pg.escapeLiteral(place.seen)}::pg_snapshot`
  const more = `, coalesce(${isAhead('seen')}, true) AS ahead, ${pastOf(outbox, history)} AS past`
  const { rows } = await client.query<Row & { ahead: boolean, past: string }>(pageSql(outbox, seen, more))
  const { until, at, ahead, past } = rows[0]!
  const isLost = ahead || place.history !== past || Number(at) - place.at > TOO_OLD
  const told = await tellAll(reading, isLost ? null : place.seen, rows)
  if (told.result === 'told') Object.assign(place, { seen: until, at: Number(at), history: past })
  return { ...told, isMine: true }
}

/** Makes a reader's place, where there is none yet: with it begins that everything counts as changed. */
export async function makePlace (client: pg.Client, { readers }: Names, reader: string): Promise<void> {
  await client.query(`INSERT INTO ${readers} (name) VALUES ($1) ON CONFLICT DO NOTHING`, [reader])
}

/**
 * Removes what nobody needs any more, where the last time was long enough ago; before that the places of builds that are
 * gone, as their lines would stay for ever. `reader`: who says that its place is in use; null: nobody.
 */
export async function prune (client: pg.Client, { outbox, readers }: Names, reader: string | null = null): Promise<void> {
  if (reader !== null) {
    await client.query(`UPDATE ${readers} SET at = clock_timestamp() WHERE name = (SELECT name FROM ${readers}
      WHERE name = $1 AND at < clock_timestamp() - interval '${TOUCHED}' FOR UPDATE SKIP LOCKED)`, [reader])
  }
  await client.query(`
    WITH mark AS (
      SELECT FROM ${readers} WHERE name = '' AND at < clock_timestamp() - interval '${KEPT}' FOR UPDATE SKIP LOCKED
    ), idle AS (
      DELETE FROM ${readers} WHERE EXISTS (SELECT FROM mark) AND name IN (SELECT name FROM ${readers}
        WHERE name <> '' AND at < clock_timestamp() - interval '${LONGEST_IDLE}' FOR UPDATE SKIP LOCKED)
    ), removed AS (
      DELETE FROM ${outbox} WHERE EXISTS (SELECT FROM mark) AND xid < (SELECT min(pg_snapshot_xmin(seen)) FROM ${readers})
    )
    UPDATE ${readers} SET seen = pg_current_snapshot(), at = clock_timestamp() WHERE name = '' AND EXISTS (SELECT FROM mark)`)
}

const NOW = '(extract(epoch FROM clock_timestamp()) * 1000)::float8::text'

/** The server's history, and the outbox itself: another one has none of the lines of the former. */
function pastOf (outbox: string, history: string): string {
  return `(${pg.escapeLiteral(`${history}:`)} || ${pg.escapeLiteral(outbox)}::regclass::oid)`
}

function isAhead (seen: string): string {
  return `pg_snapshot_xmax(${seen}) > pg_snapshot_xmax(pg_current_snapshot())`
}

/** `after`: the last line that was read, of those up to the same snapshot. One statement, so one snapshot for all of it. */
function pageSql (outbox: string, seen: string, more = '', after?: { until: string, xid: string, line: string }): string {
  const { escapeLiteral: literal } = pg
  const rest = after === undefined
    ? ''
    : `AND pg_visible_in_snapshot(o.xid, ${literal(after.until)}::pg_snapshot)
      AND (o.xid, o.ctid) > (${literal(after.xid)}::xid8, ${literal(after.line)}::tid)`
  return `SELECT pg_current_snapshot()::text AS until, ${NOW} AS at, page.*${more}
    FROM (SELECT ${seen} AS seen) AS place LEFT JOIN LATERAL (
      SELECT o.xid::text AS xid, o.ctid::text AS line, json_build_object(
        'relation', o.relation::bigint, 'columns', o.columns, 'rows', o.rows, 'exact', o.exact, 'source', o.source)::text AS change
      FROM ${outbox} AS o WHERE o.xid >= pg_snapshot_xmin(seen) AND NOT pg_visible_in_snapshot(o.xid, seen) ${rest}
      ORDER BY o.xid, o.ctid LIMIT ${PAGE}
    ) AS page ON true`
}

/** The first page and those that follow it, up to its snapshot. `seen` null: tells that anything may have changed. */
async function tellAll (
  { client, names: { outbox }, tell }: Reading, seen: string | null, first: readonly Row[]
): Promise<Pick<Look, 'result' | 'changes' | 'error'>> {
  const until = first[0]!.until
  let changes = 0
  for (let rows = first; ;) {
    const lines = rows.filter(({ change }) => change !== null)
    try {
      if (seen === null) await tell(null, client)
      else if (lines.length > 0) await tell(lines.map(({ change }) => JSON.parse(change!) as Change), client)
    } catch (error) {
      return { result: 'failed', changes, error }
    }
    changes += lines.length
    if (seen === null || lines.length < PAGE) return { result: 'told', changes }
    const { xid, line } = lines.at(-1)!
    const after = { until, xid: xid!, line: line! }
    rows = (await client.query<Row>(pageSql(outbox, `${pg.escapeLiteral(seen)}::pg_snapshot`, '', after))).rows
  }
}

/** Keeps the transaction from standing still while the cache is told. */
function pinging ({ tell }: Reading): Tell {
  return async (changes, client) => {
    let ping: Promise<unknown> = Promise.resolve()
    const timer = setInterval(() => { ping = client.query('SELECT').catch(() => {}) }, PING)
    try {
      await tell(changes, client)
    } finally {
      clearInterval(timer)
      await ping
    }
  }
}

async function many (client: pg.Client, sql: string): Promise<unknown> {
  return await client.query(sql)
}
