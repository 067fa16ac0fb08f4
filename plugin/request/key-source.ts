// Params and query as the handler will see them: validated, so coerced and with defaults. `/users/7` and `/users/007`, or
// `?page=1` and its default, are then one key; and what the validation refuses has none.
import { keyless, type KeySource } from '../key/key.js'
import { Keyless, copyPlain, kindOf, isThenable } from '../key/key-value.js'
import { runAhead, type Validate } from './remembered-validation.js'

export type ValidatedPart = typeof PARTS[number]

/** As much of a request as is needed to validate it. */
export interface Validated extends KeySource {
  headers: unknown
  getValidationFunction: (part: ValidatedPart) => Validate | undefined
}

/**
 * For a lookup ahead of the validation: on copies, one part after the other until one is refused, as Fastify does it. Null
 * where the request is not valid; a promise as validators give.
 */
export function validatedSource (request: Validated): KeySource | null | Promise<KeySource | null> {
  return validatedFrom(request, PARTS, { params: request.params, query: request.query })
}

type Made = KeySource | null | Promise<KeySource | null>

function validatedFrom (request: Validated, parts: readonly ValidatedPart[], made: KeySource): Made {
  const [part, ...later] = parts
  if (part === undefined) return made
  const validate = request.getValidationFunction(part)
  if (validate === undefined) return validatedFrom(request, later, made)
  const complete = (value: unknown): Made =>
    value === INVALID ? null : validatedFrom(request, later, withPart(made, part, value))
  const value = validated(validate, ...inputOf(request, part))
  return value instanceof Promise ? value.then(complete) : complete(value)
}

/** The input, and a copy of it. */
function inputOf (request: Validated, part: ValidatedPart): [unknown, unknown] {
  if (part === 'headers') return [request.headers, { ...request.headers as object }]
  const scope = part === 'params' ? part : 'query'
  return [request[scope], copyOf(request, scope)]
}

/** Headers are no part of it. */
function withPart ({ params, query }: KeySource, part: ValidatedPart, value: unknown): KeySource {
  return { params: part === 'params' ? value : params, query: part === 'querystring' ? value : query }
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
function validated (validate: Validate, input: unknown, copy: unknown): unknown {
  const result = runAhead(validate, input, copy)
  // Fastify takes what an async validator gives for passed or failed, and no more.
  if (isThenable(result)) return Promise.resolve(result).then((passed) => passed === false ? INVALID : copy, () => INVALID)
  if (result === false) return INVALID
  if (typeof result !== 'object' || result === null) return copy
  if ('error' in result && result.error) return INVALID
  return 'value' in result ? result.value : copy
}
