// An API behind authentication: one route has the same response for all customers, one has another for each user.
//
//   node examples/accounts.mjs
//
//   curl -i localhost:3000/prices                                    # {"error":"who are you?"}
//   curl -i -H 'Authorization: ada' localhost:3000/prices            # Cache-Status: fastify-route-cache; fwd=miss
//   curl -i -H 'Authorization: bob' localhost:3000/prices            # Cache-Status: fastify-route-cache; hit; ttl=60
//   curl -i -H 'Authorization: ada' localhost:3000/account           # {"owner":"ada","balance":7}
//   curl -i -H 'Authorization: bob' localhost:3000/account           # {"owner":"bob","balance":7}
//   curl -i -H 'Authorization: ada' localhost:3000/account           # Cache-Status: fastify-route-cache; hit; ttl=60
//   curl -i -X POST -H 'Authorization: ada' localhost:3000/account   # {"owner":"ada","balance":6}
//   curl -i -H 'Authorization: ada' localhost:3000/account           # {"owner":"ada","balance":6}
//   curl -i -H 'Authorization: bob' localhost:3000/account           # Cache-Status: fastify-route-cache; hit; ttl=60
import fastify from 'fastify'
import routeCache from 'fastify-route-cache'

const balances = new Map([['ada', 7], ['bob', 7]]) // your database

const app = fastify()
await app.register(routeCache, { prefix: 'bank' })

app.addHook('onRequest', async (request, reply) => {
  const name = request.headers.authorization
  if (!balances.has(name)) return reply.code(401).send({ error: 'who are you?' })
  request.user = { name }
})

const accountOf = ({ user: { name } }) => ({ owner: name, balance: balances.get(name) })

app.get('/prices', { cache: { shared: true } }, async () => ({ transfer: 1 }))

app.get('/account', {
  // The key is one for all; each has an entry of their own under it, and the tag ends only theirs.
  cache: { key: 'account', identity: (request) => request.user.name, tags: (request) => [`account:${request.user.name}`] }
}, async (request) => accountOf(request))

app.post('/account', async (request) => {
  const { name } = request.user
  // Nothing old is left over, even if this process dies in the middle of it.
  await app.cache.mutate({ tags: [`account:${name}`] }, async () => { balances.set(name, balances.get(name) - 1) })
  return accountOf(request)
})

await app.listen({ port: Number(process.env.PORT ?? 3000) })
