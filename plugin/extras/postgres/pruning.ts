// Removes lines that nobody needs any more. In batches, each a transaction of its own: a `statement_timeout` would cancel a
// statement that removes a million lines, each time again, and the lines would stay for ever.
//
// Lines are removed when all shared places are beyond them, and everybody could have seen them for KEPT:
//
//   1. at t       the mark (the row of `readers` without a name) becomes the present snapshot
//   2. t + KEPT   what that snapshot sees, and all places too, is removed; the mark moves on
//   3.            a place in memory from before t was last read longer than KEPT ago: its process knows by the server's
//                 clock, and invalidates everything that is watched
//
// A place from which nobody has read for long is removed before that, as lines would wait for it for ever. A process that
// comes back finds no place, and begins with an invalidation of everything that is watched.
//
// Lines whose transactions are in this server's future came with a dump of an older server. They say nothing of this one,
// and each place that came with them starts again by itself.
import pg from 'pg'
import type { Milliseconds } from '../../duration.js'
import type { Names } from './shape.js'

/** How long lines stay for readers whose place is in their own memory. */
const KEPT = '60 s'
/** How many lines a batch begins with, and the most that one has. */
const FIRST_BATCH = 1_000
const LARGEST_BATCH = 10_000
/** Then the outbox is looked into again, before more is removed. */
const LONGEST_RUN: Milliseconds = 500
/** The code of a statement that took longer than `statement_timeout`. */
const CANCELLED = '57014'

interface Pruned {
  /** Lines. */
  removed: number
  /** The lines of the future among them. */
  future: number
}

interface Removal { removed: number, last: string | null, isAll: boolean }

interface Lines { where: string, from: string | null }

export class Pruner {
  readonly #names: Names
  readonly #placeLife: Milliseconds
  /** Up to which transaction lines are being removed; null: there are no more. */
  #border: string | null = null
  /** The last transaction of which some were: what is in front of it need not be passed over again. */
  #from: string | null = null
  #batch = FIRST_BATCH
  #largest = LARGEST_BATCH

  constructor (names: Names, placeLife: Milliseconds) {
    this.#names = names
    this.#placeLife = placeLife
  }

  /** Removes lines for a moment; the next call removes the rest. Rejects where Postgres refuses. */
  async prune (client: pg.Client): Promise<Pruned> {
    const border = await this.#mark(client)
    if (border !== null) {
      this.#border = border
      this.#from = null
    }
    const end = performance.now() + LONGEST_RUN
    const future = await this.#remove(client, { where: 'xid >= pg_snapshot_xmax(pg_current_snapshot())', from: null }, end)
    if (this.#border === null) return { removed: future.removed, future: future.removed }
    const where = `xid < ${pg.escapeLiteral(this.#border)}::xid8`
    const past = await this.#remove(client, { where, from: this.#from }, end)
    this.#from = past.last
    if (past.isAll) this.#border = null
    return { removed: future.removed + past.removed, future: future.removed }
  }

  /** Up to which transaction lines are needed no more, if the last pruning is long enough ago; else null. */
  async #mark (client: pg.Client): Promise<string | null> {
    const { readers } = this.#names
    const life = `${Math.round(this.#placeLife)} ms`
    const { rows: [row] } = await client.query<{ border: string | null }>(`
      WITH mark AS (
        SELECT pg_snapshot_xmax(seen) > pg_snapshot_xmax(pg_current_snapshot()) AS is_ahead FROM ${readers}
        WHERE name = '' AND at < clock_timestamp() - interval '${KEPT}' FOR UPDATE SKIP LOCKED
      ), idle AS (
        DELETE FROM ${readers} WHERE EXISTS (SELECT FROM mark) AND name IN (SELECT name FROM ${readers}
          WHERE name <> '' AND at < clock_timestamp() - interval '${life}' FOR UPDATE SKIP LOCKED)
      ), moved AS (
        UPDATE ${readers} SET seen = pg_current_snapshot(), at = clock_timestamp() WHERE name = '' AND EXISTS (SELECT FROM mark)
      )
      SELECT (SELECT pg_snapshot_xmin(seen) FROM ${readers} WHERE seen IS NOT NULL ORDER BY pg_snapshot_xmin(seen) LIMIT 1)::text AS border
      FROM mark WHERE NOT is_ahead`)
    return row?.border ?? null
  }

  async #remove (client: pg.Client, lines: Lines, end: number): Promise<Removal> {
    let removed = 0
    let last = lines.from
    do {
      const size = this.#batch
      const batch = await this.#removeSome(client, { ...lines, from: last })
      if (batch === null) continue
      removed += batch.n
      last = batch.last ?? last
      if (batch.n < size) return { removed, last, isAll: true }
    } while (performance.now() < end)
    return { removed, last, isAll: false }
  }

  /** Null: it took too long, and the next batch is smaller. */
  async #removeSome (client: pg.Client, { where, from }: Lines): Promise<{ n: number, last: string | null } | null> {
    const { outbox } = this.#names
    const beyond = from === null ? '' : ` AND xid >= ${pg.escapeLiteral(from)}::xid8`
    try {
      const { rows: [row] } = await client.query<{ n: number, last: string | null }>(`
        WITH gone AS (
          DELETE FROM ${outbox} WHERE ctid = ANY (ARRAY(SELECT ctid FROM ${outbox} WHERE ${where}${beyond} ORDER BY xid LIMIT ${this.#batch}))
          RETURNING xid
        ) SELECT count(*)::integer AS n, (array_agg(xid ORDER BY xid DESC))[1]::text AS last FROM gone`)
      this.#batch = Math.min(this.#batch * 2, this.#largest)
      return row!
    } catch (error) {
      if (!(error instanceof pg.DatabaseError) || error.code !== CANCELLED || this.#batch === 1) throw error
      this.#largest = this.#batch = Math.ceil(this.#batch / 2)
      return null
    }
  }
}
