// The plugin's own connection to Postgres, which listens. When it ends, the plugin connects again until it succeeds; the
// log says once that the connection is gone, and once that it is back. LISTEN comes before the first read, or a change
// between the two would wait for the next poll:
//
//   1. P  looks: nothing new
//   2. W  commits a change; its NOTIFY reaches nobody
//   3. P  listens
import pg from 'pg'
import type { Log } from '../../telling/events.js'
import type { Milliseconds } from '../../duration.js'
import { IDLE_LIMIT, historyOf } from './outbox.js'
import { checkSession } from './pooler.js'
import { pinPath } from './search-path.js'
import { Backoff } from '../../store/wait/backoff.js'

const CONNECT_LIMIT: Milliseconds = 5_000
/** A query that takes longer means that the connection is of no use. */
const QUERY_LIMIT: Milliseconds = 30_000

/** The name in pg_stat_activity. */
const NAME = 'fastify-route-cache'

export interface Link { client: pg.Client, history: string }

interface ConnectionParts {
  /** As node-postgres' Client takes it. */
  config: object
  channel: string
  log: Log
  /** There is something new. */
  onNotify: () => void
  /** It listens, again. */
  onLink: () => void
}

export class Connection {
  readonly #parts: ConnectionParts
  #link: Link | null = null
  #timer: NodeJS.Timeout | undefined
  readonly #pauses = new Backoff({ first: 100, longest: 5_000 })
  /** How often it was made anew. */
  reconnects = 0
  #isClosed = false
  /** Postgres' error when it refused the connection. */
  #said: string | null = null

  constructor (parts: ConnectionParts) {
    this.#parts = parts
  }

  /** Null: it is being made anew. */
  get link (): Link | null {
    return this.#link
  }

  /** Connects for the first time: `prepare` runs before it listens. Rejects with the error of Postgres, or of `prepare`. */
  async open (prepare: (client: pg.Client) => Promise<void>): Promise<void> {
    this.#link = await this.#connect(prepare)
  }

  /** Gives one up that fails or does not answer. */
  drop (client: pg.Client, reason: unknown): void {
    if (this.#link?.client !== client) return
    this.#lose(client, reason)
  }

  /** It is of use: the next time that it is gone, it is made anew at once. */
  prove (): void {
    this.#pauses.reset()
    this.#said = null
  }

  async close (): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    const client = this.#link?.client
    this.#link = null
    await client?.end().catch(() => {})
  }

  async #connect (prepare?: (client: pg.Client) => Promise<void>): Promise<Link> {
    const { config, channel, onNotify } = this.#parts
    const newClient = (): pg.Client => new pg.Client({
      connectionTimeoutMillis: CONNECT_LIMIT, keepAlive: true, ...config, query_timeout: QUERY_LIMIT, application_name: NAME
    })
    const client = newClient()
    let reason: Error | undefined
    client.on('error', (error) => { reason = error })
    client.on('notification', onNotify)
    client.on('end', () => { this.#lose(client, reason) })
    try {
      await client.connect()
      if (prepare !== undefined) await checkSession(client, async () => await connected(newClient()))
      await pinPath(client)
      // Whatever the database or the role has for its default.
      await client.query(`SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; SET statement_timeout = ${QUERY_LIMIT}`)
      await prepare?.(client)
      await client.query(`SET idle_in_transaction_session_timeout = '${IDLE_LIMIT}'`)
      await client.query(`LISTEN ${pg.escapeIdentifier(channel)}`)
      return { client, history: await historyOf(client) }
    } catch (error) {
      client.end().catch(() => {})
      throw error
    }
  }

  #lose (client: pg.Client, reason: unknown): void {
    if (this.#link?.client !== client || this.#isClosed) return
    this.#link = null
    client.end().catch(() => {})
    this.#parts.log.warn({ err: reason }, 'the connection to Postgres that tells what changes is gone: it is made anew, and what ' +
      'changes meanwhile is invalidated then')
    this.#retry()
  }

  #retry (): void {
    this.#timer = setTimeout(() => { this.#reconnect() }, this.#pauses.next())
    this.#timer.unref()
  }

  async #reconnect (): Promise<void> {
    try {
      const link = await this.#connect()
      if (this.#isClosed) return await link.client.end()
      this.#link = link
    } catch (error) {
      this.#sayUnreached(error)
      if (!this.#isClosed) this.#retry()
      return
    }
    this.reconnects++
    this.#parts.log.info({}, 'Postgres tells what changes again')
    this.#parts.onLink()
  }

  /** Once, where Postgres answers but does not let us in. */
  #sayUnreached (error: unknown): void {
    const isRefused = error instanceof pg.DatabaseError && error.message !== this.#said
    this.#parts.log[isRefused ? 'warn' : 'debug']({ err: error }, 'Postgres can not be reached yet')
    if (isRefused) this.#said = error.message
  }
}

async function connected (client: pg.Client): Promise<pg.Client> {
  client.on('error', () => {})
  await client.connect()
  return client
}
