// The options of a controller's route, from what our decorators noted on the method and its class.
import { RequestMethod } from '@nestjs/common'
import { RouteCacheError, optionError } from '../../errors.js'
import { own as memberOf } from '../../key/key.js'
import { isObject } from '../../options/reader.js'
import { CACHED, INVALIDATES } from './decorators.js'
import { originalOf, type Method } from './method.js'
import { ALL, BY, GET, HEADER_PARAM, NESTS, OF_THE_CLIENT, metadata, type AppConfig } from './nest-metadata.js'

export type Controller = new (...args: never[]) => object

/** A method of a class. */
export interface ControllerMethod { controller: Controller, name: string, method: Method }

export function whereOf ({ controller, name }: Pick<ControllerMethod, 'controller' | 'name'>): string {
  return `${controller.name}.${name}`
}

/** The policy of a cached route; null: the method is none. */
export function cachedOption (place: ControllerMethod, ofClass: unknown, config: AppConfig): object | null {
  const method = originalOf(place.method)
  const own = metadata.getMetadata(CACHED, method)
  const isRoute = metadata.getMetadata(NESTS.method, method) === GET && !metadata.hasMetadata(NESTS.events, method)
  if (own === undefined && !isRoute) return null
  if ((own ?? ofClass ?? false) === false) return null
  const parts = [ofClass, own].filter((part) => part !== undefined && typeof part !== 'boolean')
  for (const part of parts) checkOption(place, part)
  const verb = metadata.getMetadata(NESTS.method, method)
  if (verb !== undefined && verb !== GET) {
    throw new RouteCacheError('FRC_OPTION', `${whereOf(place)}: @Cached stands beside ${verbOf(verb)}; only methods with @Get can be cached, whose HEAD is ` +
      'answered, too; for one that changes something write @Invalidates')
  }
  if (metadata.hasMetadata(NESTS.events, method)) {
    throw new RouteCacheError('FRC_OPTION', `${whereOf(place)}: @Cached stands beside @Sse; a stream of events has no end, so it can't be cached`)
  }
  if (metadata.hasMetadata(INVALIDATES, method)) {
    throw new RouteCacheError('FRC_OPTION', `${whereOf(place)}: @Invalidates has no effect, as the method is cached: a hit does not run it. Write @Invalidates ` +
      'on a method that changes something, with @Post, @Put, @Patch or @Delete; or @Cached(false) beside it')
  }
  return withSelecting(place, added(place, parts as object[]), config)
}

/** The later parts count before the earlier ones; tags are of all of them. */
function added (place: ControllerMethod, parts: readonly object[]): object {
  const tags = parts.map((part) => memberOf(part, 'tags')).filter((tags) => tags !== undefined)
  const option = Object.assign({}, ...parts) as object
  // What is no list and no function is refused with the route's other options.
  if (tags.length < 2 || !tags.every((tags) => Array.isArray(tags) || typeof tags === 'function')) return option
  const written = tags.filter((tags) => Array.isArray(tags)).flat() as unknown[]
  const functions = tags.filter((tags) => typeof tags === 'function') as Array<(request: unknown) => unknown>
  if (functions.length === 0) return { ...option, tags: [...new Set(written)] }
  const template = written.find((tag) => typeof tag !== 'string' || /[{}]/.test(tag))
  if (template !== undefined) {
    throw optionError(whereOf(place), '@Cached.tags', written, 'of the controller and the method one is a function, which gives tags as they are, and ' +
      'no template can be added to these: write both as lists, or both as functions')
  }
  const all = (request: unknown): unknown => {
    const given = functions.map((tagsOf) => tagsOf(request))
    // What is no list is refused where it is used.
    const isRight = given.every((tags) => Array.isArray(tags))
    return isRight ? [...written, ...given.flat() as unknown[]] : given.find((tags) => !Array.isArray(tags))
  }
  return { ...option, tags: all }
}

/** `@Post`, as it is written. */
function verbOf (verb: unknown): string {
  if (typeof verb !== 'number') return 'a list of verbs'
  const name = RequestMethod[verb] ?? ''
  return `@${name.charAt(0)}${name.slice(1).toLowerCase()}`
}

/**
 * A method that answers for many hosts, or many versions, may look for which; and one that takes a header field looks at it.
 * So these select the response.
 */
function withSelecting (place: ControllerMethod, option: object, config: AppConfig): object {
  const hosts = metadata.getMetadata(NESTS.host, place.controller) === undefined ? [] : ['host']
  const names = [...hosts, ...versionFields(place, option, config), ...takenFields(place, option)]
  const given = memberOf(option, 'vary') ?? []
  if (names.length === 0 || !Array.isArray(given)) return option
  return { ...option, vary: [...new Set([...given, ...names])] }
}

function checkOption (place: ControllerMethod, option: unknown): void {
  if (!isObject(option)) throw optionError(whereOf(place), '@Cached', option, 'write @Cached(), or @Cached({ key, ttl })')
  for (const name of ['hook', 'guards', 'invalidates']) {
    if (name in option) {
      throw optionError(whereOf(place), `@Cached.${name}`, memberOf(option, name), name === 'invalidates'
        ? 'write @Invalidates on a method that changes something'
        : 'leave it out: hits of @Cached are always served behind Nest\'s guards')
    }
  }
}

