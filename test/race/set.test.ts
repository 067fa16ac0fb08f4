// Two writers of one row, with `set`, and a slow reader: in every order of their steps the cache never holds an older row
// than the database once all have returned. A build that takes the lease behind the work is caught.
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { beyondLookup, cachedApp, gate, settled, type CachedApp } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'
import { interleavings } from './interleavings.js'

/** What a writer does, in order: takes the lease, writes its row, gives it. */
type Writing = (app: FastifyInstance, steps: { wait: () => Promise<void> }[], write: () => unknown) => Promise<unknown>

const ours: Writing = async (app, [begin, commit, end], write) => {
  await begin!.wait()
  return await app.cache.set('row:7', async () => {
    await commit!.wait()
    const value = write()
    await end!.wait()
    return value
  }, { route: '/rows/7' })
}

/** The lease is taken when the row is written: too late. */
const late: Writing = async (app, [begin, commit, end], write) => {
  await begin!.wait()
  await commit!.wait()
  const value = write()
  await end!.wait()
  return await app.cache.set('row:7', () => value, { route: '/rows/7' })
}

/** All orders of the steps of two writers and of a reader that is slow; the orders that left an older row behind. */
async function stale (apps: readonly [CachedApp, CachedApp], writing: Writing, reads: number): Promise<string[]> {
  const found: string[] = []
  const [first, second] = apps
  const database = { row: 'old' }
  let reader: { wait: () => Promise<void> } | null = null
  for (const app of new Set(apps)) {
    app.get('/rows/:id', { cache: { key: 'row:{id}', waitTimeout: 0 } }, async () => {
      const { row } = database
      await reader?.wait()
      return { id: 7, name: row }
    })
  }
  for (const order of interleavings([3, 3, reads])) {
    await first.cache.invalidate('row:7')
    database.row = 'old'
    const gates = [3, 3, 2].map((steps) => Array.from({ length: steps }, gate))
    const write = (row: string) => (): unknown => {
      database.row = row
      return { id: 7, name: row }
    }
    reader = reads === 0 ? null : gates[2]![1]!
    const actors = [writing(first, gates[0]!, write('A')), writing(second, gates[1]!, write('B'))]
    if (reads > 0) actors.push(gates[2]![0]!.wait().then(async () => await ask(second)))
    await play(order, gates, { actors, apps })
    reader = null
    if (await ask(first) !== database.row) found.push(order.join(''))
    await settled(first)
  }
  return found
}

interface Stage { actors: Promise<unknown>[], apps: readonly CachedApp[] }

/** Opens the gates in this order, each when its actor has come to it or can't come yet, and waits for the end. */
async function play (order: readonly number[], gates: ReturnType<typeof gate>[][], { actors, apps }: Stage): Promise<void> {
  const next = gates.map(() => 0)
  for (const actor of order) {
    const { reached, open } = gates[actor]![next[actor]!++]!
    await Promise.race([reached, actors[actor]])
    open()
    for (const app of apps) await beyondLookup(app)
  }
  await Promise.all(actors)
  for (const app of new Set(apps)) await settled(app)
}

async function ask (app: FastifyInstance): Promise<string> {
  return (JSON.parse((await app.inject('/rows/7')).body) as { name: string }).name
}

t.test('two writers, in two processes', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const opened = async (): Promise<CachedApp> => await cachedApp(t, { redis })
  t.strictSame(await stale([await opened(), await opened()], ours, 0), [])
  const found = await stale([await opened(), await opened()], late, 0)
  t.ok(found.length > 0, `the lease taken behind the work: ${found.length} of 20 orders are wrong: ${found.join(' ')}`)
})

t.test('two writers and a slow reader, in one process', async (t) => {
  const app = await cachedApp(t)
  t.strictSame(await stale([app, app], ours, 2), [])
})
