// Many caches on one client, as one for each tenant, or each plugin, of an app: Node warns of no leak of listeners; each
// cache hears when the connection ends; and closed caches leave nothing on the client.
import type { Cluster, Redis } from 'ioredis'
import { setImmediate as turn } from 'node:timers/promises'
import type { Test } from 'tap'
import type { RedisClient } from '../../../plugin/index.js'
import { cachedApp, settled, type CachedApp } from '../../helpers/app.js'
import { until } from '../../helpers/until.js'

/** Node warns from the eleventh listener on. */
const CACHES = 12

/** `client` is ready. `cut`: ends its connections, and resolves once it has others. */
export async function sharedClient (t: Test, client: Redis | Cluster, cut: () => Promise<unknown>): Promise<void> {
  const warnings: string[] = []
  const hear = ({ name, message }: Error): void => { warnings.push(`${name}: ${message}`) }
  process.on('warning', hear)
  t.teardown(() => { process.off('warning', hear) })
  const before = counts(client)
  const apps = await Promise.all(Array.from({ length: CACHES }, async (_, i) => await open(t, client, `shared-${i}`)))
  for (const app of apps) t.match(await ask(app), ['fwd=miss', 'hit'])
  await until(async () => apps.every(({ cache }) => cache.stats().tier?.isLive === true), 'a tier is not live')
  const emitters = counts(client)
  t.ok([...emitters].every(([emitter, all]) => all.every((n, i) => n <= (before.get(emitter)?.[i] ?? n) + 1)), 'one listener for all of them')
  await cut()
  t.ok(apps.every(({ cache }) => cache.stats().tier!.drops > 0), 'each hears of the end')
  for (const app of apps) {
    await until(async () => (await ask(app))[1] === 'hit', 'it is not served again')
    await app.cache.invalidate('k')
    t.match(await ask(app), ['fwd=miss', 'hit'])
  }
  await apps[0]!.close()
  t.match(await ask(apps[1]!), ['hit', 'hit'], 'one that is left')
  await Promise.all(apps.map(async (app) => { await app.close() }))
  await turn()
  t.strictSame(warnings, [])
  const after = counts(client)
  t.ok([...after].every(([emitter, all]) => all.every((n, i) => n <= (before.get(emitter)?.[i] ?? n))), 'no listener is left')
}

async function open (t: Test, client: Redis | Cluster, prefix: string): Promise<CachedApp> {
  const app = await cachedApp(t, { redis: client as RedisClient, prefix, memory: { maxAge: '1m' } })
  app.get('/', { cache: { key: 'k', tags: ['t'] } }, async () => 'x')
  await app.ready()
  return app
}

async function ask (app: CachedApp): Promise<string[]> {
  const said: string[] = []
  for (let i = 0; i < 2; i++) {
    const { headers } = await app.inject('/')
    await settled(app)
    said.push(/hit|fwd=\w+/.exec(String(headers['cache-status']))![0])
  }
  return said
}

/** How many listeners the client has, and on a Cluster its servers. */
function counts (client: Redis | Cluster): Map<object, number[]> {
  const emitters = [client, ...'nodes' in client ? client.nodes('master') : []]
  return new Map(emitters.map((emitter) => [emitter, ['close', 'end', 'ready', 'error', '+node', '-node'].map((event) => emitter.listenerCount(event))]))
}
