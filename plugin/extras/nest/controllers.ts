// What controllers say by our decorators becomes options of their routes, before Nest declares these: our method in place of
// the controller's, one more param for the request, and an interceptor around all others. What is wrong throws FRC_OPTION,
// naming class and method.
//
// Classes are the process', and many apps may have them. So what an app makes of a method is kept for that app, in
// `OwnOptions`, and the class only gets what is the same for all: our method, which the route's config names.
import { Req } from '@nestjs/common'
import { MetadataScanner, type ModulesContainer } from '@nestjs/core'
import { RouteCacheError, optionError } from '../../errors.js'
import { own as memberOf } from '../../key/key.js'
import { putBehindGuards } from '../../fastify/nest.js'
import { CACHED, INVALIDATES, lostDecorator } from './decorators.js'
import { aroundOthers, methodBehindLookup, originalOf, type Method } from './method.js'
import { NESTS, OURS, QUERY_PARAM, metadata, type AppConfig } from './nest-metadata.js'
import { cachedOption, paramsOf, unsaidBy, whereOf, writingOption, type Controller, type ControllerMethod } from './route-options.js'

/** The routes' options of one app, by our methods. */
export type OwnOptions = ReadonlyMap<unknown, object>

/** Prepares all controllers of the app. Throws where a decorator stands on what is no route. */
export function prepareControllers (modules: ModulesContainer, config: AppConfig): OwnOptions {
  const scanner = new MetadataScanner()
  const options = new Map<unknown, object>()
  for (const { controllers, providers } of modules.values()) {
    for (const wrapper of controllers.values()) {
      const { metatype } = wrapper
      const isScoped = !wrapper.isDependencyTreeStatic()
      if (typeof metatype === 'function') prepareController(metatype as Controller, { scanner, config, isScoped, options })
    }
    for (const { metatype } of providers.values()) {
      if (typeof metatype === 'function' && isClass(metatype)) refuseOnProvider(metatype as Controller, scanner)
    }
  }
  return options
}

function isClass (value: unknown): boolean {
  return typeof value === 'function' && typeof value.prototype === 'object' && value.prototype !== null
}

function placesOf (controller: Controller, scanner: MetadataScanner): ControllerMethod[] {
  const prototype = controller.prototype as Record<string, Method>
  return scanner.getAllMethodNames(prototype).map((name) => ({ controller, name, method: prototype[name]! }))
}

/** A resolver of GraphQL, a gateway, a service: nothing there is a route. */
function refuseOnProvider (provider: Controller, scanner: MetadataScanner): void {
  const isMarked = (target: object): boolean => [CACHED, INVALIDATES].some((key) => metadata.hasMetadata(key, target))
  const place = placesOf(provider, scanner).find((place) => isMarked(place.method) || lostOf(place) !== null)
  if (place !== undefined || isMarked(provider)) {
    throw new RouteCacheError('FRC_OPTION', `${place === undefined ? provider.name : whereOf(place)}: @Cached and @Invalidates are for methods of ` +
      'controllers, whose responses are cached; in a service or a resolver inject RouteCache, and cache values: getOrSet')
  }
}

/** `isScoped`: the controller, or something that it or its guards and interceptors are given, is made for each request. */
interface Preparing { scanner: MetadataScanner, config: AppConfig, isScoped: boolean, options: Map<unknown, object> }

function prepareController (controller: Controller, { scanner, config, isScoped, options }: Preparing): void {
  const ofClass = metadata.getMetadata(CACHED, controller)
  for (const place of placesOf(controller, scanner)) {
    const method = originalOf(place.method)
    refuseLost(place)
    const option = cachedOption(place, ofClass, config) ?? writingOption(place)
    if (option === null) continue
    if (!metadata.hasMetadata(NESTS.path, method)) {
      throw new RouteCacheError('FRC_OPTION', `${whereOf(place)}: it has @Cached or @Invalidates, and the method is no route: it lacks @Get, @Put or the like`)
    }
    const query = paramsOf(place).flatMap(({ type, data }) => type === QUERY_PARAM ? [typeof data === 'string' ? data : '*'] : [])
    const said = `${'invalidates' in option ? '@Invalidates' : '@Cached'} of ${whereOf(place)}`
    putBehindGuards(option, { place: said, unsaid: 'invalidates' in option ? null : unsaidBy(place, ofClass, { config, isScoped }), query })
    if (!('invalidates' in option)) refuseBesideNests(place, config)
    options.set(putInPlace(place), option)
    if (!('invalidates' in option)) putAround(place, config)
  }
}

