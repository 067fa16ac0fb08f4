// An app's logger that throws, or whose promises reject, whenever the plugin writes a line: nobody's answer is lost, and the
// process goes on (tap fails a test in which an error or a rejection is left over).
import fastify, { type FastifyInstance } from 'fastify'
import { request as clientRequest } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Background } from '../../plugin/cache/flight.js'
import { faultyStore } from '../../plugin/extras/testing/index.js'
import routeCache, { type RouteCacheOptions } from '../../plugin/index.js'
import { gate } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'

const WAYS: Record<string, () => unknown> = {
  throws: () => { throw new Error('the log is full') },
  rejects: async () => { throw new Error('the log is full') },
  'throws what is no error': () => { throw Object.create(null) }
}

interface Logged { app: FastifyInstance, lines: string[] }

/** Fastify's own lines are written; ours are not. */
async function appWith (t: Test, fail: () => unknown, options: RouteCacheOptions): Promise<Logged> {
  const lines: string[] = []
  const write = (details: unknown, message = String(details)): unknown => {
    if (/incoming request|request completed|Server listening|request aborted/.test(message)) return
    lines.push(message)
    return fail()
  }
  const logger: any = { level: 'trace', child: () => logger, silent: () => {}, fatal: write, trace: write }
  for (const level of ['debug', 'info', 'warn', 'error']) logger[level] = write
  const app = fastify({ loggerInstance: logger })
  t.teardown(async () => { await app.close() })
  await app.register(routeCache, { deadline: 30_000, writeDeadline: 2_000, ...options })
  return { app, lines }
}

for (const [name, fail] of Object.entries(WAYS)) {
  t.test(`a logger that ${name}`, async (t) => {
    const server = await startRedis()
    t.teardown(async () => { await server.stop() })
    const redis = server.client()
    await redis.ping()
    let now = Date.now()
    const trouble = faultyStore()
    const options = { redis, store: trouble, memory: { maxBytes: 1_000_000 }, breakerThreshold: 1, now: () => now }
    const { app, lines } = await appWith(t, fail, options)
    const { wait, reached, open } = gate()
    const { wait: waitLeft, reached: reachedLeft, open: openLeft } = gate()
    app.get('/a', { cache: { key: 'a', ttl: 10, staleWhileRevalidate: 60 } }, async () => 'a')
    app.get('/slow', { cache: { key: 'slow' } }, async () => { await wait(); return 'slow' })
    app.get('/left', { cache: { key: 'left' } }, async () => { await waitLeft(); return 'left' })
    app.get('/bad', { cache: { key: 'bad', when: () => { throw new Error('a policy') } } }, async () => 'bad')
    app.post('/a', { cache: { invalidates: ['a'] } }, async () => 'done')
    await app.listen({ port: 0, host: '127.0.0.1' })
    const get = async (path: string, method = 'GET'): Promise<string> => await (await fetch(app.listeningOrigin + path, { method })).text()

    t.equal(await get('/a'), 'a', 'a miss')
    await app.cache.settled()
    t.equal(await get('/a'), 'a', 'a hit')
    now += 11_000
    t.equal(await get('/a'), 'a', 'a stale one')
    await app.cache.settled()
    t.equal(await get('/bad'), 'bad', 'a policy that fails')
    t.equal(await get('/a', 'POST'), 'done')
    t.equal(await app.cache.getOrSet('v', { ttl: 10 }, async () => 1), 1)
    t.equal(await app.cache.mutate('a', async () => 2), 2)
    await app.cache.invalidate({ keys: ['a'] }, { soft: true })
    await turn()
    const slow = get('/slow')
    await reached
    // As its client leaves.
    const left = clientRequest(`${app.listeningOrigin}/left`, { agent: false })
    left.on('error', () => {})
    left.end()
    await reachedLeft
    left.destroy()
    trouble.fail()
    open()
    openLeft()
    t.equal(await slow, 'slow')
    t.equal(await get('/a'), 'a', 'without its store')
    await until(async () => lines.some((line) => line.startsWith('cache fill failed')), 'the fill behind the answer has failed')
    t.equal(await get('/a', 'POST'), 'done', 'the write stands')
    await t.rejects(app.cache.invalidate('a'), { code: 'FRC_STORE' }, 'writers are told')
    await server.kill()
    await until(async () => lines.some((line) => line.startsWith('the cache serves nothing from this process')), 'the tier is not trusted')
    await until(async () => lines.some((line) => line.startsWith('the cache does without')), 'the breaker is open')
  })
}

t.test('background work whose own report of an error fails', async (t) => {
  const background = new Background()
  for (const fail of Object.values(WAYS)) background.run(async () => { throw new Error('work') }, fail)
  await t.resolves(background.idle())
  t.equal(background.isIdle, true)
})
