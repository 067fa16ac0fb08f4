// What a controller says of its routes. Decorators only note it; controllers.ts makes it happen when the app starts.
import { SetMetadata } from '@nestjs/common'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { RouteCacheError } from '../../errors.js'
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
 * before them. `false`: this method is not cached. Default: all defaults. Wrong options fail at start, with FRC_OPTION.
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
  return noted(CACHED, options, '@Cached stands on a method with @Get, or on a controller')
}

/**
 * On a controller's POST, PUT, PATCH or DELETE method: what its success invalidates, before the client gets the answer. An
 * error that the method throws invalidates nothing, however filters answer it; neither does a request that a guard, an
 * interceptor or a pipe refuses.
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
  return noted(INVALIDATES, isWhole ? first : { invalidates: isOne ? first : given }, OF_METHODS)
}

const OF_METHODS = '@Invalidates stands on a method with @Post, @Put, @Patch or @Delete'

/** A decorator that throws FRC_OPTION where it has no effect: on a property, an accessor, a param, a static method. */
function noted (name: string, value: unknown, right: string): MethodDecorator & ClassDecorator {
  const note = SetMetadata(name, value)
  return (target: object, key?: string | symbol, descriptor?: unknown): void => {
    const isMethod = key !== undefined && typeof target !== 'function' && typeof (descriptor as PropertyDescriptor | undefined)?.value === 'function'
    const isClass = key === undefined && descriptor === undefined
    if (isMethod || (isClass && right !== OF_METHODS)) {
      note(target as never, key as never, descriptor as never)
      return
    }
    const { name: ofClass } = typeof target === 'function' ? target : target.constructor
    throw new RouteCacheError('FRC_OPTION', `${ofClass}${key === undefined ? '' : `.${String(key)}`}: ${right}, and nowhere else`)
  }
}
