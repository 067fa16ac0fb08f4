// Params and query as the handler will see them: validated, so coerced and with defaults. `/users/7` and `/users/007`, or
// `?page=1` and its default, are then one key; and what the validation refuses has none.
import type { KeySource } from './key.js'

export type Validate = (input: unknown) => unknown

/** As much of a request as is needed to validate it. */
export interface Validated extends KeySource {
  headers: unknown
  getValidationFunction: (part: 'params' | 'querystring' | 'headers') => Validate | undefined
}

/** For a lookup ahead of the validation: on copies. Null where the request is not valid. */
export async function validatedSource (request: Validated): Promise<KeySource | null> {
  const params = await validated(request.params, request.getValidationFunction('params'))
  if (params === INVALID) return null
  const query = await validated(request.query, request.getValidationFunction('querystring'))
  if (query === INVALID) return null
  const headers = await validated(request.headers, request.getValidationFunction('headers'))
  return headers === INVALID ? null : { params, query }
}

const INVALID = Symbol('invalid')

/** Params and query as they are by now, for later: a validation changes them in place. */
export function copySource ({ params, query }: KeySource): KeySource {
  return { params: copyOf(params), query: copyOf(query) }
}

function copyOf (input: unknown): unknown {
  const copy: unknown = { ...input as object }
  for (const [name, value] of Object.entries(copy as object)) {
    if (typeof value === 'object' && value !== null) (copy as Record<string, unknown>)[name] = structuredClone(value)
  }
  return copy
}

/** As Fastify does it: false, or a result with an error, refuses; a result with a value replaces the input. */
async function validated (input: unknown, validate: Validate | undefined): Promise<unknown> {
  if (validate === undefined) return input
  const copy = copyOf(input)
  const result = validate(copy)
  if (isThenable(result)) {
    // Fastify takes what an async validator gives for passed or failed, and no more.
    try {
      return await result === false ? INVALID : copy
    } catch {
      return INVALID
    }
  }
  if (result === false) return INVALID
  if (typeof result !== 'object' || result === null) return copy
  if ('error' in result && result.error) return INVALID
  return 'value' in result ? result.value : copy
}

function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
