// A handler that notices that its client has left may stop half-way. The part that it then answers is not stored, and the
// handler runs again for those that wait. The answer of one that does not notice is whole, and kept.
import { connect } from 'node:http2'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import routeCache from '../../plugin/index.js'
import { beyondLookup, cachedApp, gate, send, settled, type CachedApp } from '../helpers/app.js'

/** Gives whether the handler of this request is to stop. */
type Notice = (request: FastifyRequest, reply: FastifyReply) => () => boolean

function flag (listen: (stop: () => void) => void): () => boolean {
  let isStopped = false
  listen(() => { isStopped = true })
  return () => isStopped
}

const NOTICES: Record<string, Notice> = {
  'request.signal, looked at': ({ signal }) => () => signal.aborted,
  'request.signal, looked at late only': (request) => () => request.signal.aborted || request.raw.destroyed,
  'request.signal, listened to': ({ signal }) => flag((stop) => { signal.addEventListener('abort', stop, { once: true }) }),
  'a signal made of it': ({ signal }) => {
    const both = AbortSignal.any([signal, AbortSignal.timeout(600_000)])
    return () => both.aborted
  },
  'close of the request': ({ raw }) => flag((stop) => { raw.once('close', stop) }),
  'aborted of the request': ({ raw }) => flag((stop) => { raw.once('aborted', stop) }),
  'error of the request': ({ raw }) => flag((stop) => { raw.once('error', stop) }),
  'close of the reply': (_, { raw }) => flag((stop) => { raw.once('close', stop) }),
  'close of the socket': ({ socket }) => flag((stop) => { socket.once('close', stop) }),
  'request.raw.aborted': ({ raw }) => () => raw.aborted,
  'request.raw.destroyed': ({ raw }) => () => raw.destroyed,
  'reply.raw.destroyed': (_, { raw }) => () => raw.destroyed,
  'reply.raw.closed': (_, { raw }) => () => raw.closed,
  'request.socket.destroyed': ({ socket }) => () => socket.destroyed
}

interface Scene {
  /** The body that another client gets. */
  ask: () => Promise<string>
  /** Has the first client, whose handler is in its third row, leave. */
  leave: () => Promise<void>
  goOn: () => void
  runs: () => number
}

