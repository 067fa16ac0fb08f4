// The field by which caches in front know a response: on whatever they may be given of a route, with the names of all that
// ends it.
import fastifyEtag from '@fastify/etag'
import t from 'tap'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { cachedApp, onEachStore, settled } from '../helpers/app.js'
import { faultyStore } from '../../plugin/extras/testing/index.js'

const FIELD = 'surrogate-key'

const tagged = async (request: FastifyRequest, reply: FastifyReply): Promise<object> => {
  const { id } = request.params as { id: string }
  reply.header('accept-ranges', 'bytes').cacheTags(`author:${id}`)
  return { id }
}

await onEachStore(t, async (t, open) => {
  await t.test('miss, hit, HEAD, 304 and a part have the same names', async (t) => {
    const app = await open({ prefix: 'shop', surrogateKeys: 'Surrogate-Key' })
    app.get('/posts/:id', { cache: { key: 'post:{id}', tags: ['posts'] } }, tagged)
    const expected = 'shop shop:post:7 shop:posts shop:author:7'
    const miss = await app.inject('/posts/7')
    t.match(miss.headers['cache-status'], /fwd=miss/)
    t.equal(miss.headers[FIELD], expected)
    await settled(app)
    const { headers: { etag } } = miss
    const requests = [
      [{ url: '/posts/7' }, 200], [{ url: '/posts/7', method: 'HEAD' }, 200],
      [{ url: '/posts/7', headers: { 'if-none-match': etag } }, 304], [{ url: '/posts/7', headers: { range: 'bytes=0-1' } }, 206]
    ] as const
    for (const [request, status] of requests) {
      const hit = await app.inject(request as object)
      t.equal(hit.statusCode, status)
      t.match(hit.headers['cache-status'], /; hit/)
      t.equal(hit.headers[FIELD], expected, `${status}`)
    }
    t.equal((await app.inject({ url: '/posts/8', method: 'HEAD' })).headers[FIELD], 'shop shop:post:8 shop:posts shop:author:8')
    t.equal((await app.inject({ url: '/posts/8', headers: { 'if-none-match': '*' } })).headers[FIELD], 'shop shop:post:8 shop:posts shop:author:8')
  })

  await t.test('a route may say otherwise, and a rule for a scope; others have none', async (t) => {
    const app = await open({ prefix: 'x', routes: [{ path: '/ruled/*', cache: { surrogateKeys: 'Cache-Tag', tags: ['r'] } }] })
    app.get('/tag', { cache: { key: 'k', tags: ['a b', 'c,d'], surrogateKeys: 'Cache-Tag' } }, async () => 'x')
    app.get('/none', { cache: { key: 'n' } }, async () => 'x')
    app.get('/ruled/a', async () => 'x')
    app.get('/uncached', async () => 'x')
    for (const hit of [false, true]) {
      t.equal((await app.inject('/tag')).headers['cache-tag'], 'x,x:k,x:a%20b,x:c%2Cd', `${hit}`)
      t.match((await app.inject('/ruled/a')).headers['cache-tag'], /^x,x:.*,x:r$/)
      for (const url of ['/none', '/uncached']) t.notMatch(Object.keys((await app.inject(url)).headers).join(), /cache-tag|surrogate/)
      await settled(app)
    }
    const off = await open({ surrogateKeys: 'Surrogate-Key' })
    off.get('/', { cache: { key: 'k', surrogateKeys: false } }, async () => 'x')
    t.equal((await off.inject('/')).headers[FIELD], undefined)
  })

  await t.test('a handler\'s own names stay, in front; and are in a 304, too', async (t) => {
    const app = await open({ prefix: 'p', surrogateKeys: 'Surrogate-Key' })
    app.get('/', { cache: { key: 'k', tags: ['t'] } }, async (_, reply) => {
      reply.header('Surrogate-Key', 'own  p:t').header('etag', '"1"')
      return 'x'
    })
    app.get('/many', { cache: { key: 'm', surrogateKeys: 'Cache-Tag' } }, async (_, reply) => reply.header('cache-tag', ['a, b', 'c']).send('x'))
    app.get('/response', { cache: { key: 'r', tags: ['t'] } }, async () => new Response('x', { headers: { 'surrogate-key': 'own' } }))
    for (const url of ['/', '/']) {
      t.equal((await app.inject(url)).headers[FIELD], 'own p:t p p:k')
      await settled(app)
    }
    t.equal((await app.inject({ url: '/', headers: { 'if-none-match': '"1"' } })).headers[FIELD], 'own p:t p p:k')
    for (const url of ['/many', '/many']) {
      t.equal((await app.inject(url)).headers['cache-tag'], 'a,b,c,p,p:m')
      await settled(app)
    }
    for (const url of ['/response', '/response']) {
      t.equal((await app.inject(url)).headers[FIELD], 'own p p:r p:t')
      await settled(app)
    }
  })

  await t.test('a Response that other hooks see', async (t) => {
    const app = await open({ prefix: 'p', surrogateKeys: 'Surrogate-Key' })
    await app.register(fastifyEtag)
    app.get('/response', { cache: { key: 'r', tags: ['t'] } }, async () => new Response('x', { headers: { 'surrogate-key': 'own' } }))
    for (const url of ['/response', '/response']) {
      t.equal((await app.inject(url)).headers[FIELD], 'own p p:r p:t')
      await settled(app)
    }
  })

  await t.test('stale entries, those that stand in, and those that are confirmed', async (t) => {
    let [now, isBroken, runs] = [1_700_000_000_000, false, 0]
    const app = await open({ prefix: 'q', surrogateKeys: 'Surrogate-Key', now: () => now })
    app.get('/', { cache: { key: 'k', ttl: 10, staleIfError: 60 } }, async (_, reply) => {
      if (isBroken) throw new Error('broken')
      reply.cacheTags('own')
      return 'x'
    })
    app.get('/asked', { cache: { key: 'a', ttl: 10, revalidate: true } }, async (_, reply) => {
      if (reply.notModified({ etag: '1' })) return reply
      reply.cacheTags(`own-${++runs}`)
      return 'x'
    })
    for (const url of ['/', '/asked']) await app.inject(url)
    await settled(app)
    now += 15_000
    isBroken = true
    const rescued = await app.inject('/')
    t.match(rescued.headers['cache-status'], /stale-if-error/)
    t.equal(rescued.headers[FIELD], 'q q:k q:own')
    const confirmed = await app.inject('/asked')
    t.match(confirmed.headers['cache-status'], /fwd=stale; fwd-status=304/)
    t.equal(confirmed.headers[FIELD], 'q q:a q:own-1')
  })

  await t.test('more than fits: a name that each invalidation purges, said once', async (t) => {
    const purged: string[][] = []
    const app = await open({
      prefix: 'r', surrogateKeys: 'Surrogate-Key', onInvalidate: ({ surrogateKeys }) => { purged.push([...surrogateKeys]) }
    })
    const tags = Array.from({ length: 200 }, (_, i) => `a-tag-of-some-length-${i}`)
    app.get('/', { cache: { key: 'k', tags } }, async () => 'x')
    for (let i = 0; i < 3; i++) {
      t.equal((await app.inject('/')).headers[FIELD], 'r r~any')
      await settled(app)
    }
    const said = app.lines.filter(({ level, msg }) => Number(level) >= 40 && /more tags than fit/.test(String(msg)))
    t.match(said, [{ route: 'GET /', tags: 200, msg: /"r~any" instead/ }])
    await app.cache.invalidate({ tags: [tags[150]!] })
    t.strictSame(purged, [['r:a-tag-of-some-length-150', 'r~any']])
  })
})

