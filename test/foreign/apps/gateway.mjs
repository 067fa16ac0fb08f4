// A gateway (@fastify/http-proxy) in front of an app of somebody else's: what the upstream sends is cached as if it were
// the gateway's own, and what it keeps to one client stays with that.
import proxy from '@fastify/http-proxy'
import fastify from 'fastify'
import routeCache from 'fastify-route-cache'
import { Readable } from 'node:stream'
import { differences, visit } from '../twin.mjs'

const REQUESTS = ['/json', '/json?a=1', '/stream', '/cookie', '/private', '/missing', '/broken', '/vary', '/redirect', '/etag', '/empty']
  .map((path) => ({ url: `/api${path}` }))
const CONDITIONAL = [
  { url: '/api/etag', headers: { 'if-none-match': '"one"' } }, { url: '/api/etag', headers: { 'if-none-match': '"two"' } },
  { url: '/api/vary', headers: { 'accept-language': 'de' } }, { url: '/api/vary', headers: { 'accept-language': 'de' } },
  { url: '/api/json', headers: { authorization: 'Bearer ada' } }
]
const COLD = REQUESTS.map(() => 'miss')
const WARM = ['hit', 'hit', 'hit', 'miss', 'miss', 'miss', 'miss', 'hit', 'miss', 'hit', 'miss']
const OUTCOMES = [...COLD, ...WARM, 'hit', 'hit', 'miss', 'hit', 'bypass']

async function upstream () {
  const app = fastify()
  app.get('/json', async (request) => ({ query: request.query, user: request.headers.authorization ?? null }))
  app.get('/stream', async (request, reply) => reply.type('text/plain').send(Readable.from(['one, ', 'two'])))
  app.get('/cookie', async (request, reply) => reply.header('set-cookie', 'a=b').send('with a cookie'))
  app.get('/private', async (request, reply) => reply.header('cache-control', 'private').send('private'))
  app.get('/broken', async () => { throw new Error('broken') })
  app.get('/vary', async (request, reply) => reply.header('vary', 'accept-language').send(request.headers['accept-language'] ?? 'none'))
  app.get('/redirect', async (request, reply) => reply.redirect('/json'))
  app.get('/etag', async (request, reply) => {
    reply.header('etag', '"one"')
    return request.headers['if-none-match'] === '"one"' ? reply.code(304).send() : 'tagged'
  })
  app.get('/empty', async (request, reply) => reply.code(204).send())
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app
}

async function run (isCached, origin) {
  const app = fastify({ forceCloseConnections: true })
  try {
    // The adapter declares its routes itself, so a hook ahead of the plugin's gives them the option.
    app.addHook('onRoute', (route) => { route.cache = { ttl: '1m' } })
    if (isCached) await app.register(routeCache, { deadline: 30 })
    await app.register(proxy, { upstream: origin, prefix: '/api', httpMethods: ['GET'] })
    await app.listen({ port: 0, host: '127.0.0.1' })
    return await visit(app, [...REQUESTS, ...REQUESTS, ...CONDITIONAL], app.cache)
  } finally {
    await app.close()
  }
}

async function compare () {
  const behind = await upstream()
  try {
    return differences(await run(true, behind.listeningOrigin), await run(false, behind.listeningOrigin), OUTCOMES)
  } finally {
    await behind.close()
  }
}

export default [{ name: 'a gateway, with @fastify/http-proxy', run: compare }]
