// The plugin's registration in a Nest app: on the adapter's instance as soon as there is one, or on an instance of its own.
import { Logger } from '@nestjs/common'
import { type HttpAdapterHost } from '@nestjs/core'
import fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import { RouteCache } from '../../calls/route-cache.js'
import { RouteCacheError } from '../../errors.js'
import { own as memberOf } from '../../key/key.js'
import { STAND_IN, type Log } from '../../telling/events.js'
import { routeCache } from '../../index.js'
import type { OwnOptions } from './controllers.js'
import { OURS } from './nest-metadata.js'
import { toldTo } from './stand-in.js'
import type { RouteCacheOptions } from '../../options/options.js'

/** Each app's, that have the module. */
const taken = new WeakSet<object>()

export class Registration {
  readonly #host: HttpAdapterHost
  readonly #options: RouteCacheOptions
  #real: RouteCache | null = null
  /** Without HTTP: never listens. */
  #alone: FastifyInstance | null = null
  #standIn: object | null = null
  /** This app's, of its controllers' methods. */
  routes: OwnOptions = new Map()
  /** Of the injected class; it can be injected before it is registered, and be used from then on. */
  readonly cache: RouteCache

  constructor (host: HttpAdapterHost, options: RouteCacheOptions) {
    if (typeof options !== 'object' || options === null) {
      throw new RouteCacheError('FRC_OPTION', `RouteCacheModule: useFactory of forRootAsync gave ${String(options)}; it returns the plugin's options`)
    }
    if (taken.has(host)) {
      throw new RouteCacheError('FRC_OPTION', 'RouteCacheModule is imported twice: write forRoot or forRootAsync once, in the root module. It is ' +
        'global, so other modules inject RouteCache without importing it')
    }
    taken.add(host)
    this.#host = host
    this.#options = options
    this.cache = injected(() => this.#real)
  }

  /**
   * Another object was put in place of `cache`, as a test does that has a mock. No entry would be ended by its calls, so
   * nothing is cached, Redis is left alone, and what @Invalidates names is told to it.
   */
  standIn (other: object): void {
    this.#standIn = other
    if (this.#real !== null) this.#real.enabled = false
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
    const isSilent = this.#alone !== null || instance.log.warn === instance.log.error
    const log: object | null = isSilent ? { [STAND_IN]: nestLog() } : null
    const without: object | null = this.#standIn !== null ? { redis: undefined, memory: undefined, enabled: false } : null
    instance.addHook('onRoute', (route) => { this.#giveOption(route) })
    await instance.register(routeCache, Object.assign({}, this.#options, log, without))
    this.#real = (instance as unknown as Record<string, RouteCache>)[this.#options.decorator ?? 'cache']!
  }

  /** Ahead of the plugin's own hook, which looks for it there. */
  #giveOption (route: RouteOptions): void {
    const option = this.routes.get((route.config as { [OURS]?: unknown } | undefined)?.[OURS])
    if (option === undefined) return
    const routeCache = this.#standIn === null ? option : toldTo(this.#standIn, route, option)
    route.config = Object.assign({}, route.config, { routeCache })
  }
}

/** Nest's own logger, where Fastify's is off, as the adapter has it by default. Lines of level `debug` are left out. */
function nestLog (): Log {
  const logger = new Logger('RouteCache')
  const text = (details: object, message: string): string => {
    const route: unknown = memberOf(details, 'route')
    const error: unknown = memberOf(details, 'err')
    const named = typeof route === 'string' && !message.includes(route) ? `${route}: ${message}` : message
    return error instanceof Error ? `${named}: ${error.message}` : named
  }
  return {
    debug: () => {},
    info: (details, message) => { logger.log(text(details, message)) },
    warn: (details, message) => { logger.warn(text(details, message)) },
    error: (details, message) => { logger.error(text(details, message)) }
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
      // A test's spy is an own one, and is asked about its calls.
      if (Object.hasOwn(cache, name)) return value
      return typeof value === 'function' && name !== 'constructor' ? value.bind(cache) : value
    },
    set: (_target, name, value) => {
      const cache = real()
      return cache !== null && Reflect.set(cache, name, value, cache)
    }
  })
}
