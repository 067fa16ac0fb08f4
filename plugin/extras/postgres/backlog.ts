// The lines in the outbox, and what keeps them there: lines stay until every place is beyond them, and no place can be
// beyond the oldest transaction that still runs, or is prepared, anywhere in the server.
import type pg from 'pg'
import type { Seconds } from '../../duration.js'
import type { Backlog } from './backlog-figures.js'
import type { Names } from './shape.js'

/** No more are counted, as that takes a look at each. */
const MOST = 100_000
/** Readers move their places more often. */
const STANDING = '3 min'

interface Row {
  lines: number
  age: number | null
  place: string | null
  standing: number | null
  gid: string | null
  pid: number | null
  role: string | null
  application: string | null
  since: number | null
}

/** Rejects where Postgres fails. */
export async function backlogOf (client: pg.Client, names: Names): Promise<Backlog> {
  const { rows: [row] } = await client.query<Row>(backlogSql(names))
  const { lines, age } = row!
  return { lines, age: age === null ? null : Math.max(0, age), holder: holderOf(row!) }
}

/** `backend_xid` and `transaction` are the lower half of a number that does not wrap. */
function backlogSql ({ outbox, readers }: Names): string {
  const seconds = (since: string): string => `extract(epoch FROM clock_timestamp() - ${since})::float8`
  return `
WITH oldest AS (SELECT xid, at FROM ${outbox} ORDER BY xid LIMIT 1),
first AS (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xid),
standing AS (
  SELECT name, r.at FROM ${readers} AS r, oldest WHERE name <> '' AND pg_snapshot_xmin(seen) <= xid AND r.at < clock_timestamp() - interval '${STANDING}'
  ORDER BY r.at LIMIT 1
), prepared AS (
  SELECT p.gid, p.owner, p.prepared FROM pg_prepared_xacts AS p, first, oldest WHERE p.transaction = first.xid::xid AND first.xid <= oldest.xid
), running AS (
  SELECT a.* FROM pg_stat_activity AS a, first, oldest WHERE a.backend_xid = first.xid::xid AND first.xid <= oldest.xid
)
SELECT (SELECT count(*)::integer FROM (SELECT FROM ${outbox} LIMIT ${MOST}) AS counted) AS lines,
  (SELECT ${seconds('at')} FROM oldest) AS age,
  standing.name AS place, ${seconds('standing.at')} AS standing,
  prepared.gid, running.pid, coalesce(prepared.owner, running.usename) AS role, running.application_name AS application,
  ${seconds('coalesce(prepared.prepared, running.xact_start)')} AS since
FROM first LEFT JOIN standing ON true LEFT JOIN prepared ON true LEFT JOIN running ON true LIMIT 1`
}

function holderOf ({ place, standing, gid, pid, role, application, since }: Row): string | null {
  if (place !== null) return `the place ${JSON.stringify(place)}, that nobody has read from for ${span(standing)}`
  if (gid !== null) return `the prepared transaction ${JSON.stringify(gid)} of ${role}, for ${span(since)}`
  if (pid === null) return null
  const name = application === null || application === '' ? '' : ` (${application})`
  return `a transaction of ${role}, process ${pid}${name}, for ${span(since)}`
}

/** Null: Postgres doesn't tell this role. */
function span (seconds: Seconds | null): string {
  if (seconds === null) return 'an unknown time'
  if (seconds < 120) return `${Math.round(seconds)} seconds`
  return seconds < 7200 ? `${Math.round(seconds / 60)} minutes` : `${Math.round(seconds / 3600)} hours`
}
