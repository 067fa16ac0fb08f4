// Params and query as the handler will see them: validated, so coerced and with defaults. `/users/7` and `/users/007`, or
// `?page=1` and its default, are then one key; and what the validation refuses has none.
import { keyless, type KeySource } from './key.js'
import { Keyless, copyPlain, kindOf } from './plain-data.js'

export type ValidatedPart = typeof PARTS[number]
export type Validate = (input: unknown) => unknown

/** As much of a request as is needed to validate it. */
export interface Validated extends KeySource {
  headers: unknown
  getValidationFunction: (part: ValidatedPart) => Validate | undefined
}

/** For a lookup ahead of the validation: on copies. Null where the request is not valid; a promise as validators give. */
export function validatedSource (request: Validated): KeySource | null | Promise<KeySource | null> {
  const ofParams = request.getValidationFunction('params')
  const ofQuery = request.getValidationFunction('querystring')
  const ofHeaders = request.getValidationFunction('headers')
  if (ofParams === undefined && ofQuery === undefined && ofHeaders === undefined) return request
  const params = ofParams === undefined ? request.params : validated(copyOf(request, 'params'), ofParams)
  const query = ofQuery === undefined ? request.query : validated(copyOf(request, 'query'), ofQuery)
  const headers = ofHeaders === undefined ? request.headers : validated({ ...request.headers as object }, ofHeaders)
  if (params instanceof Promise || query instanceof Promise || headers instanceof Promise) {
    return Promise.all([params, query, headers]).then(sourceOf)
  }
  return sourceOf([params, query, headers])
}

function sourceOf ([params, query, headers]: readonly unknown[]): KeySource | null {
  return params === INVALID || query === INVALID || headers === INVALID ? null : { params, query }
}

/** Those for which the route has a validation. */
export function validatedParts (request: Pick<Validated, 'getValidationFunction'>): ValidatedPart[] {
  return PARTS.filter((part) => request.getValidationFunction(part) !== undefined)
}

const PARTS = ['params', 'querystring', 'headers'] as const
const INVALID = Symbol('invalid')

/** Throws FRC_KEY for what can't be copied: a validation would change the request's own. */
function copyOf (source: KeySource, scope: 'params' | 'query'): unknown {
  const part = source[scope]
  const copy = copyPlain(part)
  if (copy !== part || typeof part !== 'object' || part === null) return copy
  throw keyless(new Keyless(kindOf(part)), scope)
}

/** Params and query as they are by now, for later: a validation changes them in place. */
export function copySource ({ params, query }: KeySource): KeySource {
  return { params: copyPlain(params), query: copyPlain(query) }
}

/** As Fastify does it: false, or a result with an error, refuses; a result with a value replaces the input. */
function validated (copy: unknown, validate: Validate): unknown {
  const result = validate(copy)
  // Fastify takes what an async validator gives for passed or failed, and no more.
  if (isThenable(result)) return Promise.resolve(result).then((passed) => passed === false ? INVALID : copy, () => INVALID)
  if (result === false) return INVALID
  if (typeof result !== 'object' || result === null) return copy
  if ('error' in result && result.error) return INVALID
  return 'value' in result ? result.value : copy
}

/** Whether it has to be waited for. */
export function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
