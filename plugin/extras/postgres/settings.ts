// The options of the plugin, checked, with their defaults.
import type { Duration, Milliseconds } from '../../duration.js'
import { isCount, isObject, isSwitch, OptionReader, SWITCH } from '../../options/reader.js'
import { namesIn, type Shape } from './shape.js'
import type { Watch } from './watch.js'

/** Options of the installation: the same for `installSql` and the app. */
export interface SqlOptions {
  /**
   * The schema of the outbox, and the channel that is notified. Default `route_cache`. Apps with different watches on one
   * database need different ones.
   */
  schema?: string | undefined
  /**
   * Of how many distinct rows one statement tells one by one; of more, `whole` is invalidated. Default 10,000. 0: never one
   * by one.
   */
  maxTargets?: number | undefined
  /**
   * Whether a writer's transaction notifies the app, so that it looks at once; else it looks every `poll`. A transaction
   * that notifies can't be prepared (two-phase commit): with true, PREPARE TRANSACTION fails. Absent: it notifies where the
   * server's `max_prepared_transactions` is 0, so that there are none.
   */
  notify?: boolean | undefined
  /**
   * Whether rows that logical replication brings into a watched table, and writers whose `session_replication_role` is
   * `replica`, are told of, by row triggers that fire for them only: a line for each row, also of the first copy. Default
   * false: they are not seen.
   */
  replicated?: boolean | undefined
}

/** The plugin's options. */
export interface PostgresInvalidationOptions extends SqlOptions {
  /** The tables, and the keys and tags of their rows. */
  watch: readonly Watch[]
  /** Installs at the start whatever is missing in the database. Default false: the app only checks. */
  install?: boolean | undefined
  /** The address of Postgres. Absent: that of @fastify/postgres. It must not be a pooler in transaction mode. */
  connectionString?: string | undefined
  /** node-postgres' Client config instead: `{ host, user, ssl }`. */
  connection?: object | undefined
  /** Which of @fastify/postgres' named connections: `fastify.pg[namespace]`. Absent: `fastify.pg` itself. */
  namespace?: string | undefined
  /**
   * Whose place in the outbox this is. Processes that share a Redis, a prefix and `watch` share it. Default: the cache's
   * prefix; caches with one prefix in two Redis need two. Without Redis each process has its own anyway.
   */
  reader?: string | undefined
  /** How often the outbox is looked into in any case. Default 5 seconds, at most 10. */
  poll?: Duration | undefined
  /**
   * How long a place in the outbox stays that nobody reads from: lines wait for it so long, and who comes back to it later
   * begins with all that is watched. Default 1 day, at least 5 minutes.
   */
  placeLife?: Duration | undefined
  /** The name of fastify-route-cache's decorator. Default `cache`. */
  decorator?: string | undefined
}

export interface PostgresSettings {
  watch: unknown
  install: boolean
  connectionString: string | null
  connection: object | null
  namespace: string | null
  schema: string
  maxTargets: number
  notify: boolean | null
  replicated: boolean
  reader: string | null
  poll: Milliseconds
  placeLife: Milliseconds
  decorator: string
}

const WHERE = 'fastify-route-cache/postgres'
const LONGEST_POLL: Milliseconds = 10_000
/** Well above the time after which readers move their places. */
const SHORTEST_LIFE: Milliseconds = 300_000
/** Postgres cuts longer names. */
const LONGEST_NAME = 63

/** Throws FRC_OPTION for an unknown or wrong option. */
export function readPostgresSettings (given: unknown): PostgresSettings {
  const options = new OptionReader(WHERE, given)
  const settings: PostgresSettings = {
    watch: options.get('watch'),
    install: options.isOn('install'),
    connectionString: options.read<string | null>('connectionString', null, isText, 'it is a URL such as postgres://user@host/database'),
    connection: options.read<object | null>('connection', null, isObject, "it is node-postgres' Client config"),
    namespace: options.read<string | null>('namespace', null, isText, "it is the name of one of @fastify/postgres' connections"),
    ...sqlSettings(options),
    reader: options.read<string | null>('reader', null, isText, 'it is a name'),
    poll: options.duration('poll', 5_000),
    placeLife: options.duration('placeLife', 86_400_000),
    decorator: options.read('decorator', 'cache', isText, 'it is the name of a decorator')
  }
  const { poll, placeLife } = settings
  if (poll === 0 || poll > LONGEST_POLL) throw options.error('poll', `it is more than 0, and at most ${LONGEST_POLL / 1000} seconds`)
  if (placeLife < SHORTEST_LIFE) throw options.error('placeLife', `it is ${SHORTEST_LIFE / 60_000} minutes at least`)
  options.onlyKnows(Object.keys(settings))
  const places = ['connectionString', 'connection', 'namespace'].filter((name) => options.get(name) !== undefined)
  if (places.length > 1) throw options.error(places[1]!, `${places[0]} says already where Postgres is; leave one out`)
  return settings
}

/** Throws FRC_OPTION, here only of these. */
export function shapeOf (options: SqlOptions | PostgresSettings): Shape {
  const { schema, maxTargets, notify, replicated } = 'watch' in options ? options as PostgresSettings : sqlOnly(options)
  return { names: namesIn(schema), maxTargets, notify, replicated }
}

type SqlSettings = Pick<PostgresSettings, 'schema' | 'maxTargets' | 'notify' | 'replicated'>

function sqlOnly (given: unknown): SqlSettings {
  const options = new OptionReader(WHERE, given)
  const settings = sqlSettings(options)
  options.onlyKnows(Object.keys(settings))
  return settings
}

function sqlSettings (options: OptionReader): SqlSettings {
  return {
    schema: options.read('schema', 'route_cache', isSchema, `it is the name of a schema, of ${LONGEST_NAME} bytes at most`),
    maxTargets: options.read('maxTargets', 10_000, (value) => isCount(value) && value <= 1_000_000, 'it is a number of rows'),
    notify: options.read<boolean | null>('notify', null, isSwitch, SWITCH),
    replicated: options.isOn('replicated')
  }
}

/** Postgres takes no text with a NUL. */
function isText (value: unknown): boolean {
  return typeof value === 'string' && value !== '' && !value.includes('\0')
}

function isSchema (value: unknown): boolean {
  return isText(value) && Buffer.byteLength(value as string) <= LONGEST_NAME
}