t.test('past the cache: by the names as far as they are known, else by one that each invalidation purges', async (t) => {
  const store = faultyStore()
  const app = await cachedApp(t, { prefix: 'p', surrogateKeys: 'Surrogate-Key', store, deadline: '30s' })
  app.get('/:id', { cache: { key: 'k:{id}', tags: ['t'] } }, tagged)
  app.get('/bad/:id', { cache: { key: () => { throw new Error('no key') } } }, async () => 'x')
  t.equal((await app.inject({ url: '/1', headers: { authorization: 'x' } })).headers[FIELD], 'p p~any', 'somebody\'s own')
  t.equal((await app.inject('/bad/1')).headers[FIELD], 'p p~any', 'no key')
  app.cache.enabled = false
  t.equal((await app.inject('/1')).headers[FIELD], 'p p~any', 'switched off')
  app.cache.enabled = true
  store.fail()
  const past = await app.inject('/1')
  t.match(past.headers['cache-status'], /detail=store/)
  t.equal(past.headers[FIELD], 'p p:k:1 p:t p:author:1', 'Redis is away')
})

t.test('what is no such field is refused', async (t) => {
  for (const surrogateKeys of ['xkey', 'surrogate-key', true, null, 1]) {
    await t.rejects(cachedApp(t, { surrogateKeys } as object), { code: 'FRC_OPTION', message: /surrogateKeys is .*"Surrogate-Key"/ })
    const app = await cachedApp(t)
    t.throws(() => app.get('/', { cache: { surrogateKeys } as object }, async () => 'x'), { code: 'FRC_OPTION', message: /cache\.surrogateKeys/ })
  }
})
