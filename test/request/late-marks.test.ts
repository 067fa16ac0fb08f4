// What is said of a response when it is on its way already: `reply.cacheTags` and `reply.noCache` count until it is stored.
import { Readable } from 'node:stream'
import t from 'tap'
import type { FastifyReply } from 'fastify'
import { cachedApp, onEachStore, settled, type CachedApp } from '../helpers/app.js'

type Say = (reply: FastifyReply) => void

/** By an onSend hook behind ours, and while a stream is being read. */
function routes (app: CachedApp, say: Say): string[] {
  const onSend = async (_: unknown, reply: FastifyReply, payload: unknown): Promise<unknown> => {
    say(reply)
    return payload
  }
  app.get('/hook', { onSend, cache: true }, async () => 'x')
  app.get('/stream', { cache: true }, async (_, reply) => Readable.from((async function * () {
    yield 'a'
    say(reply)
    yield 'b'
  })()))
  return ['/hook', '/stream']
}

await onEachStore(t, async (t, open) => {
  await t.test('a tag that is named late ends the entry', async (t) => {
    const app = await open({ prefix: 'tags' })
    for (const url of routes(app, (reply) => { reply.cacheTags('late') })) {
      for (let i = 0; i < 2; i++) {
        await app.inject(url)
        await settled(app)
      }
      t.match((await app.inject(url)).headers['cache-status'], /hit/, `${url} is stored`)
      await app.cache.invalidate({ tags: ['late'] })
      t.notMatch((await app.inject(url)).headers['cache-status'], /hit/, `${url} was invalidated`)
      await settled(app)
    }
  })

  await t.test('noCache() that is called late keeps the response out', async (t) => {
    const app = await open({ prefix: 'no-cache' })
    for (const url of routes(app, (reply) => { reply.noCache() })) {
      await app.inject(url)
      await settled(app)
      t.notMatch((await app.inject(url)).headers['cache-status'], /hit/, url)
      await settled(app)
    }
    t.match(app.cache.stats().total, { stores: 0, refusals: { 'no-cache-called': 4 } })
  })
})

t.test('in onSend hooks of plugins that come behind', async (t) => {
  const app = await cachedApp(t)
  app.addHook('onSend', async (_, reply, payload) => {
    reply.cacheTags('late')
    return payload
  })
  app.get('/', { cache: true }, async () => 'x')
  await app.inject('/')
  await settled(app)
  await app.cache.invalidate({ tags: ['late'] })
  t.notMatch((await app.inject('/')).headers['cache-status'], /hit/)
})
