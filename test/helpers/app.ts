// A Fastify app with the plugin, for one test: on each store in turn, with its log lines kept, and a way to wait for fills.
import fastify, { type FastifyInstance } from 'fastify'
import { request as clientRequest, type ClientRequest } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import type { Test } from 'tap'
import routeCache, { type RouteCacheOptions } from '../../plugin/index.js'
import { startRedis } from './redis.js'

export interface CachedApp extends FastifyInstance {
  /** What was logged, parsed. */
  lines: Record<string, unknown>[]
}

/** An app with the plugin registered, closed with the test. */
export async function cachedApp (t: Test, options: RouteCacheOptions = {}): Promise<CachedApp> {
  const { app, lines } = loggingApp(t)
  // A test that means a hit must not see a bypass because this machine was busy.
  await app.register(routeCache, { deadline: 30, writeDeadline: 30, ...options })
  return Object.assign(app, { lines })
}

/** An app without the plugin, closed with the test. `options`: Fastify's. */
export function loggingApp (t: Test, options: object = {}): { app: FastifyInstance, lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = []
  const stream = { write: (line: string) => { lines.push(JSON.parse(line)) } }
  const app: FastifyInstance = fastify({ ...options, logger: { level: 'debug', stream } })
  t.teardown(async () => { await app.close() })
  return { app, lines }
}

/** Runs the case on the in-process store and on a Redis of its own; `open` may be called more than once: they share it. */
export async function onEachStore (
  t: Test, run: (t: Test, open: (options?: RouteCacheOptions) => Promise<CachedApp>) => Promise<void>
): Promise<void> {
  await t.test('in-process store', async (t) => {
    await run(t, async (options) => await cachedApp(t, options))
  })
  await t.test('redis', async (t) => {
    const server = await startRedis()
    t.teardown(async () => { await server.stop() })
    const redis = server.client()
    await redis.ping()
    await run(t, async (options) => await cachedApp(t, { redis, ...options }))
  })
}

/** Longer than any fill takes, and any pause between two attempts to tell. */
const SETTLE_LIMIT = 60_000

/** Resolves once every miss and every refresh so far was stored or refused: clients don't wait for that, tests must. */
export async function settled (app: FastifyInstance): Promise<void> {
  const until = performance.now() + SETTLE_LIMIT
  for (;;) {
    const { misses, refreshes, sets, stores, refusals } = app.cache.stats().total
    const begun = misses + refreshes + sets
    const ended = Object.values(refusals).reduce((sum, n) => sum + n, stores)
    if (begun === ended) return
    if (ended > begun || performance.now() > until) {
      throw new Error(`${misses} misses, ${refreshes} refreshes and ${sets} sets, ${stores} stores and refusals ` +
        `${JSON.stringify(refusals)}: each of the former ends in one of the latter`)
    }
    await turn()
  }
}

/** Some turns and some round trips to the store: what could have got on without the gate has. */
export async function beyondLookup (app: FastifyInstance): Promise<void> {
  for (let i = 0; i < 10; i++) {
    await app.cache.inspect('nothing')
    await turn()
  }
}

/** Resolves once the store was told of all invalidations. */
export async function told (app: FastifyInstance): Promise<void> {
  const until = performance.now() + SETTLE_LIMIT
  while (app.cache.stats().journal > 0) {
    if (performance.now() > until) throw new Error(`the store was not told of ${app.cache.stats().journal} invalidations`)
    await turn()
  }
}

/** A request to a listening app, over the network; it is left with `destroy()`, and nobody hears that it failed. */
export function send (app: FastifyInstance, method: string, url: string): ClientRequest {
  const request = clientRequest(app.listeningOrigin + url, { method, agent: false })
  request.on('error', () => {})
  request.end()
  return request
}

/** A gate that holds whoever waits at it until it is opened, and tells when somebody has come. */
export function gate (): { wait: () => Promise<void>, reached: Promise<void>, open: () => void } {
  let open!: () => void
  let reach!: () => void
  const opened = new Promise<void>((resolve) => { open = resolve })
  const reached = new Promise<void>((resolve) => { reach = resolve })
  return { wait: async () => { reach(); await opened }, reached, open }
}
