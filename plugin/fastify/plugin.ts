// Wiring: options -> store -> cache -> onRoute -> decorate -> onClose.
import type { FastifyInstance, RouteOptions } from 'fastify'
import { randomBytes } from 'node:crypto'
import { assemble, ownClientOf } from '../assembly/assembly.js'
import {
  ARRIVAL, CHANGE, HEADERS, LISTENERS, MARKS, SOURCE, STATE, TICKET, TURN, exchangeOf, markFailed, markNoCache, markTags,
  outcomeOf, type Site
} from '../request/exchange.js'
import { awaitingChange, changingHandler, concludingHook } from '../writing/change.js'
import { compileDeclaration, withInvalidates } from '../writing/declaration.js'
import { KnownNames } from '../checks/names.js'
import { UnnoticedWrites } from '../checks/unnoticed-writes.js'
import { pairsOf, type UnsafeRoute } from '../checks/unsafe-routes.js'
import { checkApp, type CheckedRoute, type CheckedWriter } from '../checks/start-checks.js'
import { notWorthCaching, Warnings, type Warning } from '../checks/warnings.js'
import { neverStored } from '../checks/refused-answers.js'
import { toMilliseconds, type Milliseconds } from '../duration.js'
import { RouteCacheError, optionError } from '../errors.js'
import { STAND_IN, speakThrough, Worth, type Instance, type Log, type WorthFigures } from '../telling/events.js'
import { givenOption, unreadConfig } from './route-option.js'
import { findClient } from './found-client.js'
import { SITE, announceHook, arrivalHook, awaitingHandler, captureHook, guardedHandler, lookupHook, sourceHook, turnHook } from './hooks.js'
import { SAFE_METHODS } from '../http/request.js'
import { canonicalName, own as memberOf, readPath } from '../key/key.js'
import { behindGuards, isNestHandler, isNestInstance, refuseUnderNest, refuseUnknownNames, refuseUnread, unsaidUsers } from './nest.js'
import { notModified, askedAbout, type ResponseValidators } from '../request/revalidation.js'
import type { RouteCacheOptions } from '../options/options.js'
import { isUnsaid, warnOfUnsaid, withHook } from './own-hooks.js'
import { OwnRequests } from '../request/own-request.js'
import { place, printedRoutes } from './placement.js'
import { compilePolicy, type Policy } from '../route/policy.js'
import { RouteRules } from '../route/rules.js'
import { standBack } from '../send/reply.js'
import { SurrogateKeys } from '../send/surrogate-keys.js'
import { rememberValidation } from '../request/validation.js'
import { RouteCache } from '../calls/route-cache.js'
import type { Engine } from '../request/hit.js'
import { readSettings, type Settings } from '../options/settings.js'
import type { Counters, Stats } from '../telling/stats.js'
import type { RefusalReason } from '../telling/outcome.js'
import { MemoryStore } from '../store/memory/memory.js'
import { isClient } from '../store/server/clients.js'
import type { Store } from '../store/store.js'
import { invalidatesOfPath, withPathTag, type Gets } from '../writing/unsafe.js'
import { REPLY } from '../users/identity.js'

/** The property of an instance that holds our registrations and their parts: for tests. */
export const REGISTERED = Symbol('fastify-route-cache.registered')

export async function plugin (app: FastifyInstance, options: RouteCacheOptions): Promise<void> {
  const settings = readSettings(options)
  const { [STAND_IN]: standIn = null } = options as { [STAND_IN]?: Log }
  const ownLog = standIn ?? app.log
  checkRoom(app, settings.decorator)
  warnOfEarlierRoutes(app)
  const checks = { names: new KnownNames(), warnings: new Warnings(settings.quiet) }
  const writes = new UnnoticedWrites((warning) => { checks.warnings.say(assembled.log, warning) })
  const making = ownClientOf(settings, ownLog, 'requests go to their handlers')
  const assembled = assemble(settings, {
    log: ownLog,
    made: making === null ? null : await making,
    find: () => findClient(app, settings.namespace),
    inProcess: () => openMemory(ownLog, settings),
    onInvalidation: (targets) => { if (writes.isOn) writes.invalidated(targets) }
  })
  const { cache, values, stats, log, instance, client, end } = assembled
  const own = new OwnRequests(cache, async (request) => await app.inject(request))

  if (standIn !== null) speakThrough(cache, standIn)
  app.decorate(REGISTERED, { cache, own })
  instance.cache = new RouteCache(cache, values, { requests: own, redis: client, ...checks })
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
  const caching = cachingOf({ engine, stats, instance, log, standIn, ...checks }, settings)
  app.addHook('onRoute', caching.onRoute)
  app.addHook('onRequest', arrivalHook(engine, writes))
  app.addHook('onError', async (request, reply, error) => {
    markFailed(request, error)
    standBack(reply, outcomeOf(request))
    if (exchangeOf(request)?.isNarrowed === true) reply.code(200).removeHeader('content-range')
  })
  app.addHook('onSend', captureHook(cache, settings))
  app.addHook('onReady', async () => {
    if (caching.isNest() || isNestInstance(app.initialConfig)) refuseUnderNest(caching.sites.values())
    place(app, caching.sites)
    warnOfUnsaid(log, caching.unsaid)
    const unsaid = unsaidUsers(caching.unsaidOfNest)
    if (unsaid !== null) checks.warnings.say(log, unsaid)
    lookForMistakes(app, caching, { ...checks, writes, log, isInProcess: client === null })
    // This request is never made. It has Fastify load its code for requests of our own: no client is to wait 20 ms for that.
    if (engine.mayRefresh) app.inject({ url: '/', autoStart: false })
    await cache.connect()
  })
  app.addHook('onClose', async () => {
    await cache.close()
    own.close()
    end()
  })
}

