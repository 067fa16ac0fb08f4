// Reads of one turn of the event loop share a trip to Redis; what then runs for each request runs in that request's own
// asynchronous context, which is where request ids, users and spans are kept.
import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import { onEachStore, settled } from '../helpers/app.js'

t.test('handlers and hooks run in the context of their own request', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await open()
    const contexts = new AsyncLocalStorage<string>()
    app.addHook('onRequest', (request, _reply, done) => { contexts.run(request.url, done) })
    const sent: Array<[string, string | undefined]> = []
    app.addHook('onSend', async (request) => { sent.push([request.url, contexts.getStore()]) })
    const ran: Array<[string, string | undefined]> = []
    app.get('/:id', { cache: { key: '{id}' } }, async (request) => {
      ran.push([request.url, contexts.getStore()])
      return request.url
    })
    const urls = ['/a', '/b', '/c', '/d']
    const own = urls.map((url) => [url, url])
    await app.ready()
    // Misses, then hits.
    await Promise.all(urls.map(async (url) => await app.inject(url)))
    await settled(app)
    t.strictSame([ran.sort(), sent.sort()], [own, own])
    sent.length = 0
    await Promise.all(urls.map(async (url) => await app.inject(url)))
    t.strictSame([ran, sent.sort()], [own, own])
    t.match(app.cache.stats().total, { hits: 4, misses: 4 })
  })
})
