// What a route declares to invalidate, with a Redis that can't be told, or takes its time.
import type { FastifyReply } from 'fastify'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { InvalidationOptions, RouteCacheOptions } from '../../plugin/index.js'
import { beyondLookup, cachedApp, gate, send, settled, told, type CachedApp } from '../helpers/app.js'
import { startRedis, type RedisServer } from '../helpers/redis.js'

interface Parts {
  app: CachedApp
  server: RedisServer
  database: { row: string, writes: number }
  /** The handler of `PUT /row/:id`, which writes, and what its onSend hook waits for: to be replaced. */
  write: { handler: (reply: FastifyReply) => unknown, leave: () => Promise<void> }
  /** Has Redis refuse all that invalidates, or do it again. */
  refuse: (isRefused: boolean) => Promise<void>
}

const FAIL = { onError: 'fail' } as const

type Options = RouteCacheOptions & { handlerTimeout?: number }

/** `GET /row/:id`, which is stored, and `PUT /row/:id`, which declares this. */
async function parts (
  t: Test, cache: Partial<InvalidationOptions>, { handlerTimeout, ...options }: Options = {}
): Promise<Parts> {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  await server.client().call('ACL', 'SETUSER', 'admin', 'on', '>secret', '~*', '&*', '+@all')
  const admin = server.client({ username: 'admin', password: 'secret' })
  const refuse = async (isRefused: boolean): Promise<void> => {
    await admin.call('ACL', 'SETUSER', 'default', `${isRefused ? '-' : '+'}@scripting`, `${isRefused ? '-' : '+'}unlink`)
  }
  const redis = server.client()
  await redis.ping()
  const app = await cachedApp(t, { redis, ...options })
  const database = { row: 'old', writes: 0 }
  app.get('/row/:id', { cache: { key: 'row:{id}', tags: ['rows'] } }, async () => database.row)
  const write: Parts['write'] = {
    handler: async () => {
      database.row = 'new'
      return `write ${++database.writes}`
    },
    leave: async () => {}
  }
  const onSend = async (_: unknown, __: unknown, payload: unknown): Promise<unknown> => {
    await write.leave()
    return payload
  }
  const limited = handlerTimeout === undefined ? {} : { handlerTimeout }
  app.put('/row/:id', { ...limited, onSend, cache: { invalidates: ['row:{id}'], ...cache } }, (_, reply) => write.handler(reply))
  app.get('/plain', async () => 'x')
  await ask(app)
  return { app, server, database, write, refuse }
}

/** What the row is answered with, and what the cache did. */
async function ask (app: CachedApp): Promise<string> {
  const { body, headers } = await app.inject('/row/1')
  await settled(app)
  return `${body}: ${/(?<=; )(?:hit|fwd=\w+)(?:; detail=\w+)?/.exec(String(headers['cache-status']))![0]}`
}

const PUT = { method: 'PUT', url: '/row/1' } as const
const COMPLAINT = { level: 50, msg: 'cache could not be told of the change', route: '/row/:id' }

function complaints (app: CachedApp): object[] {
  return app.lines.filter(({ msg }) => String(msg).startsWith(COMPLAINT.msg))
}

t.test('by default the answer stands, and the journal keeps what could not be told', async (t) => {
  const { app, refuse } = await parts(t, { invalidates: ['row:{id}', { prefix: 'a', tags: ['rows'] }, { prefix: 'b' }] })
  t.equal(await ask(app), 'old: hit')
  await refuse(true)
  t.match(await app.inject(PUT), { statusCode: 200, body: 'write 1' })
  t.match(complaints(app), [{ ...COMPLAINT, err: { code: 'FRC_STORE', message: /NOPERM/ } }])
  t.match(app.cache.stats(), { journal: 4, invalidationsFailed: 1 }, 'all of it, in one call')
  t.equal(await ask(app), 'new: fwd=bypass; detail=journal')
  await refuse(false)
  await told(app)
  t.equal(await ask(app), 'new: fwd=miss')
})

t.test('by default a Redis that hangs holds the answer up for one deadline', async (t) => {
  const { app, server } = await parts(t, {}, { writeDeadline: '1s' })
  await server.pause()
  t.match(await app.inject(PUT), { statusCode: 200, body: 'write 1' })
  t.match(complaints(app), [{ ...COMPLAINT, err: { code: 'FRC_DEADLINE' } }])
  server.resume()
  await told(app)
  t.equal(await ask(app), 'new: fwd=miss')
})

