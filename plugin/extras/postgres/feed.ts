// When to read the outbox: at once after a NOTIFY, when the connection is back, and at intervals, as a NOTIFY may get lost.
// One read runs at a time; a wake-up during a read causes one more read.
//
// Several processes may share a place. The process that did the last work reads at once; the others read a little later,
// and mostly find nothing. So a busy table costs Postgres one query a change, not one for each process. If the first
// process dies or can't tell the cache, another one does the work after that pause.
import pg from 'pg'
import type { Log } from '../../telling/events.js'
import type { Milliseconds, Seconds } from '../../duration.js'
import { RouteCacheError } from '../../errors.js'
import { Backoff } from '../../store/wait/backoff.js'
import { within } from '../../store/wait/deadline.js'
import { Connection, type Link } from './connection.js'
import { backlogOf } from './backlog.js'
import type { Backlog } from './backlog-figures.js'
import { lookAlone, lookShared, makePlace, type Look, type OutboxPlace, type Tell } from './outbox.js'
import { Pruner } from './pruning.js'
import type { Names } from './shape.js'

const RESERVE_PAUSE: Milliseconds = 250
const CLOSE_WAIT: Milliseconds = 5_000
/** How long a start waits for the reading of old lines: well below Fastify's own limit for a plugin. */
const OPEN_WAIT: Milliseconds = 1_000

interface FeedParts {
  config: object
  names: Names
  /** The owner of the place, asked for once the connection is prepared; null: this process' own, in memory. */
  reader: () => string | null
  poll: Milliseconds
  /** How long a place stays that nobody reads from. */
  placeLife: Milliseconds
  tell: Tell
  log: Log
}

/** The age of a line at which the log says what keeps it. */
const LONG_HELD: Seconds = 600
/** How often the lines in the outbox are counted. */
const STOCKTAKING: Milliseconds = 30_000

/** Away: the connection is gone. Refused: it stands, and Postgres says no. */
type Result = Look['result'] | 'away' | 'refused'

interface Waiting { resolve: () => void, reject: (error: Error) => void }

export class Feed {
  readonly #parts: FeedParts
  readonly #connection: Connection
  readonly #place: OutboxPlace = { seen: null, at: 0, history: '' }
  #reader: string | null = null
  #mine: string | null = null
  #look: Promise<void> | null = null
  /** Callers that wait for a read that begins later. */
  #waiting: Waiting[] = []
  #isWoken = false
  /** Looks at once: it did the last work. */
  #isActive = true
  #isFailing = false
  /** Postgres' error at the last read; null: it had none. */
  #refusal: string | null = null
  #timer: NodeJS.Timeout | undefined
  #poll: NodeJS.Timeout | undefined
  readonly #pauses = new Backoff({ first: 100, longest: 5_000 })
  readonly #pruner: Pruner
  #isPruneDue = true
  #counted = -Infinity
  #isHeld = false
  #isPruneFailing = false
  #isClosed = false
  /** Lines that were told. */
  changes = 0
  /** Looks whose changes the cache could not be told. */
  failures = 0
  /** Looks that Postgres refused. */
  refusals = 0
  /** The outbox when it was counted last; null: it was not yet. */
  backlog: Backlog | null = null

