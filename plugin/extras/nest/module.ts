// The module: registers the plugin on the Fastify instance below Nest, prepares the controllers, and gives `RouteCache` to
// whoever injects it.
//
// Nest makes providers before `main.ts` goes on, so the plugin's hooks are there before those of plugins that `main.ts`
// registers. An app of a test module gets its adapter later: there the plugin is registered when the app starts. An app
// without HTTP (a microservice, a worker) has no adapter at all: it gets a Fastify instance that never listens.
import { Inject, Module, Optional, type DynamicModule, type FactoryProvider, type ModuleMetadata, type NestModule } from '@nestjs/common'
import type { OnApplicationShutdown, OnModuleInit } from '@nestjs/common'
import { ExternalContextCreator, HttpAdapterHost, ModulesContainer } from '@nestjs/core'
import type { RouteCacheOptions } from '../../options/options.js'
import { RouteCache } from '../../calls/route-cache.js'
import { RouteCacheError } from '../../errors.js'
import { prepareControllers } from './controllers.js'
import type { AppConfig } from './nest-metadata.js'
import { Registration } from './registration.js'

/**
 * The token of the plugin's options. A test module puts others in their place:
 * `overrideProvider(ROUTE_CACHE_OPTIONS).useValue({ enabled: false })`.
 */
export const ROUTE_CACHE_OPTIONS: unique symbol = Symbol('fastify-route-cache.options')

/** How `forRootAsync` comes to the plugin's options. */
export interface RouteCacheModuleAsyncOptions {
  /** Modules whose providers the factory needs. */
  imports?: NonNullable<ModuleMetadata['imports']> | undefined
  /** The providers that the factory is called with. */
  inject?: NonNullable<FactoryProvider['inject']> | undefined
  /** Gives the plugin's options. */
  useFactory: (...injected: any[]) => RouteCacheOptions | Promise<RouteCacheOptions>
}

/**
 * Imported once, in the app's root module: `RouteCacheModule.forRoot({ redis: { url }, prefix: 'shop' })`. Then `@Cached`
 * and `@Invalidates` work on all controllers, and `RouteCache` can be injected everywhere. An app without HTTP, such as a
 * microservice, has only the latter. The app fails to start on Nest's Express adapter, and where options are wrong
 * (FRC_OPTION).
 */
@Module({})
export class RouteCacheModule implements NestModule, OnModuleInit, OnApplicationShutdown {
  readonly #registration: Registration
  readonly #modules: ModulesContainer
  readonly #config: AppConfig

  /** Called by Nest. */
  constructor (
    @Optional() @Inject(Registration) registration: Registration | undefined,
    @Optional() @Inject(RouteCache) cache: object | undefined,
    @Inject(ModulesContainer) modules: ModulesContainer,
    @Inject(ExternalContextCreator) creator: ExternalContextCreator
  ) {
    if (registration === undefined) {
      throw new RouteCacheError('FRC_OPTION', 'RouteCacheModule is imported without its options: write RouteCacheModule.forRoot({ ... }), once, in the ' +
        'root module; other modules inject RouteCache without importing it')
    }
    if (cache !== undefined && cache !== registration.cache) registration.standIn(cache)
    this.#registration = registration
    this.#modules = modules
    this.#config = configOf(creator)
  }

  /** `options`: the plugin's. Give it `redis` here: plugins of `main.ts`, such as @fastify/redis, come later. */
  static forRoot (options: RouteCacheOptions = {}): DynamicModule {
    return RouteCacheModule.forRootAsync({ useFactory: () => options })
  }

  /** The same with options that other providers know, such as a ConfigService. */
  static forRootAsync ({ imports = [], inject = [], useFactory }: RouteCacheModuleAsyncOptions): DynamicModule {
    if (typeof useFactory !== 'function') {
      throw new RouteCacheError('FRC_OPTION', 'RouteCacheModule.forRootAsync takes useFactory, with inject and imports, and nothing like useClass')
    }
    return {
      module: RouteCacheModule,
      global: true,
      imports,
      providers: [
        { provide: ROUTE_CACHE_OPTIONS, inject, useFactory },
        { provide: Registration, inject: [HttpAdapterHost, ROUTE_CACHE_OPTIONS], useFactory: registered },
        { provide: RouteCache, inject: [Registration], useFactory: (registration: Registration) => registration.cache }
      ],
      exports: [RouteCache]
    }
  }

  /** Called by Nest when the app starts, before it declares routes. */
  async configure (): Promise<void> {
    await this.#registration.onAdapter()
    this.#registration.routes = prepareControllers(this.#modules, this.#config)
  }

  /** Called by Nest, with or without HTTP. */
  async onModuleInit (): Promise<void> {
    await this.#registration.alone()
  }

  /** Called by Nest. */
  async onApplicationShutdown (): Promise<void> {
    await this.#registration.close()
  }
}

async function registered (host: HttpAdapterHost, options: RouteCacheOptions): Promise<Registration> {
  const registration = new Registration(host, options)
  await registration.onAdapter()
  return registration
}

/** Nest does not offer what it knows of all routes: global guards, interceptors, versioning. */
function configOf (creator: object): AppConfig {
  const { config } = (creator as { interceptorsContextCreator?: { config?: AppConfig } }).interceptorsContextCreator ?? {}
  const isKnown = (['getGlobalInterceptors', 'getGlobalRequestInterceptors', 'getGlobalGuards', 'getGlobalRequestGuards', 'getVersioning'] as const)
    .every((name) => typeof config?.[name] === 'function')
  if (isKnown) return config!
  throw new RouteCacheError('FRC_OPTION', 'fastify-route-cache/nest knows Nest 11 and 12, and this is another version, whose guards it can\'t ' +
    'be sure of')
}