for (const mode of [{}, FAIL]) {
  t.test(`the client gets its answer when Redis was told, not before: ${JSON.stringify(mode)}`, async (t) => {
    const { app, server, write } = await parts(t, mode)
    const pausing = gate()
    write.handler = async () => {
      await server.pause()
      pausing.wait()
      return 'done'
    }
    let isAnswered = false
    const putting = app.inject(PUT).then(({ body }) => {
      isAnswered = true
      return body
    })
    await pausing.reached
    for (let i = 0; i < 10; i++) {
      await app.inject('/plain')
      await turn()
    }
    t.notOk(isAnswered)
    server.resume()
    t.equal(await putting, 'done')
    t.equal(await ask(app), 'old: fwd=miss')
  })
}

t.test('"fail": nothing is written where Redis refuses, or hangs', async (t) => {
  const { app, server, database, refuse } = await parts(t, FAIL, { writeDeadline: '1s' })
  const unavailable = (code: string): object =>
    ({ statusCode: 503, code, error: 'Service Unavailable', message: /nothing was changed: try again$/ })
  await refuse(true)
  t.match((await app.inject(PUT)).json(), unavailable('FRC_STORE'))
  await refuse(false)
  await server.pause()
  t.match((await app.inject(PUT)).json(), unavailable('FRC_DEADLINE'))
  server.resume()
  t.match(app.lines.filter(({ level }) => level === 50), [
    { err: { code: 'FRC_STORE', message: /NOPERM/ } }, { err: { code: 'FRC_DEADLINE' } }
  ])
  t.equal(database.writes, 0)
  t.match(app.cache.stats(), { journal: 0, invalidationsFailed: 0 })
  await beyondLookup(app)
  t.match(await ask(app), /^old: /)
  t.match(await app.inject(PUT), { statusCode: 200, body: 'write 1' })
  t.match(await ask(app), /^new: /)
})

t.test('"fail": where it is only afterwards that Redis refuses, the answer stands', async (t) => {
  const { app, write, refuse } = await parts(t, FAIL)
  write.handler = async () => {
    await refuse(true)
    return 'done'
  }
  t.match(await app.inject(PUT), { statusCode: 200, body: 'done' })
  t.match(complaints(app), [{ ...COMPLAINT, err: { code: 'FRC_STORE', worked: true } }])
  t.match(app.cache.stats(), { journal: 1, invalidationsFailed: 1 })
  await refuse(false)
  await told(app)
  t.equal(await ask(app), 'old: fwd=miss')
})

t.test('"fail": a request that was answered meanwhile is not begun', async (t) => {
  for (const isLeaving of [false, true]) {
    const { app, server, database, write } = await parts(t, FAIL, { handlerTimeout: 50 })
    const leaving = gate()
    if (isLeaving) write.leave = leaving.wait
    await server.pause()
    const putting = app.inject(PUT)
    await (isLeaving ? leaving.reached : putting)
    server.resume()
    while (app.cache.stats().invalidations === 0) await turn()
    t.equal(database.writes, 0)
    leaving.open()
    t.match((await putting).json(), { statusCode: 503, code: 'FST_ERR_HANDLER_TIMEOUT' })
  }
})

t.test('"fail": a handler that never answers a client that has left keeps the quarantine for ten minutes', async (t) => {
  const { app, write } = await parts(t, FAIL)
  const begun = gate()
  const gone = gate()
  write.handler = (reply) => {
    reply.raw.once('close', gone.wait)
    begun.wait()
  }
  await app.listen({ host: '127.0.0.1', port: 0 })
  const limits: { fire: () => void, isRef: boolean }[] = []
  const real = setTimeout
  const kept = (work: () => void, time?: number, ...args: unknown[]): unknown => {
    if (time !== 600_000) return (real as (...args: unknown[]) => unknown)(work, time, ...args)
    const limit = { fire: work, isRef: true, unref: () => { limit.isRef = false } }
    limits.push(limit)
    return limit
  }
  Object.assign(globalThis, { setTimeout: kept })
  t.teardown(() => { Object.assign(globalThis, { setTimeout: real }) })
  const putting = send(app, PUT.method, PUT.url)
  await begun.reached
  putting.destroy()
  await gone.reached
  while (limits.length === 0) await turn()
  t.equal(await ask(app), 'old: fwd=miss')
  t.equal(await ask(app), 'old: fwd=miss')
  t.match(limits, [{ isRef: false }])
  limits[0]!.fire()
  while (!/hit/.test(await ask(app))) await turn()
  t.pass('and then it is over')
})
