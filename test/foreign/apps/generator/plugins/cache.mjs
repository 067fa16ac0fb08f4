import fp from 'fastify-plugin'
import routeCache from 'fastify-route-cache'

export default fp(async function (fastify, opts) {
  if (opts.isCached) await fastify.register(routeCache, { prefix: 'generated', deadline: 30 })
})