  constructor (parts: FeedParts) {
    this.#parts = parts
    this.#pruner = new Pruner(parts.names, parts.placeLife)
    const wake = (): void => { this.wake() }
    this.#connection = new Connection({
      config: parts.config, channel: parts.names.channel, log: parts.log, onNotify: wake, onLink: () => { this.#soon(0) }
    })
  }

  get isListening (): boolean {
    return this.#connection.link !== null && this.#refusal === null
  }

  get reconnects (): number {
    return this.#connection.reconnects
  }

  /** Connects, and reads the lines of the time without a reader. Rejects with the error of Postgres, or of `prepare`. */
  async open (prepare: Parameters<Connection['open']>[0]): Promise<void> {
    await this.#connection.open(prepare)
    const { names, reader } = this.#parts
    this.#reader = reader()
    if (this.#reader !== null) await makePlace(this.#connection.link!.client, names, this.#reader)
    await within(OPEN_WAIT, this.caughtUp()).catch(() => {})
    this.#poll = setInterval(() => {
      this.#isPruneDue = true
      this.#soon(this.#isActive ? 0 : RESERVE_PAUSE)
    }, this.#parts.poll)
    this.#poll.unref()
  }

  /** There may be something new. */
  wake (): void {
    this.#soon(this.#isActive ? 0 : RESERVE_PAUSE * (1 + Math.random()))
  }

  /** Resolves when all that was committed before the call has been invalidated. Rejects with FRC_POSTGRES when it closes. */
  async caughtUp (): Promise<void> {
    if (this.#isClosed) throw closed()
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#soon(0)
    })
  }

  async close (): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    clearInterval(this.#poll)
    await within(CLOSE_WAIT, Promise.resolve(this.#look)).catch(() => {})
    await within(CLOSE_WAIT, this.#connection.close()).catch(() => {})
    for (const { reject } of this.#waiting) reject(closed())
  }

  #soon (pause: Milliseconds): void {
    if (this.#isClosed) return
    if (this.#look !== null) {
      this.#isWoken = true
    } else if (pause === 0) {
      this.#begin()
    } else {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined
        this.#soon(0)
      }, pause).unref()
    }
  }

  /** One more look. */
  #begin (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#isWoken = false
    const waiting = this.#waiting
    this.#waiting = []
    this.#look = this.#run().then((result) => {
      this.#look = null
      if (result === 'told') waiting.forEach(({ resolve }) => { resolve() })
      else this.#waiting.push(...waiting)
      this.#next(result)
    })
  }

  #next (result: Result): void {
    // If the connection is gone, a look follows when it is back.
    if (result === 'away') return
    if (result === 'busy') this.#soon(RESERVE_PAUSE)
    if (result === 'failed' || result === 'refused') this.#soon(this.#pauses.next())
    if (result === 'told') this.#pauses.reset()
    if (this.#isWoken) this.wake()
  }

  async #run (): Promise<Result> {
    const link = this.#connection.link
    if (link === null) return 'away'
    try {
      const look = await this.#lookOn(link)
      this.#accepted()
      this.#note(look)
      if (this.#isPruneDue && look.result === 'told' && !this.#isClosed) await this.#prune(link)
      return look.result
    } catch (error) {
      if (isRefusal(error)) return await this.#refused(link, error)
      if (!this.#isClosed) this.#parts.log.debug({ err: error }, 'the outbox could not be read')
      this.#connection.drop(link.client, error)
      return 'away'
    }
  }

  #accepted (): void {
    this.#connection.prove()
    if (this.#refusal !== null) this.#parts.log.info({}, 'Postgres lets the outbox be read again')
    this.#refusal = null
  }

  /** The connection stands: to make it anew would change nothing. The log has each message once. */
  async #refused ({ client }: Link, error: pg.DatabaseError): Promise<Result> {
    this.refusals++
    if (this.#refusal !== error.message) {
      this.#parts.log.error({ err: error }, 'Postgres refuses that the outbox is read: what is committed meanwhile stays cached, and it ' +
        'is tried again')
    }
    this.#refusal = error.message
    this.#isActive = false
    await client.query('ROLLBACK').catch(() => {})
    return 'refused'
  }

  async #lookOn ({ client, history }: Link): Promise<Look> {
    const { names, tell } = this.#parts
    const reader = this.#reader
    const reading = { client, names, history, tell }
    if (reader === null) return await lookAlone(reading, this.#place)
    const look = await lookShared(reading, { name: reader, mine: this.#mine, isActive: this.#isActive })
    if (look.result !== 'busy') this.#mine = look.seen
    return look
  }

  #note ({ result, changes, isMine, error }: Look): void {
    if (result === 'told') {
      this.changes += changes
      if (changes > 0 || !isMine) this.#isActive = changes > 0
      if (this.#isFailing) this.#parts.log.info({}, 'the cache was told of all changes in the database')
      this.#isFailing = false
      return
    }
    this.#isActive = false
    if (result !== 'failed') return
    this.failures++
    if (!this.#isFailing) {
      this.#parts.log.warn({ err: error }, 'the cache could not be told of changes in the database: they stay in the outbox, and it ' +
        'is tried again')
    }
    this.#isFailing = true
  }

  async #prune ({ client }: Link): Promise<void> {
    this.#isPruneDue = false
    try {
      const { future } = await this.#pruner.prune(client)
      if (future > 0) {
        this.#parts.log.warn({ lines: future }, 'lines of the outbox come from another server, that was ahead of this one (a dump was ' +
          'restored): they are removed')
      }
      await this.#count(client)
    } catch (error) {
      // The cache was told; only old lines stay.
      if (!isRefusal(error)) throw error
      if (!this.#isPruneFailing) this.#parts.log.warn({ err: error }, 'Postgres refuses that old lines of the outbox are removed')
      this.#isPruneFailing = true
    }
  }

  /** Says once where lines have lain there for long, and once when that is over. */
  async #count (client: pg.Client): Promise<void> {
    if (performance.now() - this.#counted < STOCKTAKING) return
    this.#counted = performance.now()
    const backlog = await backlogOf(client, this.#parts.names)
    this.backlog = backlog
    const isHeld = (backlog.age ?? 0) > LONG_HELD
    if (isHeld && !this.#isHeld) {
      this.#parts.log.warn({ ...backlog }, `the outbox keeps its lines: the oldest waits for ${backlog.holder ?? 'nobody that Postgres tells of'}`)
    } else if (this.#isHeld && !isHeld) {
      this.#parts.log.info({ ...backlog }, 'old lines of the outbox could be removed')
    }
    this.#isHeld = isHeld
  }
}

/** Postgres' error about a query; a FATAL one ends the connection. */
function isRefusal (error: unknown): error is pg.DatabaseError {
  return error instanceof pg.DatabaseError && error.severity === 'ERROR'
}

function closed (): RouteCacheError {
  return new RouteCacheError('FRC_POSTGRES', 'fastify-route-cache/postgres is closed: it reads no changes any more')
}
