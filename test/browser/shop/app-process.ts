// A process of a shop whose cache has a dashboard: forked by dashboard.ts with the port of its Redis, whether it has a
// tier, and how many routes it has besides, under a prefix of their own. Tells its address when it listens, and ends with
// the channel to its parent.
import fastifyRedis from '@fastify/redis'
import Fastify from 'fastify'
import routeCache from 'fastify-route-cache'
import dashboard from 'fastify-route-cache/dashboard'
import { PASSWORD, USER } from './account.js'

const [port, tier, more = '0'] = process.argv.slice(2)
const app = Fastify({ forceCloseConnections: true })
await app.register(fastifyRedis, { host: '127.0.0.1', port: Number(port), closeClient: true })
// Beside a browser, on a machine that has other things to do, Redis may take longer than clients would wait.
await app.register(routeCache, { prefix: more === '0' ? 'shop' : 'large', deadline: '10s', ...tier === 'tier' && { memory: {} } })

const expected = `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString('base64')}`
await app.register(dashboard, {
  prefix: '/cache',
  interval: '200ms',
  guard: (request, reply) => {
    if (request.headers.authorization === expected) return true
    reply.header('www-authenticate', 'Basic realm="shop"')
    return false
  }
})

let runs = 0
app.get('/items/:id', { cache: { key: 'item:{id}', ttl: 600, staleWhileRevalidate: 600, tags: ['items'] } }, async (request, reply) => {
  reply.cacheTags('team:red')
  return { ...request.params as object, run: ++runs }
})
app.get('/hello', { cache: { key: 'hello', ttl: 600, vary: ['accept-language'] } }, async () => 'hello')
app.get('/me', { cache: { key: 'me', ttl: 600 } }, async (_, reply) => reply.header('cache-control', 'private').send('me'))

const querystring = { type: 'object', properties: { page: { type: 'integer' } } }
for (let i = 0; i < Number(more); i++) {
  const path = `/api/v1/departments/:department/${['orders', 'invoices', 'articles', 'suppliers'][i % 4]}-${i}/:id`
  // One in ten with a likely mistake: its key lacks the page.
  app.get(path, { ...i % 10 === 0 && { schema: { querystring } }, cache: { key: `r${i}:{department}:{id}`, tags: ['all'] } }, async () => 'x')
}

process.once('disconnect', () => process.exit())
process.once('SIGTERM', async () => { await app.close(); process.exit() })
process.send?.(await app.listen({ host: '127.0.0.1', port: 0 }))