/** The header fields that the method takes by name. What it takes besides, and no field selects, is the client's own. */
function takenFields (place: ControllerMethod, option: object): string[] {
  const params = paramsOf(place)
  const isSaid = saysForWhom(option)
  const own = params.find(({ type, data }) => OF_THE_CLIENT[type] !== undefined && !(type === HEADER_PARAM && typeof data === 'string'))
  if (own !== undefined && !isSaid) {
    throw optionError(whereOf(place), OF_THE_CLIENT[own.type]!, own.data, 'the method takes this of each client, and nothing says that it ' +
      'selects the response: write @Cached({ identity }) or a key function; shared: true, if all get the same; or leave the param out')
  }
  return params.flatMap(({ type, data }) => type === HEADER_PARAM && typeof data === 'string' ? [data.toLowerCase()] : [])
}

/** Whether the option says for whom a response is, or makes its key of the request. */
function saysForWhom (option: object): boolean {
  return memberOf(option, 'shared') === true || memberOf(option, 'identity') !== undefined || typeof memberOf(option, 'key') === 'function'
}

/**
 * What may know who asks, in words, where the controller's own options say nothing of that; null: not so. A guard may put on
 * the request whatever it has found out, under any name, and a decorator of a param may read it; as may a provider that is
 * made for each request, or for each tenant.
 */
export function unsaidBy (
  place: ControllerMethod, ofClass: unknown, { config, isScoped }: { config: AppConfig, isScoped: boolean }
): string | null {
  const { controller } = place
  const method = originalOf(place.method)
  const given = [ofClass, metadata.getMetadata(CACHED, method)].filter(isObject)
  const option = Object.assign({}, ...given) as object
  const vary = memberOf(option, 'vary')
  if (saysForWhom(option) || (Array.isArray(vary) && vary.length > 0)) return null
  const guards = [config.getGlobalGuards(), config.getGlobalRequestGuards(), metadata.getMetadata(NESTS.guards, controller),
    metadata.getMetadata(NESTS.guards, method)].flatMap((list) => Array.isArray(list) ? list as unknown[] : [])
  if (guards.length > 0) return [...new Set(guards.map(nameOf))].join(', ')
  if (isScoped) return 'a provider for each request'
  // A decorator of the app's own has no number.
  return paramsOf(place).some(({ type }) => Number.isNaN(type)) ? 'a decorator of a param' : null
}

/** A class, an instance of one, or Nest's wrapper of it. */
function nameOf (guard: unknown): string {
  if (typeof guard === 'function') return guard.name || 'a guard'
  const name = memberOf(guard, 'name') ?? (guard as object).constructor.name
  return typeof name === 'string' && name !== '' && name !== 'Object' && !name.startsWith('APP_') ? name : 'a guard'
}

interface Param { index: number, data?: unknown }

/** What the method's decorators say of its params. A decorator of the app's own has no number. */
export function paramsOf ({ controller, name }: ControllerMethod): Array<Param & { type: number }> {
  const params = metadata.getMetadata(NESTS.params, controller, name) as Record<string, Param> | undefined
  return Object.entries(params ?? {}).map(([key, { index, data }]) => ({ type: Number(key.split(':')[0]), data, index }))
}

/** The header fields that say which of the method's versions is asked for. One version has a route of its own. */
function versionFields (place: ControllerMethod, option: object, config: AppConfig): string[] {
  const versioning = config.getVersioning()
  const version = metadata.getMetadata(NESTS.version, originalOf(place.method)) ??
    metadata.getMetadata(NESTS.version, place.controller) ?? versioning?.defaultVersion
  if (versioning === undefined || versioning.type === BY.uri || !Array.isArray(version) || version.length < 2) return []
  if (versioning.type === BY.header && versioning.header !== undefined) return [versioning.header.toLowerCase()]
  if (versioning.type === BY.mediaType) return ['accept']
  if (['vary', 'identity'].some((name) => memberOf(option, name) !== undefined)) return []
  throw optionError(whereOf(place), '@Version', version, 'of many versions under custom versioning it can\'t be told which one a ' +
    'response is for: give each version a method of its own, or name the header fields that select it: @Cached({ vary: [...] })')
}

/** The declaration of a route that changes something; null: the method is none. */
export function writingOption (place: ControllerMethod): object | null {
  const option = metadata.getMetadata(INVALIDATES, originalOf(place.method))
  if (option === undefined) return null
  const verb = metadata.getMetadata(NESTS.method, originalOf(place.method))
  if (Array.isArray(verb) || verb === ALL) {
    throw new RouteCacheError('FRC_OPTION', `${whereOf(place)}: @Invalidates stands beside ${verbOf(verb)}; the method answers GET, too, or many verbs, for ` +
      'which Nest declares no such option: write a method for each, with @Post, @Put, @Patch or @Delete')
  }
  return { ...option as object }
}
