// A miss in the in-process store takes its lease without waiting for a turn of the event loop. Where a lookup in full would
// not take the lease, neither does that.
import t, { type Test } from 'tap'
import { cachedApp, gate, settled, type CachedApp } from '../helpers/app.js'

interface Opened { app: CachedApp, run: ReturnType<typeof gate>, ran: () => number }

async function opened (test: Test): Promise<Opened> {
  const app = await cachedApp(test)
  const run = gate()
  let runs = 0
  app.get('/:id', { cache: { key: 'item:{id}', tags: ['items'] } }, async ({ params }) => {
    runs++
    const { id } = params as { id: string }
    if (id === 'slow') await run.wait()
    return id
  })
  await app.ready()
  return { app, run, ran: () => runs }
}

t.test('a handler runs at once, and another request waits for it', async (t) => {
  const { app, run, ran } = await opened(t)
  const both = [app.inject('/slow'), app.inject('/slow')]
  await run.reached
  run.open()
  t.strictSame((await Promise.all(both)).map(({ body }) => body), ['slow', 'slow'])
  t.equal(ran(), 1)
})

t.test('nothing is stored under a tag in quarantine', async (t) => {
  const { app } = await opened(t)
  await app.cache.mutate({ tags: ['items'] }, async () => {
    t.equal((await app.inject('/a')).body, 'a')
    await settled(app)
    t.match(app.cache.stats().total, { stores: 0, refusals: { lease: 1 } })
  })
})

t.test('a request for a part of the response takes no lease', async (t) => {
  const { app } = await opened(t)
  await app.inject({ url: '/a', headers: { range: 'bytes=0-0' } })
  await settled(app)
  t.match(app.cache.stats().total, { stores: 0, refusals: { range: 1 } })
  await app.inject('/a')
  await settled(app)
  t.match(app.cache.stats().total, { stores: 1 })
})
