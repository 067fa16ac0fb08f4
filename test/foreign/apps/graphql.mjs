// A GraphQL server (mercurius) with a check in a resolver. Its GET route has no such check of its own: what the resolver
// says of one user is kept by getOrSet under that user's name, and a cached route stands behind a hook that knows who asks.
import fastify from 'fastify'
import routeCache from 'fastify-route-cache'
import mercurius from 'mercurius'
import { differences, visit } from '../twin.mjs'

const SCHEMA = 'type Query { city(id: Int!): String, salary(of: String!): Int }'
const SALARIES = { ada: 7, bob: 5 }
const CITIES = ['Rome', 'Oslo']

const query = (text, user) => ({ url: `/graphql?query=${encodeURIComponent(text)}`, headers: user === undefined ? {} : { 'x-who': user } })
const REQUESTS = [
  query('{ city(id: 1) }'), query('{ city(id: 1) }'), query('{ city(id: 0) }'),
  query('{ salary(of: "ada") }', 'ada'), query('{ salary(of: "ada") }', 'ada'), query('{ salary(of: "ada") }', 'bob'),
  query('{ salary(of: "ada") }'), query('{ nothing }'), query('{ nothing }'),
  { url: '/staff', headers: { 'x-who': 'ada' } }, { url: '/staff', headers: { 'x-who': 'ada' } }, { url: '/staff' }
]
const OUTCOMES = [...Array(9).fill('none'), 'miss', 'hit', 'bypass']

/** `keep` is getOrSet, or runs what it is given. */
function resolversOf (keep) {
  return {
    Query: {
      city: (_, { id }) => keep(`city:${id}`, () => CITIES[id]),
      // The check comes first: what is kept is given only to who has passed it.
      salary: (_, { of }, { user }) => {
        if (user !== of) throw new mercurius.ErrorWithProps('not yours')
        return keep(`salary:${of}`, () => SALARIES[of])
      }
    }
  }
}

async function run (isCached) {
  const app = fastify({ forceCloseConnections: true })
  try {
    if (isCached) await app.register(routeCache, { deadline: 30 })
    const keep = isCached ? (key, load) => app.cache.getOrSet(key, { ttl: '1m' }, load) : (key, load) => load()
    const context = (request) => ({ user: request.headers['x-who'] })
    await app.register(mercurius, { schema: SCHEMA, resolvers: resolversOf(keep), context })
    const onRequest = async (request, reply) => {
      if (request.headers['x-who'] === undefined) return reply.code(401).send({ error: 'who are you?' })
    }
    app.get('/staff', { onRequest, cache: { shared: true } }, async (request, reply) => await reply.graphql('{ city(id: 0) }'))
    await app.listen({ port: 0, host: '127.0.0.1' })
    return await visit(app, REQUESTS, app.cache)
  } finally {
    await app.close()
  }
}

export default [
  { name: 'GraphQL: a check in a resolver, and one in a hook', run: async () => differences(await run(true), await run(false), OUTCOMES) }
]
