// What a controller says of its routes. Decorators only note it; controllers.ts makes it happen when the app starts.
import { SetMetadata } from '@nestjs/common'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { RouteCacheError } from '../../errors.js'
import { DECORATOR } from '../../fastify/nest.js'
import { NESTS, metadata } from './nest-metadata.js'
import type { CacheOptions, InvalidationOptions } from '../../options/route-options.js'
import type { InvalidateTargets } from '../../key/target.js'

/** The names under which the decorators keep what they were given. */
export const CACHED = 'fastify-route-cache:cached'
export const INVALIDATES = 'fastify-route-cache:invalidates'

/**
 * A cached route's options. The lookup's place is fixed: behind all of Nest's that may refuse a request.
 * @typeParam Request the method's own request type.
 */
export type CachedOptions<Request = FastifyRequest> = Omit<CacheOptions<Request>, 'hook' | 'guards'>

/** What a method's success ends: a key's template, or targets. */
export type Invalidated = string | InvalidateTargets | { all: true }

/** As a route's own `cache: { invalidates, onError }`. */
export type InvalidatesOptions = InvalidationOptions<FastifyRequest, FastifyReply>

/**
 * On a controller's GET method: its responses are cached, and hits are served behind guards, interceptors and pipes, ahead
 * of the method. On a controller: on all its GET methods; a method's own options are added to the controller's, and count
 * before them; tags of both count. `false`: this method is not cached. Default: all defaults. Wrong options fail at start,
 * with FRC_OPTION; so does a second @Cached on one method.
 * @example
 * ```ts
 * @Get(':id')
 * @Cached({ key: 'item:{id}', ttl: '10m', tags: ['items'] })
 * item (@Param('id') id: string) { return this.items.find(id) }
 * ```
 */
export function Cached<Request = FastifyRequest> (
  options: CachedOptions<Request> | boolean = true
): MethodDecorator & ClassDecorator {
  if (typeof options === 'function' || arguments.length > 1) {
    throw new RouteCacheError('FRC_OPTION', '@Cached is written with parentheses: @Cached(), or @Cached({ key, ttl })')
  }
  return noted({ name: CACHED, called: '@Cached', right: '@Cached stands on a method with @Get, or on a controller', isForClasses: true }, options)
}

/**
 * On a controller's POST, PUT, PATCH or DELETE method: what its success invalidates, before the client gets the answer. An
 * error that the method throws invalidates nothing, however filters answer it; neither does a request that a guard, an
 * interceptor or a pipe refuses. Written twice, both count; FRC_OPTION is thrown where one has a function or `onError`.
 * @example
 * ```ts
 * @Put(':id')
 * @Invalidates('item:{id}', { tags: ['items'] })
 * save (@Param('id') id: string, @Body() item: Item) { return this.items.save(id, item) }
 * ```
 */
export function Invalidates (options: InvalidatesOptions): MethodDecorator
export function Invalidates (targets: InvalidatesOptions['invalidates']): MethodDecorator
export function Invalidates (...targets: Invalidated[]): MethodDecorator
export function Invalidates (...given: unknown[]): MethodDecorator {
  const [first] = given
  const isWhole = given.length === 1 && typeof first === 'object' && first !== null && 'invalidates' in first
  const isOne = given.length === 1 && typeof first !== 'string'
  return noted(WRITING, isWhole ? first : { invalidates: isOne ? first : given })
}

/** A decorator's names, and where it has an effect. */
interface Kind { name: string, called: '@Cached' | '@Invalidates', right: string, isForClasses: boolean }

const WRITING: Kind = {
  name: INVALIDATES,
  called: '@Invalidates',
  right: '@Invalidates stands on a method with @Post, @Put, @Patch or @Delete',
  isForClasses: false
}

/** The decorators of a class's own methods, by prototype and by the method's name. */
const decorated = new WeakMap<object, Map<string | symbol, Map<string, Kind['called']>>>()

/**
 * The decorator of this prototype's own method whose note is lost, as another decorator has put a function in the method's
 * place; null: there is none.
 */
export function lostDecorator (prototype: object, name: string, method: object): Kind['called'] | null {
  for (const [key, called] of decorated.get(prototype)?.get(name) ?? []) {
    if (!metadata.hasMetadata(key, method)) return called
  }
  return null
}

/** A decorator that throws FRC_OPTION where it has no effect: on a property, an accessor, a param, a static method. */
function noted ({ name, called, right, isForClasses }: Kind, value: unknown): MethodDecorator & ClassDecorator {
  return (target: object, key?: string | symbol, descriptor?: unknown): void => {
    const method: unknown = (descriptor as PropertyDescriptor | undefined)?.value
    const isMethod = key !== undefined && typeof target !== 'function' && typeof method === 'function'
    const isClass = key === undefined && descriptor === undefined
    const ofClass = typeof target === 'function' ? target : target.constructor
    const where = `${ofClass.name}${key === undefined ? '' : `.${String(key)}`}`
    if (!isMethod && !(isClass && isForClasses)) throw new RouteCacheError('FRC_OPTION', `${where}: ${right}, and nowhere else`)
    const earlier = metadata.getOwnMetadata(name, isMethod ? method as object : target)
    const all = earlier === undefined ? value : called === '@Invalidates' ? both(where, earlier, value) : refuseSecond(where)
    SetMetadata(name, all)(target as never, key as never, descriptor as never)
    if (!isMethod) return
    if (value !== false) {
      const config = { ...metadata.getMetadata(NESTS.config, method as object) as object | undefined, [DECORATOR]: called }
      metadata.defineMetadata(NESTS.config, config, method as object)
    }
    const ofTarget = decorated.get(target) ?? new Map<string | symbol, Map<string, Kind['called']>>()
    decorated.set(target, ofTarget.set(key, (ofTarget.get(key) ?? new Map<string, Kind['called']>()).set(name, called)))
  }
}

function refuseSecond (where: string): never {
  throw new RouteCacheError('FRC_OPTION', `${where}: @Cached is there twice, and one of them would have no effect: write one, with the options of both`)
}

/** What two of @Invalidates name. Decorators run from the lowest up: the upper one's names come first, as they are read. */
function both (where: string, lower: unknown, upper: unknown): object {
  const parts = [upper, lower].map((option) => option as { invalidates?: unknown, onError?: unknown })
  if (parts.some(({ invalidates, onError }) => typeof invalidates === 'function' || onError !== undefined)) {
    throw new RouteCacheError('FRC_OPTION', `${where}: @Invalidates is there twice, and one has a function or onError, so they can't be put together: write ` +
      'one, with a function that gives all, or @Invalidates({ invalidates: [...], onError: \'fail\' })')
  }
  return { invalidates: parts.flatMap(({ invalidates }) => invalidates) }
}
