// Wiring: options -> store -> cache -> onRoute -> decorate -> onClose.
import type { FastifyInstance, RouteOptions } from 'fastify'
import { randomBytes } from 'node:crypto'
import { ResponseCache } from '../cache/cache.js'
import {
  ARRIVAL, CHANGE, HEADERS, LISTENERS, MARKS, SOURCE, STATE, TICKET, TURN, exchangeOf, markFailed, markNoCache, markTags,
  outcomeOf, type Site
} from '../request/exchange.js'
import { awaitingChange, changingHandler, concludingHook } from '../writing/change.js'
import { compileDeclaration, withInvalidates } from '../writing/declaration.js'
import { KnownNames } from '../checks/names.js'
import { checkApp, type CheckedRoute, type CheckedWriter } from '../checks/start-checks.js'
import { notWorthCaching, Warnings, type Warning } from '../checks/warnings.js'
import { neverStored } from '../checks/refused-answers.js'
import { RouteCacheError, optionError } from '../errors.js'
import { channels, tell, HarmlessLog, Worth, type Instance, type Log, type WorthFigures } from '../telling/events.js'
import { givenOption, unreadConfig } from './route-option.js'
import { findClient } from './found-client.js'
import { openClient, type OwnClient, type RedisConnection } from './own-client.js'
import { Outage } from '../store/server/outage.js'
import { SITE, announceHook, arrivalHook, awaitingHandler, captureHook, guardedHandler, lookupHook, sourceHook } from './hooks.js'
import { SAFE_METHODS } from '../http/request.js'
import { own as memberOf, readPath } from '../key/key.js'
import { behindGuards, isNestHandler, isNestInstance, refuseUnderNest } from './nest.js'
import { notModified, askedAbout, type ResponseValidators } from '../request/revalidation.js'
import type { RouteCacheOptions } from '../options/options.js'
import { isUnsaid, warnOfUnsaid, withHook } from './own-hooks.js'
import { OwnRequests } from '../request/own-request.js'
import { place, printedRoutes } from './placement.js'
import { compilePolicy, type Policy } from '../route/policy.js'
import { RouteRules } from '../route/rules.js'
import { standBack } from '../send/reply.js'
import { rememberValidation } from '../request/validation.js'
import { RouteCache } from '../calls/route-cache.js'
import type { Engine } from '../request/hit.js'
import { readSettings, type Settings } from '../options/settings.js'
import { Stats, type Counters } from '../telling/stats.js'
import type { RefusalReason } from '../telling/outcome.js'
import { Keys } from '../store/keys.js'
import { MemoryStore } from '../store/memory/memory.js'
import { RedisStore } from '../store/redis/redis.js'
import { isDeafToFailovers, isRedisClient, type RedisClient } from '../store/server/redis-client.js'
import type { Store } from '../store/store.js'
import { invalidatesOfPath, withPathTag, type Gets } from '../writing/unsafe.js'
import { REPLY } from '../users/identity.js'

/** The property of an instance that holds our registrations and their parts: for tests. */
export const REGISTERED = Symbol('fastify-route-cache.registered')

