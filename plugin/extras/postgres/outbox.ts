// Reads the lines that the triggers wrote: each change at least once, in any order of commits, and also changes that were
// written while nobody listened. A NOTIFY only wakes the reader.
//
// A place in the outbox is a snapshot (pg_snapshot): the transactions that were visible at the last read. New lines are
// those that this snapshot can't see and the present one can. The highest number so far would not do, with writers A and B:
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
// and lacked some writes. Such a server has another history (system identifier and timeline), or its transactions are
// behind those of the place. Then everything that is watched is invalidated instead, as it is for a new place.
//
// A place also moves at intervals when nothing is new. The time of its last move shows whether anybody reads from it, and
// the transactions that its snapshot could not see keep lines in the outbox (pruning.ts says when these are removed).
//
// A cursor reads the new lines, any number of them: each line once, all as of one snapshot. Lines of the server's future
// (from the restored dump of an older server) don't count.
import pg from 'pg'
import type { Names } from './shape.js'
import type { TableChange } from './watch.js'

/** The age at which a place in memory is too old, in milliseconds: well below the time that lines are kept. */
const TOO_OLD = 30_000
/** How long a transaction of ours may stand still; while the cache is told it does not. */
export const IDLE_LIMIT = '15s'
const PING = 4_000
/** Lines that are read at a time; each has a thousand rows at most. */
const PAGE = 200
/** After what time a place moves where nothing is new: by who did the last work, and by others, where that one is gone. */
const TOUCHED = { byActive: '30 s', byReserve: '90 s' }

