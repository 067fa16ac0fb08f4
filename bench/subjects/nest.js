// NestJS' CacheInterceptor over @keyv/redis, on Nest's Fastify adapter: the store as "Using with NestJS" of @keyv/redis has
// it, the interceptor on the controller as Nest's "Caching" has it, keys by URL. Node 20 has no decorators: they are called.
import 'reflect-metadata'
import { createKeyv } from '@keyv/redis'
import { CACHE_MANAGER, CacheInterceptor, CacheModule } from '@nestjs/cache-manager'
import { Controller, Get, Module, Param, Res, UseInterceptors } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import { load, probe, PROBE, serve, TTL } from './subject.js'

class Items {
  item (id) { return load(id) }

  probe (reply) {
    reply.code(PROBE.status).type(PROBE.type).header(PROBE.header, PROBE.made)
    return probe()
  }
}
route('item', Get('item/:id'), Param('id'))
route('probe', Get('probe'), Res({ passthrough: true }))
UseInterceptors(CacheInterceptor)(Items)
Controller()(Items)

await serve(async ({ redisUrl }) => {
  class App {}
  const store = createKeyv(redisUrl)
  store.on('error', () => {})
  const imports = [CacheModule.registerAsync({ useFactory: () => ({ stores: [store], ttl: TTL * 1000 }) })]
  Module({ imports, controllers: [Items] })(App)
  const app = await NestFactory.create(App, new FastifyAdapter(), { logger: false })
  await app.listen(0, '127.0.0.1')
  const cache = app.get(CACHE_MANAGER)
  return { url: await app.getUrl(), invalidate: async (id) => await cache.del(`/item/${id}`) }
})

/** As the decorators of a method and of its first parameter. */
function route (name, method, parameter) {
  parameter(Items.prototype, name, 0)
  method(Items.prototype, name, Object.getOwnPropertyDescriptor(Items.prototype, name))
}