export async function plugin (app: FastifyInstance, options: RouteCacheOptions): Promise<void> {
  const settings = readSettings(options)
  checkRoom(app, settings.decorator)
  warnOfEarlierRoutes(app)
  const instance: Instance = { cache: {}, prefix: settings.prefix }
  const log = new HarmlessLog(app.log)
  const { redis } = settings
  const made = redis === null || isRedisClient(redis) ? null : await openClient(redis as RedisConnection, log, settings.now)
  const client = made?.client ?? (redis as RedisClient | null) ?? findClient(app, settings.namespace)
  const opened = openedOr(made, () => openStore(app, client, { settings, instance }))
  const store = settings.store === null ? opened : settings.store(opened, settings)
  const stats = new Stats(store.kind, settings.now())
  const outage = new Outage(client)
  const describe = (error: unknown): string => outage.describe(error)
  const cache = new ResponseCache({ ...settings, store, stats, log, instance, describe })
  const own = new OwnRequests(cache, async (request) => await app.inject(request))

  app.decorate(REGISTERED, { cache, own })
  const caller = { counters: stats.values, log, source: { instance, route: null } }
  const checks = { names: new KnownNames(), warnings: new Warnings(settings.quiet) }
  instance.cache = new RouteCache(cache, { ...settings, cache, caller }, { requests: own, redis: client, ...checks })
  app.decorate(settings.decorator, instance.cache)
  app.decorateRequest(STATE, null)
  app.decorateRequest(MARKS, null)
  app.decorateRequest(ARRIVAL, null)
  app.decorateRequest(HEADERS, null)
  app.decorateRequest(SOURCE, null)
  app.decorateRequest(TICKET, null)
  app.decorateRequest(CHANGE, null)
  app.decorateRequest(TURN, null)
  app.decorateRequest(LISTENERS, null)
  app.decorateRequest(REPLY, null)
  app.decorateRequest('cacheOutcome', { getter () { return outcomeOf(this) } })
  app.decorateRequest('cacheValidators', { getter () { return askedAbout(exchangeOf(this)) } })
  app.decorateReply('notModified', function (validators: ResponseValidators) { return notModified(this, validators, cache.now()) })
  app.decorateReply('noCache', function () {
    markNoCache(this.request)
    return this
  })
  app.decorateReply('cacheTags', function (...tags: string[]) {
    markTags(this.request, tags)
    checks.names.had({ keys: [], tags })
    return this
  })
  const engine: Engine = { cache, own, signals: settings, mayRefresh: false }
  const caching = cachingOf({ engine, stats, instance, log, ...checks }, settings)
  app.addHook('onRoute', caching.onRoute)
  app.addHook('onRequest', arrivalHook(engine))
  app.addHook('onError', async (request, reply, error) => {
    markFailed(request, error)
    standBack(reply, outcomeOf(request))
    if (exchangeOf(request)?.isNarrowed === true) reply.code(200).removeHeader('content-range')
  })
  app.addHook('onSend', captureHook(cache, settings))
  app.addHook('onReady', async () => {
    if (caching.isNest() || isNestInstance(app.initialConfig)) refuseUnderNest(caching.sites.values())
    place(app, caching.sites)
    warnOfUnsaid(app.log, caching.unsaid)
    lookForMistakes(app, caching, { ...checks, log, isInProcess: client === null })
    // This request is never made. It has Fastify load its code for requests of our own: no client is to wait 20 ms for that.
    if (engine.mayRefresh) app.inject({ url: '/', autoStart: false })
    await cache.connect()
  })
  app.addHook('onClose', async () => {
    await cache.close()
    own.close()
    outage.close()
    made?.close()
  })
}

