// A shop behind Varnish, which keeps what the app sends, and is purged by the names that the app has sent with it.
//
//   REDIS_URL=redis://localhost VARNISH_URL=http://localhost:6081 node examples/in-front.mjs
//   varnishd -F -a localhost:6081 -f $PWD/examples/in-front.vcl
//
//   curl -i localhost:3000/products/7                                # Surrogate-Key: shop shop:product:7 shop:products
//   curl -i localhost:6081/products                                  # X-Cache: MISS
//   curl -i localhost:6081/products/7                                # X-Cache: MISS
//   curl -i localhost:6081/products/7                                # X-Cache: HIT
//   curl -i localhost:6081/products/8                                # X-Cache: MISS
//   curl -i -X PUT localhost:6081/products/7                         # {"id":"7","price":8}
//   curl -i localhost:6081/products/7                                # {"id":"7","price":8}
//   curl -i localhost:6081/products/7                                # X-Cache: HIT
//   curl -i localhost:6081/products                                  # X-Cache: MISS
//   curl -i localhost:6081/products/8                                # X-Cache: HIT
import fastify from 'fastify'
import fastifyRedis from '@fastify/redis'
import routeCache from 'fastify-route-cache'

const prices = Array.from({ length: 100 }, (_, id) => id) // your database
const productOf = (id) => ({ id, price: prices[id] })

/** A header field has room for some 30 names. */
async function purge ({ surrogateKeys, signal }) {
  for (let i = 0; i < surrogateKeys.length; i += 30) {
    const headers = { 'Surrogate-Key': surrogateKeys.slice(i, i + 30).join(' ') }
    const response = await fetch(process.env.VARNISH_URL, { method: 'PURGE', headers, signal })
    if (!response.ok) throw new Error(`Varnish answers ${response.status}`)
  }
}

const app = fastify()
await app.register(fastifyRedis, { url: process.env.REDIS_URL })
await app.register(routeCache, { prefix: 'shop', surrogateKeys: 'Surrogate-Key', onInvalidate: purge })

// Varnish keeps it for ten minutes at most, browsers ask again each time.
const cacheControl = 'public, max-age=0, s-maxage=600'

app.get('/products', { cache: { key: 'list', ttl: '1h', cacheControl } }, async () => prices.map((_, id) => productOf(id)))

app.get('/products/:id', { cache: { key: 'product:{id}', tags: ['products'], ttl: '1h', cacheControl } }, async (request) =>
  productOf(request.params.id))

// The client gets the answer when Redis and Varnish have both forgotten the old product.
app.put('/products/:id', { cache: { invalidates: ['product:{id}', 'list'] } }, async (request) => {
  prices[request.params.id]++
  return productOf(request.params.id)
})

await app.listen({ port: Number(process.env.PORT ?? 3000) })
