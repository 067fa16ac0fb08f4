// The warning of a route whose cache costs more time than it saves: told with figures, and of no other route.
import fastify from 'fastify'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import routeCache from '../../plugin/index.js'
import { Worth, type WorthFigures } from '../../plugin/telling/events.js'
import { startRedis } from '../helpers/redis.js'

/** With it the cheap route is judged twice. */
const ENOUGH = 16 * 64 * 3

t.test('the cost of lookups and fills against the time that hits save', (t) => {
  const cases = [
    { name: 'a handler as cheap as a lookup, half of them hits', lookup: 1, handler: 1, fill: 0, hits: 0.5, isLoss: true },
    { name: 'a dear handler that is never hit', lookup: 1, handler: 100, fill: 1, hits: 0, isLoss: true },
    { name: 'a dear handler, one hit in ten', lookup: 1, handler: 100, fill: 1, hits: 0.1, isLoss: false },
    { name: 'only the fills make it a loss', lookup: 1, handler: 4, fill: 4, hits: 0.5, isLoss: true },
    { name: 'a cheap handler, all hits, from memory', lookup: 0.01, handler: 0.1, fill: 0.05, hits: 1, isLoss: false }
  ]
  for (const { name, lookup, handler, fill, hits, isLoss } of cases) {
    const told: WorthFigures[] = []
    const worth = new Worth((figures) => { told.push(figures) }, Math.random)
    for (let i = 0; i < 400; i++) {
      const isHit = i % 10 < hits * 10
      worth.lookedUp(lookup, isHit)
      if (isHit) continue
      worth.answered(handler)
      worth.filled(fill)
    }
    // A route that is always hit has its handler measured when it began.
    t.equal(told.length, isLoss ? 1 : 0, name)
    if (isLoss) t.match(told[0], { lookup, handler }, 'with its figures')
  }
  t.end()
})

t.test('one in sixteen requests is measured', (t) => {
  const worth = new Worth(() => {}, () => 0.5)
  t.equal(Array.from({ length: 160 }, () => worth.begin()).filter((began) => began > 0).length, 10)
  const any = new Worth(() => {}, Math.random)
  const measured = Array.from({ length: 16_000 }, () => any.begin()).filter((began) => began > 0).length
  t.ok(measured > 700 && measured < 1_300, `by chance: ${measured} of 16,000`)
  t.end()
})

t.test('few handlers, or a loss that does not last, are not judged', (t) => {
  const told: WorthFigures[] = []
  const worth = new Worth((figures) => { told.push(figures) }, Math.random)
  for (let i = 0; i < 500; i++) worth.lookedUp(1, false)
  t.same(told, [], 'no handler was measured')
  const cold = new Worth((figures) => { told.push(figures) }, Math.random)
  for (let i = 0; i < 16; i++) cold.answered(10)
  for (let i = 0; i < 64; i++) cold.lookedUp(1, false)
  for (let i = 0; i < 2_000; i++) cold.lookedUp(1, true)
  t.same(told, [], 'a cold start')
  t.end()
})

t.test('a route whose keys never come back is named, and one that saves time is not', async (t) => {
  const redis = await startRedis()
  t.teardown(async () => { await redis.stop() })
  const lines: string[] = []
  const app = fastify({ logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(async () => { await app.close() })
  await app.register(routeCache, { redis: redis.client() })
  app.get('/cheap/:id', { cache: { key: 'cheap:{id}', ttl: 60 } }, async () => 'cheap')
  app.get('/dear/:id', { cache: { key: 'dear:{id}', ttl: 60 } }, async () => {
    await delay(5)
    return 'dear'
  })
  await app.ready()
  for (let i = 0; i < ENOUGH; i++) await app.inject(`/cheap/${i}`)
  // Nine of ten are hits.
  for (let i = 0; i < ENOUGH; i++) await app.inject(`/dear/${Math.floor(i / 10)}`)
  const said = lines.filter((line) => line.includes('not-worth-caching'))
  t.equal(said.length, 1, said.join())
  t.match(said[0], /GET \/cheap\/:id is not worth caching: of \d+ measured requests 0 % were hits\. A lookup takes [\d.]+ ms/)
  t.match((await app.cache.explain({ url: '/cheap/1' })).text, /warning: GET \/cheap\/:id is not worth caching/)
  t.notMatch((await app.cache.explain({ url: '/dear/1' })).text, /not worth caching/)
  t.match(app.cache.warnings, [{ check: 'not-worth-caching', route: 'GET /cheap/:id' }])
})