/** Attaches the hooks to each route with a `cache` option; the HEAD route that Fastify adds has its GET's option. */
function cachingOf ({ engine, stats, instance, log, names, warnings }: CachingParts, settings: Settings): Caching {
  const { cache } = engine
  const { shelf: { limits } } = cache
  const rules = new RouteRules(settings.routes)
  const worthOf = (route: string): Worth => {
    const onLoss = (figures: WorthFigures): void => { warnings.say(log, notWorthCaching(route, figures)) }
    return new Worth(onLoss, settings.random, warnings.hears('not-worth-caching'))
  }
  const owners = new Map<string, string>()
  const sites = new Map<string, Site>()
  const unsaid: string[] = []
  const gets: Gets = new Map()
  const declared: Caching['declared'] = { routes: [], writers: [], misplaced: [], unread: [] }
  const registration = randomBytes(8).toString('hex')
  const sayNeverStored = (route: string, counters: Counters, reason: RefusalReason): void => {
    const found = warnings.hears('never-stored') ? neverStored(route, counters, reason) : null
    if (found !== null) warnings.say(log, found)
  }
  let isNest = false
  return {
    sites,
    unsaid,
    declared,
    unused: () => rules.unused,
    isNest: () => isNest,
    onRoute: function (route) {
      const given = givenOption(route)
      const behind = behindGuards(given.option)
      isNest ||= behind !== null || isNestHandler(route.handler)
      const ruled = rules.ruleOf(route, given.option)
      const option = ruled === null ? given.option : ruled.cache
      const place = ruled !== null ? `the plugin's option ${ruled.place}` : given.isInConfig ? 'its config.routeCache' : null
      const isOff = option === undefined || option === false
      const own = isOff ? null : compiledBy(place, () => compileDeclaration(route, option))
      const where = `${[route.method].flat().join(',')} ${route.url}`
      if (own?.named != null) declared.writers.push({ route: where, ...own.named })
      if (own === null && isUnsafe(route.method) && 'invalidates' in route) declared.misplaced.push(where)
      const unread = route.method === 'HEAD' ? null : unreadConfig(route)
      if (unread !== null) declared.unread.push(unread)
      const isByPath = settings.invalidateUnsafe && isUnsafe(route.method)
      const declaration = isByPath ? withInvalidates(own, route, invalidatesOfPath(gets, route)) : own
      if (declaration !== null) {
        if (isByPath) route.onRequest = withHook(route.onRequest, sourceHook)
        route.onSend = withHook(route.onSend, concludingHook(cache, declaration, settings))
        const changing = own !== null && behind !== null ? awaitingChange : changingHandler
        route.handler = changing(cache, declaration, route.handler)
      }
      if (own !== null || isOff) return
      const compiled = compiledBy(place, () => compilePolicy(route, option, settings))
      limits.maxBodyBytes = Math.max(limits.maxBodyBytes, compiled.maxBodyBytes)
      const noted = { route, compiler: () => this.validatorCompiler }
      const policy = settings.invalidateUnsafe ? withPathTag(gets, compiled, noted) : compiled
      engine.mayRefresh ||= policy.isRefreshed
      // Fastify makes two HEAD routes of one GET on "/" under a prefix: only GETs own their keys.
      if (route.method !== 'HEAD') {
        mustOwnItsKeys(owners, policy)
        if (isUnsaid(route, policy, behind?.hasGuards === true)) unsaid.push(policy.route)
        if (policy.doubt !== null) this.log.warn(policy.doubt)
        const hasDefaultKey = memberOf(option, 'key') === undefined
        names.add({ route: policy.route, key: policy.pattern, tags: policy.tagPatterns, hasDefaultKey })
        declared.routes.push(checkedRoute(route, policy, behind?.query))
      }
      const counters = stats.route(policy.route)
      const site: Site = {
        policy,
        counters,
        source: { instance, route: policy.route },
        worth: worthOf(policy.route),
        place: 'handler',
        isAwaited: behind !== null,
        hasOthersOnSend: true,
        isFirstOnSend: false,
        isLastOnSend: false,
        validated: null,
        isPostponed: false,
        isNarrowedAhead: false,
        looksAtRequest: ['key', 'tags'].some((name) => typeof memberOf(option, name) === 'function'),
        hint: { members: policy.needs },
        onRefused: (reason) => { sayNeverStored(policy.route, counters, reason) },
        isExplained: false,
        isTooLate: false
      }
      // Unlike any other registration's in this app.
      const name = `routeCacheLookup-${registration}-${sites.size + 1}`
      sites.set(name, site)
      route.config = Object.assign({}, route.config, { [SITE]: site })
      route.onRequest = withHook(route.onRequest, lookupHook(engine, site, name))
      route.onSend = withHook(route.onSend, announceHook(cache, site, settings))
      route.handler = (site.isAwaited ? awaitingHandler : guardedHandler)(engine, site, route.handler)
      if (policy.hook === 'onRequest') rememberValidation(route, () => this.validatorCompiler)
    }
  }
}

interface Checks { names: KnownNames, warnings: Warnings, log: Log, isInProcess: boolean }

/** A mistake that can't be looked for, by a getter that throws for example, keeps no app from starting. */
function lookForMistakes (app: object, { declared, unused }: Caching, { names, warnings, log, isInProcess }: Checks): void {
  try {
    const found = checkApp({ ...declared, unused: unused(), names }, (check) => warnings.hears(check))
    for (const warning of found) warnings.say(log, warning)
    const late = isInProcess ? lateClient(app) : null
    if (late !== null) warnings.say(log, late)
  } catch (error) {
    log.debug({ err: error }, 'the checks for likely mistakes were not made to their end')
  }
}

/** `place`: where the route's options stand; null: in its option `cache`. An error says it. */
function compiledBy<T> (place: string | null, compile: () => T): T {
  try {
    return compile()
  } catch (error) {
    if (place === null || !(error instanceof RouteCacheError)) throw error
    throw new RouteCacheError(error.code, `${error.message} (${place} gives this route its options)`)
  }
}

/** `taken`: the query values that its handler takes, besides those that its schema declares. */
function checkedRoute ({ url, schema }: RouteOptions, policy: Policy, taken: readonly string[] = []): CheckedRoute {
  const { route, pattern: key, queryInKey, ignoresQuery: ignores } = policy
  return { route, path: readPath(url).shape, key, queryInKey, ignores, schema, taken }
}