/** A place in memory. */
export interface OutboxPlace {
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
export type Tell = (changes: readonly TableChange[] | null, client: pg.Client) => Promise<void>

/** The result of a read: the lines that were told; or another process is reading; or the cache could not be told. */
export interface Look {
  result: 'told' | 'busy' | 'failed'
  /** Lines. */
  changes: number
  error?: unknown
  /** The place was where this process had left it. */
  isMine: boolean
}

/** Everything that one process needs to read. */
interface OutboxReading {
  client: pg.Client
  names: Names
  history: string
  tell: Tell
}

interface Row { until: string, at: string, change: string | null }

/**
 * The mark of one server's past. Empty if it can't be asked for: some hosts don't allow that, and then only
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

/** A reader at a shared place. */
export interface OutboxReader {
  name: string
  /** The place that this process has reached; null: it has not looked yet. */
  mine: string | null
  /** Whether it did the last work. */
  isActive: boolean
}

const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE'

/** Looks from the place that all processes with this reader's name share. Rejects where Postgres fails. */
export async function lookShared (reading: OutboxReading, reader: OutboxReader): Promise<Look & { seen: string | null }> {
  const { client, names: { outbox, readers }, history } = reading
  const name = pg.escapeLiteral(reader.name)
  const past = pastOf(outbox, history)
  const isLost = `seen IS NULL OR history IS DISTINCT FROM ${past} OR ${isAhead('seen')}`
  const isStanding = `at < clock_timestamp() - interval '${TOUCHED[reader.isActive ? 'byActive' : 'byReserve']}'`
  const [, { rows: [place] }, , page] = await many(client, `${BEGIN};
    SELECT seen::text AS seen, (${isLost}) AS lost, (${isStanding}) AS standing FROM ${readers} WHERE name = ${name} FOR UPDATE SKIP LOCKED;
    ${openingSql(outbox, `(SELECT seen FROM ${readers} WHERE name = ${name})`)}`) as [unknown, pg.QueryResult, unknown, pg.QueryResult<Row>]
  if (place === undefined) {
    // Locked, or removed.
    await client.query('ROLLBACK')
    await makePlace(client, reading.names, reader.name)
    return { result: 'busy', changes: 0, isMine: false, seen: null }
  }
  const isMine = reader.mine === null || place.seen === reader.mine
  const until = page.rows[0]!.until
  const told = await tellAll(reading, place.lost ? null : page.rows)
  const isMoved = told.result === 'told' && (told.changes > 0 || place.lost || place.standing)
  await client.query(!isMoved
    ? 'ROLLBACK'
    : `UPDATE ${readers} SET seen = ${pg.escapeLiteral(until)}, history = ${past}, at = clock_timestamp()
      WHERE name = ${name}; COMMIT`)
  return { ...told, isMine, seen: isMoved ? until : place.seen }
}

/** Looks from a place of this process' own, and moves it. Rejects where Postgres fails. */
export async function lookAlone (reading: OutboxReading, place: OutboxPlace): Promise<Look> {
  const { client, names: { outbox }, history } = reading
  const seen = place.seen === null ? 'NULL::pg_snapshot' : `${pg.escapeLiteral(place.seen)}::pg_snapshot`
  const more = `, coalesce(${isAhead('seen')}, true) AS ahead, ${pastOf(outbox, history)} AS past`
  const [, , { rows }] = await many(client, `${BEGIN};
    ${openingSql(outbox, seen, more)}`) as [unknown, unknown, pg.QueryResult<Row & { ahead: boolean, past: string }>]
  const { until, at, ahead, past } = rows[0]!
  const isLost = ahead || place.history !== past || Number(at) - place.at > TOO_OLD
  const told = await tellAll(reading, isLost ? null : rows)
  await client.query('ROLLBACK')
  if (told.result === 'told') Object.assign(place, { seen: until, at: Number(at), history: past })
  return { ...told, isMine: true }
}

/** Makes a reader's place, where there is none yet: with it begins that everything counts as changed. */
export async function makePlace (client: pg.Client, { readers }: Names, reader: string): Promise<void> {
  await client.query(`INSERT INTO ${readers} (name) VALUES ($1) ON CONFLICT DO NOTHING`, [reader])
}

const NOW = '(extract(epoch FROM clock_timestamp()) * 1000)::float8::text'

/** The server's history, and the outbox itself: another one has none of the lines of the former. */
function pastOf (outbox: string, history: string): string {
  return `(${pg.escapeLiteral(`${history}:`)} || ${pg.escapeLiteral(outbox)}::regclass::oid)`
}

function isAhead (seen: string): string {
  return `pg_snapshot_xmax(${seen}) > pg_snapshot_xmax(pg_current_snapshot())`
}

const CURSOR = 'route_cache_lines'
const FETCH = `FETCH ${PAGE} FROM ${CURSOR}`

/** Opens the cursor, in a transaction, and reads its first page: one row at least. One statement, so one snapshot. */
function openingSql (outbox: string, seen: string, more = ''): string {
  return `DECLARE ${CURSOR} NO SCROLL CURSOR FOR
    SELECT pg_current_snapshot()::text AS until, ${NOW} AS at, lines.*${more}
    FROM (SELECT ${seen} AS seen) AS place LEFT JOIN LATERAL (
      SELECT json_build_object(
        'relation', o.relation::bigint, 'columns', o.columns, 'rows', o.rows, 'exact', o.exact, 'source', o.source)::text AS change
      FROM ${outbox} AS o WHERE o.xid >= pg_snapshot_xmin(seen) AND o.xid < pg_snapshot_xmax(pg_current_snapshot())
        AND NOT pg_visible_in_snapshot(o.xid, seen)
    ) AS lines ON true;
    ${FETCH}`
}

/** The first page and those that follow it. `first` null: tells that anything may have changed. */
async function tellAll (reading: OutboxReading, first: readonly Row[] | null): Promise<Pick<Look, 'result' | 'changes' | 'error'>> {
  const { client } = reading
  const tell = pinging(reading)
  let changes = 0
  let error: unknown
  const isTold = async (lines: readonly TableChange[] | null): Promise<boolean> => {
    try {
      if (lines === null || lines.length > 0) await tell(lines, client)
      return true
    } catch (reason) {
      error = reason
      return false
    }
  }
  if (first === null) return await isTold(null) ? { result: 'told', changes } : { result: 'failed', changes, error }
  for (let rows = first; rows.length > 0;) {
    const lines = rows.flatMap(({ change }) => change === null ? [] : [JSON.parse(change) as TableChange])
    if (!await isTold(lines)) return { result: 'failed', changes, error }
    changes += lines.length
    if (rows.length < PAGE) break
    rows = (await client.query<Row>(FETCH)).rows
  }
  return { result: 'told', changes }
}

/** Keeps the transaction from standing still while the cache is told. */
function pinging ({ tell }: OutboxReading): Tell {
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
