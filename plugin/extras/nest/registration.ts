// The plugin's registration in a Nest app: on the adapter's instance as soon as there is one, or on an instance of its own.
import { type HttpAdapterHost } from '@nestjs/core'
import fastify, { type FastifyInstance } from 'fastify'
import { RouteCache } from '../../calls/route-cache.js'
import { RouteCacheError } from '../../errors.js'
import { own as memberOf } from '../../key/key.js'
import { routeCache } from '../../index.js'
import type { RouteCacheOptions } from '../../options/options.js'

export class Registration {
  readonly #host: HttpAdapterHost
  readonly #options: RouteCacheOptions
  #real: RouteCache | null = null
  /** Without HTTP: never listens. */
  #alone: FastifyInstance | null = null
  /** Of the injected class; it can be injected before it is registered, and be used from then on. */
  readonly cache: RouteCache

  constructor (host: HttpAdapterHost, options: RouteCacheOptions) {
    this.#host = host
    this.#options = options
    this.cache = injected(() => this.#real)
  }

  /** Registers the plugin, if there is an adapter and that was not done before. Throws FRC_OPTION if it is not Fastify's. */
  async onAdapter (): Promise<void> {
    const adapter = this.#host.httpAdapter as { getType?: () => string, getInstance?: () => FastifyInstance } | undefined
    const type = adapter?.getType?.()
    if (this.#real !== null || typeof type !== 'string' || type === '') return
    if (type !== 'fastify') {
      throw new RouteCacheError('FRC_OPTION', `RouteCacheModule is for Nest on Fastify, and this app is on ${type}: write NestFactory.create(App, ` +
        'new FastifyAdapter()), of @nestjs/platform-fastify')
    }
    await this.#register(adapter!.getInstance!())
  }

  /** Registers it on an instance of its own, if that was not done before. */
  async alone (): Promise<void> {
    if (this.#real !== null) return
    this.#alone = fastify()
    await this.#register(this.#alone)
    await this.#alone.ready()
  }

  async close (): Promise<void> {
    await this.#alone?.close()
  }

  async #register (instance: FastifyInstance): Promise<void> {
    await instance.register(routeCache, this.#options)
    this.#real = (instance as unknown as Record<string, RouteCache>)[this.#options.decorator ?? 'cache']!
  }
}

/** A RouteCache that calls the real one, once there is one. */
function injected (real: () => RouteCache | null): RouteCache {
  const target = Object.create(RouteCache.prototype) as RouteCache
  return new Proxy(target, {
    get (_target, name) {
      const cache = real()
      if (cache === null) {
        // Nest and Node ask whether it is a promise, has hooks, or how it is printed.
        if (!(name in RouteCache.prototype) || name === 'constructor') return memberOf(RouteCache.prototype, String(name))
        throw new RouteCacheError('FRC_OPTION', `RouteCache.${String(name)} was called before the app's start: call it in onModuleInit or later`)
      }
      const value: unknown = Reflect.get(cache, name, cache)
      return typeof value === 'function' && name !== 'constructor' ? value.bind(cache) : value
    },
    set: (_target, name, value) => {
      const cache = real()
      return cache !== null && Reflect.set(cache, name, value, cache)
    }
  })
}
