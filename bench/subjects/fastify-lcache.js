// fastify-lcache, in this process' memory.
import fastify from 'fastify'
import lcache from 'fastify-lcache'
import { listen, load, probe, PROBE, serve, TTL } from './subject.js'

await serve(async () => {
  const app = fastify()
  await app.register(lcache.default ?? lcache, { ttlInMinutes: TTL / 60, statusesToCache: [200, PROBE.status] })
  app.get('/item/:id', async ({ params }) => await load(params.id))
  app.get('/probe', async (_, reply) => {
    return await reply.code(PROBE.status).type(PROBE.type).header(PROBE.header, PROBE.made).send(probe())
  })
  return {
    url: await listen(app),
    // It has no name for a key: all go.
    invalidate: async () => app.lcache.reset()
  }
})