/** Throws where a decorator of ours stands below one that puts a function of its own in the method's place. */
function refuseLost (place: ControllerMethod): void {
  const called = lostOf(place)
  if (called === null) return
  throw new RouteCacheError('FRC_OPTION', `${whereOf(place)}: ${called} has no effect, as a decorator above it puts a function of its own in the method's ` +
    `place, without the method's metadata: write ${called} above that one, between it and @Get, @Put or the like`)
}

function lostOf ({ controller, name, method }: ControllerMethod): ReturnType<typeof lostDecorator> {
  let prototype = controller.prototype as object
  while (!Object.hasOwn(prototype, name)) prototype = Object.getPrototypeOf(prototype) as object
  return lostDecorator(prototype, name, method)
}

/** Nest's CacheInterceptor answers ahead of the lookup, from values that no invalidation of ours ends. */
function refuseBesideNests ({ controller, name, method }: ControllerMethod, config: AppConfig): void {
  const lists = [config.getGlobalInterceptors(), config.getGlobalRequestInterceptors(),
    metadata.getMetadata(NESTS.interceptors, controller), metadata.getMetadata(NESTS.interceptors, originalOf(method))]
    .flatMap((list) => Array.isArray(list) ? list as unknown[] : [])
  if (!lists.some(isNests)) return
  throw new RouteCacheError('FRC_OPTION', `${whereOf({ controller, name })}: @Cached stands behind a CacheInterceptor, whose values no invalidation of this ` +
    'cache ends: leave one of the two out')
}

/** A class, an instance of one, or Nest's wrapper of one for each request; of Nest's class, or of one that extends it. */
function isNests (one: unknown): boolean {
  const metatype = typeof one === 'function' ? one : memberOf(one, 'metatype') ?? (one as object | null)?.constructor
  for (let kind = metatype; typeof kind === 'function' && kind !== Function.prototype; kind = Object.getPrototypeOf(kind)) {
    if (kind.name === 'CacheInterceptor') return true
  }
  return false
}

/** Our method on the controller's own prototype, with all that was said of the other one, and named by its config. */
function putInPlace ({ controller, name, method }: ControllerMethod): Method {
  const prototype = controller.prototype as object
  const original = originalOf(method)
  const given = metadata.getMetadata(NESTS.config, original)
  if (memberOf(given, 'routeCache') !== undefined) {
    throw optionError(whereOf({ controller, name }), '@RouteConfig', given, 'the method has @Cached or @Invalidates, too: leave routeCache out')
  }
  const isOurs = Object.hasOwn(prototype, name) && original !== method
  const ours = isOurs ? method : wrapped(controller, name, original)
  metadata.defineMetadata(NESTS.config, { ...given as object, [OURS]: ours }, ours)
  return ours
}

function wrapped (controller: Controller, name: string, original: Method): Method {
  const prototype = controller.prototype as object
  const at = Math.max(original.length, ...paramsOf({ controller, name, method: original }).map(({ index }) => index + 1))
  const headers = metadata.getMetadata(NESTS.headers, original) as ReadonlyArray<{ name: string }> | undefined
  const fields = [...new Set(headers?.map(({ name }) => name.toLowerCase()))]
  const ours = methodBehindLookup(original, { at, fields })
  for (const key of metadata.getMetadataKeys(original)) {
    metadata.defineMetadata(key, metadata.getMetadata(key, original), ours)
  }
  Object.defineProperty(prototype, name, { value: ours, writable: true, configurable: true, enumerable: false })
  Req()(prototype, name, at)
  return ours
}

/** Nest calls an app's interceptors first, then a class's, then a method's: ours becomes the first of all that there are. */
function putAround ({ controller, name }: ControllerMethod, config: AppConfig): void {
  const ofApp = config.getGlobalInterceptors()
  if (ofApp.length + config.getGlobalRequestInterceptors().length > 0) {
    if (!ofApp.includes(aroundOthers)) ofApp.unshift(aroundOthers)
    return
  }
  const method = (controller.prototype as Record<string, Method>)[name]!
  const ofClass = metadata.getMetadata(NESTS.interceptors, controller)
  const target = Array.isArray(ofClass) && ofClass.length > 0 ? controller : method
  const others = (metadata.getMetadata(NESTS.interceptors, target) ?? []) as unknown[]
  if (!others.includes(aroundOthers)) metadata.defineMetadata(NESTS.interceptors, [aroundOthers, ...others], target)
}
