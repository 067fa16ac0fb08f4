// Rows that change, whoever changes them, invalidate their keys and tags. This file wires: options -> connection -> outbox
// -> cache.
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { HarmlessLog } from '../../telling/events.js'
import type {} from '../../index.js'
import type { Backlog } from './backlog-figures.js'
import { checkInstalled, install, type Relations } from './catalogue.js'
import { ddlSql } from './ddl.js'
import { Feed } from './feed.js'
import type { Tell } from './outbox.js'
import { placeName } from './place-name.js'
import { readPostgresSettings, shapeOf, type PostgresInvalidationOptions, type SqlOptions } from './settings.js'
import { findCache, findConfig, type AppInstance } from './surroundings.js'
import { Teller } from './teller.js'
import { removalSql, tablesSql, triggersSql } from './triggers.js'
import { warnOfUnheardParents } from './unheard-parents.js'
import { compileWatches, type Watch } from './watch.js'
import { RouteCacheError } from '../../errors.js'
import { attachFeed } from '../metrics/feed.js'

export type { Backlog } from './backlog-figures.js'
export type { PostgresInvalidationOptions, SqlOptions } from './settings.js'
export type { Watch } from './watch.js'

/** The decorator `fastify.postgresInvalidation`. */
export interface PostgresInvalidation {
  /** Whether the outbox can be read: the connection stands, and Postgres refuses nothing. Else changes wait. */
  readonly isListening: boolean
  /** Lines of the outbox that this process has read: one for each statement that changed up to 1,000 rows. */
  readonly changes: number
  /** Keys, tags and prefixes that this process has invalidated for them. */
  readonly targets: number
  /** How often the cache could not be told; then it is tried again. */
  readonly failures: number
  /** How often the connection was made anew. */
  readonly reconnects: number
  /** How often Postgres refused that the outbox was read, for a right or a table that is gone; then it is tried again. */
  readonly refusals: number
  /** The lines in the outbox, and what keeps them there, up to 40 seconds ago; null: not known yet. */
  readonly outbox: Backlog | null
  /**
   * Resolves when all that was committed before the call has been invalidated, by this process or another one; waits where
   * Postgres or Redis is away.
   * @throws RouteCacheError FRC_POSTGRES where the app closes meanwhile
   */
  caughtUp: () => Promise<void>
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The feed of the database. */
    postgresInvalidation: PostgresInvalidation
  }
}

async function plugin (app: FastifyInstance, options: PostgresInvalidationOptions): Promise<void> {
  const settings = readPostgresSettings(options)
  const watches = compileWatches(settings.watch)
  const surroundings = app as unknown as AppInstance
  const cache = findCache(surroundings, settings.decorator)
  const config = findConfig(surroundings, settings)
  const shape = shapeOf(settings)
  const log = new HarmlessLog(app.log)
  const teller = new Teller(cache, watches, log)
  let relations: Relations = new Map()
  // Redis is shared by those who have the same; entries in this process' memory are nobody else's.
  const reader = (): string | null =>
    cache.stats().store === 'memory' ? null : placeName(settings.reader ?? cache.prefix, relations)
  const tell: Tell = async (changes, client) => { await teller.tell(changes, client) }
  const { poll, placeLife } = settings
  const feed = new Feed({ config, names: shape.names, reader, poll, placeLife, tell, log })
  app.addHook('onClose', async () => { await feed.close() })
  await opened(feed.open(async (client) => {
    if (settings.install) await install(client, watches, shape)
    relations = await checkInstalled(client, watches, shape)
    teller.know(relations)
    await warnOfUnheardParents(client, relations, log)
  }))
  const invalidation: PostgresInvalidation = {
    get isListening () { return feed.isListening },
    get changes () { return feed.changes },
    get targets () { return teller.targets },
    get failures () { return feed.failures },
    get reconnects () { return feed.reconnects },
    get refusals () { return feed.refusals },
    get outbox () { return feed.backlog },
    caughtUp: async () => { await feed.caughtUp() }
  }
  app.decorate('postgresInvalidation', invalidation)
  const detach = attachFeed(cache, () => {
    const { isListening, changes, targets, failures, reconnects, refusals, outbox } = invalidation
    return { isListening, changes, targets, failures, reconnects, refusals, outbox }
  })
  app.addHook('onClose', async () => { detach() })
}

/** Adds the plugin's name to an error of Postgres at the start. */
async function opened (work: Promise<void>): Promise<void> {
  try {
    await work
  } catch (error) {
    if (error instanceof RouteCacheError) throw error
    const { message } = error instanceof AggregateError && error.message === '' ? error.errors[0] as Error : error as Error
    throw new RouteCacheError('FRC_POSTGRES', `fastify-route-cache/postgres: Postgres can't be used: ${message}`, { cause: error })
  }
}

/**
 * The plugin: `await app.register(postgresInvalidation, { watch: [{ table: 'cities', keys: 'city:{id}' }] })`, after
 * fastify-route-cache, and after @fastify/postgres unless a connection is given.
 */
export const postgresInvalidation = fp(plugin, { fastify: '5.x', name: 'fastify-route-cache-postgres' })
export default postgresInvalidation

/**
 * The SQL that `install: true` would run, for a migration: schema, outbox, a function and four triggers for each table and
 * its children. It can be run again. It fails, with the reason, where a table can't be watched or where somebody else owns
 * the schema.
 * @throws RouteCacheError FRC_OPTION where a watch or an option is wrong
 */
export function installSql (watch: readonly Watch[], options: SqlOptions = {}): string {
  const shape = shapeOf(options)
  return tablesSql(shape.names) + compileWatches(watch).map((watched) => triggersSql(watched, shape)).join('') +
    ddlSql(shape)
}

/**
 * The SQL that takes it all away again, with what has not been read yet: all triggers that write to this schema's outbox,
 * also those of tables that `watch` doesn't name any more. The schema itself stays.
 * @throws RouteCacheError FRC_OPTION where a watch or an option is wrong
 */
export function uninstallSql (watch: readonly Watch[], options: SqlOptions = {}): string {
  compileWatches(watch)
  return removalSql(shapeOf(options).names)
}
