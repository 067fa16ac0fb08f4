// A shop on Redis: compressed once, stale while it is refreshed and where the database fails, with a tier in the process.
//
//   REDIS_URL=redis://localhost node examples/shop.mjs
//
//   curl -i localhost:3000/products                                  # Cache-Status: fastify-route-cache; fwd=miss
//   curl -i -H 'Accept-Encoding: br' localhost:3000/products         # Content-Encoding: br
//   curl -i -X PUT localhost:3000/products/7                         # {"id":"7","price":8}
//   curl -i localhost:3000/products/7                                # Cache-Status: fastify-route-cache; hit; ttl=3600
//   curl -i localhost:3000/products/7                                # {"id":"7","price":8}
//   curl -i localhost:3000/products                                  # Cache-Status: fastify-route-cache; fwd=miss
import fastify from 'fastify'
import fastifyRedis from '@fastify/redis'
import routeCache from 'fastify-route-cache'

const prices = Array.from({ length: 100 }, (_, id) => id) // your database
const productOf = (id) => ({ id, price: prices[id] })

const app = fastify()
await app.register(fastifyRedis, { url: process.env.REDIS_URL })
await app.register(routeCache, { prefix: 'shop', memory: { maxAge: '30s' } })

app.get('/products', {
  cache: { tags: ['products'], ttl: 10, staleWhileRevalidate: '1m', staleIfError: '1h', compress: true }
}, async () => prices.map((_, id) => productOf(id)))

app.get('/products/:id', { cache: { key: 'product:{id}', ttl: '1h' } }, async (request) => productOf(request.params.id))

app.put('/products/:id', async (request) => {
  const { id } = request.params
  // To the database and the cache together: the next reader has a hit already, as GET would have answered.
  const product = await app.cache.set(app.cache.key('product:{id}', { id }), async () => {
    prices[id]++
    return productOf(id)
  }, { route: `/products/${id}` })
  await app.cache.invalidate({ tags: ['products'] })
  return product
})

await app.listen({ port: Number(process.env.PORT ?? 3000) })