/** Attaches the hooks to each route with a `cache` option; the HEAD route that Fastify adds has its GET's option. */
function cachingOf ({ engine, stats, instance, log, standIn, names, warnings }: CachingParts, settings: Settings): Caching {
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
  const unsaidOfNest = new Map<string, string>()
  const gets: Gets = new Map()
  const declared: Caching['declared'] = { routes: [], writers: [], unsafe: [], misplaced: [], unread: [] }
  const registration = randomBytes(8).toString('hex')
  const sayNeverStored = (route: string, counters: Counters, reason: RefusalReason): void => {
    const found = warnings.hears('never-stored') ? neverStored(route, counters, reason) : null
    if (found !== null) warnings.say(log, found)
  }
  let isNest = false
  return {
    sites,
    unsaid,
    unsaidOfNest,
    declared,
    unused: () => rules.unused,
    isNest: () => isNest,
    onRoute: function (route) {
      const given = givenOption(route)
      const behind = behindGuards(given.option)
      isNest ||= behind !== null || isNestHandler(route.handler)
      const ruled = rules.ruleOf(route, given.option)
      const option = ruled === null ? given.option : ruled.cache
      const place = ruled !== null ? `the plugin's option ${ruled.place}` : behind?.place ?? (given.isInConfig ? 'its config.routeCache' : null)
      const isOff = option === undefined || option === false
      const where = `${[route.method].flat().join(',')} ${route.url}`
      const own = isOff ? null : compiledBy(place, () => compileDeclaration(route, option))
      if (own !== null && behind !== null) own.place = `${behind.place}, ${where}`
      if (behind === null) refuseUnread(where, route)
      else if (route.method !== 'HEAD') warnings.nest.add(where, behind.place.replace(/^.* of /, ''))
      if (own?.named != null && behind !== null) refuseUnknownNames(where, own.named, readPath(route.url).params)
      if (own?.named != null) declared.writers.push({ route: where, ...own.named })
      const unread = route.method === 'HEAD' ? null : unreadConfig(route)
      if (unread !== null) declared.unread.push(unread)
      const isByPath = settings.invalidateUnsafe && isUnsafe(route.method)
      if (own === null && isUnsafe(route.method) && 'invalidates' in route) declared.misplaced.push(where)
      else if (option !== false && isUnsafe(route.method)) declared.unsafe.push(unsafeRoute(route, own !== null || isByPath))
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
        if (isUnsaid(route, policy)) unsaid.push(policy.route)
        if (behind !== null && behind.unsaid !== null) unsaidOfNest.set(policy.route, behind.unsaid)
        if (policy.doubt !== null) log.warn({ route: policy.route }, policy.doubt)
        const hasDefaultKey = memberOf(option, 'key') === undefined
        names.add({ route: policy.route, key: policy.pattern, tags: policy.tagPatterns, hasDefaultKey })
        declared.routes.push({ ...checkedRoute(route, policy, settings.ttl), taken: behind?.query ?? [] })
      }
      const counters = stats.route(policy.route)
      const site: Site = {
        policy,
        counters,
        log: standIn,
        source: { instance, route: policy.route },
        worth: worthOf(policy.route),
        missesInARow: 0,
        place: 'handler',
        isAwaited: behind !== null,
        surrogates: SurrogateKeys.of(policy, instance.prefix),
        isUnsaid: behind !== null && behind.unsaid !== null,
        hasOthersOnSend: true,
        isFirstOnSend: false,
        isLastOnSend: false,
        validated: null,
        isPostponed: false,
        isNarrowedAhead: false,
        looksAtRequest: ['key', 'tags'].some((name) => typeof memberOf(option, name) === 'function'),
        looksAtReply: ['ttl', 'storeIf'].some((name) => typeof memberOf(option, name) === 'function'),
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
      if (site.isAwaited) route.onResponse = withHook(route.onResponse, turnHook)
      route.handler = (site.isAwaited ? awaitingHandler : guardedHandler)(engine, site, route.handler)
      if (policy.hook === 'onRequest') rememberValidation(route, () => this.validatorCompiler)
    }
  }
}

interface Checks { names: KnownNames, warnings: Warnings, log: Log, writes: UnnoticedWrites, isInProcess: boolean }

