// NestJS' CacheInterceptor over @keyv/redis, on Nest's Fastify adapter: the store as "Using with NestJS" of @keyv/redis has
// it (`createKeyv(url)`, and the error listener that it asks for), the interceptor on the controller as Nest's "Caching" has
// it, keys by URL, which the writer deletes: neither knows groups. The ttl is ours, 60 s. What fails in Redis is then no
// error for anybody; imported as `nest-app.js?throwOnErrors`, with @keyv/redis' option of that name, a writer hears of it.
//
// Plain JavaScript, as the root's type check and lint run where the packages of this folder are not installed; Node 20 has
// no decorators, so they are called.
import 'reflect-metadata'
import { createKeyv } from '@keyv/redis'
import { CACHE_MANAGER, CacheInterceptor, CacheModule } from '@nestjs/cache-manager'
import { Controller, Get, HttpCode, HttpException, Inject, Module, Param, Post, UseInterceptors } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter } from '@nestjs/platform-fastify'

const TTL = 60_000
const throwOnErrors = new URL(import.meta.url).searchParams.has('throwOnErrors')

/** @param {import('../../test/chaos/app-config.js').Surroundings} surroundings */
export async function start ({ redis, database, stats }) {
  class Rows {
    constructor (cache) { this.cache = cache }

    row (id) { return database.read(id) }

    tagged (id) { return database.read(id) }

    async write (id) {
      const written = database.write(id)
      try {
        await Promise.all([this.cache.del(`/row/${id}`), this.cache.del(`/tagged/${id}`)])
        return written
      } catch (error) {
        throw new HttpException({ code: String(error.code ?? error.message) }, 503)
      }
    }
  }
  Inject(CACHE_MANAGER)(Rows, undefined, 0)
  route(Rows, 'row', Get('row/:id'), Param('id'))
  route(Rows, 'tagged', Get('tagged/:id'), Param('id'))
  route(Rows, 'write', Post('row/:id'), Param('id'))
  HttpCode(200)(Rows.prototype, 'write', Object.getOwnPropertyDescriptor(Rows.prototype, 'write'))
  UseInterceptors(CacheInterceptor)(Rows)
  Controller()(Rows)

  class Plain {
    uncached (id) { return database.read(id) }

    stats () { return stats() }
  }
  route(Plain, 'uncached', Get('uncached/:id'), Param('id'))
  route(Plain, 'stats', Get('stats'))
  Controller()(Plain)

  class App {}
  const store = createKeyv(`redis://${redis.host}:${redis.port}`, { throwOnErrors })
  store.on('error', () => {})
  const imports = [CacheModule.registerAsync({ useFactory: () => ({ stores: [store], ttl: TTL }) })]
  Module({ imports, controllers: [Rows, Plain] })(App)
  const app = await NestFactory.create(App, new FastifyAdapter(), { logger: false })
  await app.listen(0, '127.0.0.1')
  return { url: await app.getUrl() }
}

/** As the decorators of a method and of its first parameter. */
function route ({ prototype }, name, method, parameter) {
  parameter?.(prototype, name, 0)
  method(prototype, name, Object.getOwnPropertyDescriptor(prototype, name))
}