async function sceneOf (app: FastifyInstance, notice: Notice): Promise<Scene> {
  const [half, rest, left] = [gate(), gate(), gate()]
  let runs = 0
  // Ahead of Fastify, as tracers do: that is no handler's.
  app.server.on('request', (_, response: NodeJS.EventEmitter) => { response.once('close', () => { left.open() }) })
  app.get('/', { cache: { key: 'k' } }, async (request, reply) => {
    const run = ++runs
    const isStopped = notice(request, reply)
    const rows: number[] = []
    for (let row = 1; row <= 5; row++) {
      if (run === 1 && row === 4) {
        half.open()
        await rest.wait()
      }
      if (isStopped()) break
      rows.push(row)
    }
    return rows
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const leader = send(app, 'GET', '/')
  await half.wait()
  return {
    ask: async () => (await app.inject('/')).body,
    leave: async () => {
      leader.destroy()
      await left.wait()
      for (let i = 0; i < 5; i++) await turn()
    },
    goOn: rest.open,
    runs: () => runs
  }
}

type Noticing = FastifyRequest & { hasLeft?: boolean }

const HOOKS: Record<string, (app: FastifyInstance) => void> = {
  'a hook in front that listens to the request': (app) => {
    app.addHook('onRequest', async (request: Noticing) => { request.raw.once('close', () => { request.hasLeft = true }) })
  },
  'a hook in front that listens to the reply': (app) => {
    app.addHook('onRequest', async (request: Noticing, { raw }) => { raw.once('close', () => { request.hasLeft = true }) })
  },
  'an onRequestAbort hook': (app) => { app.addHook('onRequestAbort', async (request: Noticing) => { request.hasLeft = true }) }
}

async function isRunAgain (t: Test, app: CachedApp, notice: Notice): Promise<void> {
  const { ask, leave, goOn, runs } = await sceneOf(app, notice)
  const waiter = ask()
  await beyondLookup(app)
  await leave()
  goOn()
  t.equal(await waiter, '[1,2,3,4,5]', 'who waited')
  await settled(app)
  t.equal(await ask(), '[1,2,3,4,5]', 'and who comes later')
  t.equal(runs(), 2)
  t.match(app.cache.stats().total, { hits: 1, refusals: { incomplete: 1 } })
}

for (const [name, notice] of Object.entries(NOTICES)) {
  t.test(name, async (t) => { await isRunAgain(t, await cachedApp(t), notice) })
}

for (const [name, add] of Object.entries(HOOKS)) {
  t.test(name, async (t) => {
    const app = await cachedApp(t)
    add(app)
    await isRunAgain(t, app, (request: Noticing) => () => request.hasLeft === true)
  })
}

t.test('one that answers where it hears of it', async (t) => {
  for (const event of ['aborted', 'close']) {
    const app = await cachedApp(t)
    const first = gate()
    let runs = 0
    app.get('/', { cache: { key: 'k' } }, (request, reply) => {
      if (++runs > 1) return reply.send('whole')
      request.raw.once(event, () => { reply.send('part') })
      first.open()
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const leader = send(app, 'GET', '/')
    await first.wait()
    const waiter = app.inject('/')
    await beyondLookup(app)
    leader.destroy()
    t.equal((await waiter).body, 'whole', event)
    t.equal((await app.inject('/')).body, 'whole', event)
  }
})

t.test('one that throws has not failed: the handler runs once more for all that wait, and nothing stale stands in', async (t) => {
  const clock = { now: 0 }
  const app = await cachedApp(t, { now: () => clock.now })
  const first = gate()
  let runs = 0
  app.get('/', { cache: { key: 'k', ttl: 1, staleIfError: 60 } }, async ({ signal }) => {
    if (++runs !== 2) return `run ${runs}`
    first.open()
    await new Promise<void>((resolve) => { signal.addEventListener('abort', () => { resolve() }) })
    signal.throwIfAborted()
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.inject('/')
  await settled(app)
  clock.now = 5_000
  const leader = send(app, 'GET', '/')
  await first.wait()
  const waiters = Array.from({ length: 5 }, async () => await app.inject('/'))
  await beyondLookup(app)
  leader.destroy()
  t.strictSame([...new Set((await Promise.all(waiters)).map(({ body }) => body))], ['run 3'])
  t.equal(runs, 3)
})

t.test('one that does not notice has its answer kept, and all is as it was', async (t) => {
  const app = await cachedApp(t)
  let raws: Array<object | null> = []
  let before: string[][] = []
  const namesOf = (): string[][] => raws.map((raw) => raw === null ? [] : Object.getOwnPropertyNames(raw).sort())
  const { ask, leave, goOn, runs } = await sceneOf(app, ({ raw }, reply) => {
    raws = [raw, reply.raw, raw.socket]
    before = namesOf()
    return () => false
  })
  const waiter = ask()
  await beyondLookup(app)
  const [request] = raws as [FastifyRequest['raw']]
  await leave()
  goOn()
  t.equal(await waiter, '[1,2,3,4,5]')
  t.equal(runs(), 1)
  t.match(app.cache.stats().total, { collapsed: 1, stores: 1 })
  t.ok(request.aborted && request.destroyed)
  t.strictSame(namesOf().map((names) => names.filter((name) => /aborted|destroyed|closed|errored/i.test(name))),
    before.map((names) => names.filter((name) => /aborted|destroyed|closed|errored/i.test(name))))
})

t.test('over HTTP/2', async (t) => {
  for (const isNoticing of [true, false]) {
    const app = fastify({ http2: true })
    t.teardown(async () => { await app.close() })
    await app.register(routeCache, { deadline: 30, writeDeadline: 30 })
    const [first, rest, left] = [gate(), gate(), gate()]
    let runs = 0
    app.server.on('request', (_, response) => { response.once('close', left.open) })
    app.get('/', { cache: { key: 'k' } }, async (request) => {
      if (++runs > 1) return 'whole'
      const signal = isNoticing ? request.signal : null
      first.open()
      await rest.wait()
      return signal?.aborted === true ? 'part' : 'whole'
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const session = connect(app.listeningOrigin)
    const stream = session.request({ ':path': '/' })
    stream.on('error', () => {})
    await first.wait()
    const waiter = app.inject('/')
    await app.cache.inspect('nothing')
    stream.close(8)
    await left.wait()
    await turn()
    rest.open()
    t.equal((await waiter).body, 'whole')
    t.equal(runs, isNoticing ? 2 : 1)
    session.destroy()
  }
})