/** A mistake that can't be looked for, by a getter that throws for example, keeps no app from starting. */
function lookForMistakes (app: FastifyInstance, { declared, unused }: Caching, checks: Checks): void {
  const { names, warnings, writes, log, isInProcess } = checks
  try {
    const found = checkApp({ ...declared, unused: unused(), names }, (check) => warnings.hears(check))
    for (const warning of found) warnings.say(log, warning)
    const late = isInProcess ? lateClient(app) : null
    if (late !== null) warnings.say(log, late)
    // The database itself tells what was written.
    if (app.hasDecorator('postgresInvalidation')) return
    writes.watch(pairsOf(declared.unsafe, declared.routes).filter(({ check }) => warnings.hears(check)))
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

function checkedRoute ({ url, schema, constraints }: RouteOptions, policy: Policy, defaultTtl: Milliseconds): Omit<CheckedRoute, 'taken'> {
  const { route, pattern: key, tagPatterns: tags, queryInKey, ignoresQuery: ignores, written } = policy
  const ttl = memberOf(written, 'ttl')
  const life = ttl === undefined ? defaultTtl : toMilliseconds(ttl) ?? null
  const notFound = toMilliseconds(memberOf(memberOf(written, 'statuses'), '404')) ?? null
  return { ...placeOf({ url, constraints }), route, key, tags, ttl: life, notFound, queryInKey, ignores, schema }
}

/** Two routes of one place are for the same URLs. */
function placeOf ({ url, constraints }: { url: string, constraints: unknown }): { path: string, constraints: string } {
  return { path: readPath(url).shape, constraints: canonicalName({ url: '', constraints }) }
}

function unsafeRoute ({ method, url, constraints }: RouteOptions, isDeclared: boolean): UnsafeRoute {
  const methods = [method].flat()
  const route = `${methods.join(',')} ${url}`
  return { ...placeOf({ url, constraints }), route, methods, url, params: readPath(url).params, isDeclared }
}

/**
 * The plugin is loaded ahead of @fastify/redis, as @fastify/autoload does with `cache.js` and `redis.js`. To go over to its
 * client now would not be safe. By now plugins may have invalidated what other processes have in that Redis, and were told
 * that it is done. The parts were built for this process' own store: deadlines, statistics, who is told again after a
 * failover. And Fastify closes in reverse order: that client would be closed first, and the last fills and invalidations
 * would not reach Redis.
 */
function lateClient (app: object): Warning | null {
  const { redis } = app as { redis?: unknown }
  const isFound = [redis, ...Object.values(redis ?? {})].some(isClient)
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

interface CachingParts {
  engine: Engine
  stats: Stats
  instance: Instance
  log: Log
  /** Where requests write; null: each to its own log. */
  standIn: Log | null
  names: KnownNames
  warnings: Warnings
}

interface Caching {
  sites: ReadonlyMap<string, Site>
  /** Routes whose policy does not say for whom their responses are, though they have hooks of their own. */
  unsaid: readonly string[]
  /** Those of Nest's, with the reason in words. */
  unsaidOfNest: ReadonlyMap<string, string>
  /** As they were declared, for the checks. */
  declared: {
    routes: CheckedRoute[]
    writers: CheckedWriter[]
    unsafe: UnsafeRoute[]
    misplaced: string[]
    unread: Warning[]
  }
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

function openMemory (log: Pick<Log, 'info'>, { memory, maxStoreBytes, now }: Settings): Store {
  if (memory !== null) {
    throw optionError('fastify-route-cache', 'memory', memory, 'it is a tier in front of Redis, and no Redis client was ' +
      'given or found: without one, entries live in this process anyway (maxStoreBytes), so leave it out')
  }
  log.info({}, 'fastify-route-cache: no Redis client given or found, so responses are cached in this process only')
  return new MemoryStore({ maxBytes: maxStoreBytes, now })
}

function checkRoom (app: FastifyInstance, decorator: string): void {
  const isNest = isNestInstance(app.initialConfig)
  if (app.hasDecorator(REGISTERED)) {
    throw new RouteCacheError('FRC_DECORATOR_TAKEN', 'fastify-route-cache is registered here already, or in an enclosing context: ' +
      `its hooks would run twice${isNest ? '. RouteCacheModule registers it, so leave the registration in main.ts out' : ''}`)
  }
  if (app.hasDecorator(decorator)) {
    throw new RouteCacheError('FRC_DECORATOR_TAKEN', `fastify.${decorator} is taken, usually by @fastify/caching; ` +
      `${isNest ? 'write RouteCacheModule.forRoot(' : 'register fastify-route-cache with '}{ decorator: 'routeCache' }${isNest ? ')' : ''} or another name ` +
      'that is free')
  }
}

/** Fastify tells of a route when it is declared, so not of those that were there before. */
function warnOfEarlierRoutes (app: FastifyInstance): void {
  const routes = printedRoutes(app)
  if (routes === null) return
  app.log.warn({ routes }, 'fastify-route-cache: these routes were declared before the plugin was loaded; a cache option on ' +
    'them has no effect. Write: await app.register(routeCache), and declare routes after it')
}
