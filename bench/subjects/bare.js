// Fastify without a cache. `string`, `buffer`: the body prepared; `schema`: the object, serialised for each request through
// a response schema; `object`: the uncached route, the handler of all other subjects, serialised by JSON.stringify;
// `redis`: the body prepared in Redis, read as a Buffer for each request, and nothing else.
import fastify from 'fastify'
import { Redis } from 'ioredis'
import { objectOf, SCHEMA, textOf } from './body.js'
import { listen, load, serve, TTL } from './subject.js'

const TYPE = 'application/json; charset=utf-8'

const handlers = {
  string: () => {
    const prepared = remember(textOf)
    return async ({ params }, reply) => await reply.type(TYPE).send(prepared(params.id))
  },
  buffer: () => {
    const prepared = remember((id) => Buffer.from(textOf(id)))
    return async ({ params }, reply) => await reply.type(TYPE).send(prepared(params.id))
  },
  schema: () => {
    const prepared = remember(objectOf)
    return async ({ params }) => prepared(params.id)
  },
  object: () => async ({ params }) => await load(params.id),
  redis: (redisUrl) => {
    const redis = new Redis(redisUrl)
    redis.on('error', () => {})
    return async ({ params }, reply) => {
      const name = `item:${params.id}`
      const found = await redis.getBuffer(name)
      if (found === null) await redis.set(name, textOf(params.id), 'EX', TTL)
      return await reply.type(TYPE).send(found ?? textOf(params.id))
    }
  }
}

await serve(async ({ redisUrl, variant }) => {
  const app = fastify()
  const options = variant === 'schema' ? { schema: { response: { 200: SCHEMA } } } : {}
  app.get('/item/:id', options, handlers[variant](redisUrl))
  return { url: await listen(app) }
})

function remember (make) {
  const made = new Map()
  return (id) => {
    let value = made.get(id)
    if (value === undefined) made.set(id, value = make(id))
    return value
  }
}