/** The plugin is loaded ahead of @fastify/redis, as @fastify/autoload does with `cache.js` and `redis.js`. */
function lateClient (app: object): Warning | null {
  const { redis } = app as { redis?: unknown }
  const isFound = [redis, ...Object.values(redis ?? {})].some(isRedisClient)
  if (!isFound) return null
  return {
    check: 'late-redis',
    route: null,
    message: 'fastify.redis was registered after this plugin, so responses are cached in this process only, and an invalidation reaches no ' +
      'other process; register @fastify/redis first (with fastify-plugin: dependencies: ["@fastify/redis"]), or give this plugin its client: { redis }'
  }
}

/** RFC 9110 §9.2.1: a method that is not defined as safe. */
function isUnsafe (method: string | string[]): boolean {
  return [method].flat().some((one) => !SAFE_METHODS.includes(one))
}

interface CachingParts { engine: Engine, stats: Stats, instance: Instance, log: Log, names: KnownNames, warnings: Warnings }

interface Caching {
  sites: ReadonlyMap<string, Site>
  /** Routes whose policy does not say for whom their responses are, though they have hooks of their own. */
  unsaid: readonly string[]
  /** As they were declared, for the checks. */
  declared: { routes: CheckedRoute[], writers: CheckedWriter[], misplaced: string[], unread: Warning[] }
  /** Paths of the option `routes` that no route has. */
  unused: () => readonly string[]
  /** Whether a handler of Nest's is among the routes, cached or not. */
  isNest: () => boolean
  onRoute: (this: FastifyInstance, route: RouteOptions) => void
}

/** Throws FRC_KEY_TAKEN where another route makes the same keys. */
function mustOwnItsKeys (owners: Map<string, string>, { shape, route }: Policy): void {
  if (shape === null) return
  const owner = owners.get(shape) ?? route
  if (owner !== route) {
    throw new RouteCacheError('FRC_KEY_TAKEN', `route ${route}: its key template makes the same keys as that of ` +
      `${owner}, so each would serve the other's responses; give one of them another key`)
  }
  owners.set(shape, owner)
}

/** A client of the plugin's own must not outlive a start that fails. */
function openedOr (made: OwnClient | null, open: () => Store): Store {
  try {
    return open()
  } catch (error) {
    made?.close()
    throw error
  }
}

interface StoreParts { settings: Settings, instance: Instance }

function openStore (app: FastifyInstance, client: RedisClient | null, { settings, instance }: StoreParts): Store {
  if (client === null) {
    if (settings.memory !== null) {
      throw optionError('fastify-route-cache', 'memory', settings.memory, 'it is a tier in front of Redis, and no Redis client was ' +
        'given or found: without one, entries live in this process anyway (maxStoreBytes), so leave it out')
    }
    app.log.info('fastify-route-cache: no Redis client given or found, so responses are cached in this process only')
    return new MemoryStore({ maxBytes: settings.maxStoreBytes, now: settings.now })
  }
  if (isDeafToFailovers(client)) {
    app.log.warn('fastify-route-cache: the Redis client finds its primary by sentinels, without failoverDetector: true. It stays with a ' +
      'primary that was replaced until that is made a replica, and invalidations that it confirms reach others only then')
  }
  const complain = (error: unknown): void => {
    new HarmlessLog(app.log).warn({ err: error }, 'the cache serves nothing from this process, as Redis does not tell what changes; it tries again')
  }
  const onDrop = (): void => {
    if (channels.tier.hasSubscribers) tell('tier', instance, { state: 'dropped' })
  }
  return new RedisStore({ ...settings, client, keys: new Keys(settings.prefix), complain, onDrop })
}

function checkRoom (app: FastifyInstance, decorator: string): void {
  if (app.hasDecorator(REGISTERED)) {
    throw new RouteCacheError('FRC_DECORATOR_TAKEN', 'fastify-route-cache is registered here already, or in an enclosing context: ' +
      'its hooks would run twice')
  }
  if (app.hasDecorator(decorator)) {
    throw new RouteCacheError('FRC_DECORATOR_TAKEN', `fastify.${decorator} is taken, usually by @fastify/caching; register ` +
      'fastify-route-cache with { decorator: \'routeCache\' } or another name that is free')
  }
}

/** Fastify tells of a route when it is declared, so not of those that were there before. */
function warnOfEarlierRoutes (app: FastifyInstance): void {
  const routes = printedRoutes(app)
  if (routes === null) return
  app.log.warn({ routes }, 'fastify-route-cache: these routes were declared before the plugin was loaded; a cache option on ' +
    'them has no effect. Write: await app.register(routeCache), and declare routes after it')
}
