// The options of a controller's route, from what our decorators noted on the method and its class.
import { optionError } from '../../errors.js'
import { own as memberOf } from '../../key/key.js'
import { isObject } from '../../options/reader.js'
import { CACHED, INVALIDATES } from './decorators.js'
import { originalOf, type Method } from './method.js'
import { BY, GET, HEAD, NESTS, metadata, type AppConfig } from './nest-metadata.js'

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
  if (typeof verb === 'number' && verb !== GET && verb !== HEAD) {
    throw optionError(whereOf(place), '@Cached', own, 'only methods with @Get can be cached; for one that changes something write @Invalidates')
  }
  if (metadata.hasMetadata(NESTS.events, method)) {
    throw optionError(whereOf(place), '@Cached', own, 'a stream of events (@Sse) has no end, so it can\'t be cached')
  }
  return withSelecting(place, Object.assign({}, ...parts) as object, config)
}

/** A method that answers for many hosts, or many versions, may look for which: so these select the response. */
function withSelecting (place: ControllerMethod, option: object, config: AppConfig): object {
  const hosts = metadata.getMetadata(NESTS.host, place.controller) === undefined ? [] : ['host']
  const names = [...hosts, ...versionFields(place, option, config)]
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
  return option === undefined ? null : { ...option as object }
}
