// Params and query as the handler will see them: validated, so coerced and with defaults. `/users/7` and `/users/007`, or
// `?page=1` and its default, are then one key; and what the validation refuses has none.
import { isDeepStrictEqual } from 'node:util'
import { keyless, Keyless, copyPlain, kindOf, isThenable, type KeySource } from '../key/key.js'

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

type Sourcing = KeySource | null | Promise<KeySource | null>

function validatedFrom (request: Validated, parts: readonly ValidatedPart[], made: KeySource): Sourcing {
  const [part, ...later] = parts
  if (part === undefined) return made
  const validate = request.getValidationFunction(part)
  if (validate === undefined) return validatedFrom(request, later, made)
  const complete = (value: unknown): Sourcing =>
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

/** The parts for which the route has a validation. */
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

// A route with `hook: 'onRequest'` is validated ahead of its time, for the key, on a copy. Fastify's own validation, which
// comes later on a miss, is then given what that run has made, so that the app's validators run once for each request.
//
// Between the two there are hooks, and they see the values as they came. One that changes them is why the validator runs
// once more: on what it has made of them. Fastify tells of its own compiler (Ajv's) only when the routes are compiled, so
// that one's functions are not remembered.

export type Validate = (input: unknown) => unknown

type Compiler = (part: unknown) => Validate

interface Run {
  validate: Validate
  /** The input as it was. */
  before: unknown
  /** A copy of the input, as the validator has left it. */
  after: object
  /** Gives the validator's result, or throws what it has thrown. */
  result: () => unknown
  /** The errors that a validator keeps on itself when it refuses. */
  errors: unknown
}

/** By the input: the request's own params, query or headers. */
const runs = new WeakMap<object, Run>()
const remembering = new WeakSet<object>()

/** `inherited` gives the compiler of the route's context: when the route is compiled it may be another than now. */
export function rememberValidation (route: { validatorCompiler?: unknown }, inherited: () => unknown): void {
  const { validatorCompiler: own } = route
  if (own === undefined && inherited() === undefined) return
  route.validatorCompiler = (part: unknown) => rememberingOf(((own ?? inherited()) as Compiler)(part))
}

function rememberingOf (compiled: Validate): Validate {
  // The HEAD route that Fastify adds has the compiler of its GET.
  if (typeof compiled !== 'function' || remembering.has(compiled)) return compiled
  // Fastify finds the function's other properties, such as `errors`, on it.
  const once = new Proxy(compiled, {
    apply: (validate, self, args: [unknown]): unknown => {
      const run = take(once, args[0])
      return run === null ? Reflect.apply(validate, self, args) : replay(run, validate, args[0] as object)
    }
  })
  remembering.add(once)
  return once
}

/** Runs the validator on the copy of an input; one that remembers is then given the result for the input itself. */
function runAhead (validate: Validate, input: unknown, copy: unknown): unknown {
  if (!remembering.has(validate) || !isRecord(input) || !isRecord(copy)) return validate(copy)
  const before = copyPlain(input)
  const result = attempt(validate, copy)
  const { errors } = validate as { errors?: unknown }
  // A value that can't be copied can't be compared later.
  if (before !== input) runs.set(input, { validate, before, after: copy, result, errors })
  return result()
}

function attempt (validate: Validate, copy: object): () => unknown {
  try {
    const result = validate(copy)
    return () => result
  } catch (error) {
    const thrown = error as Error
    return () => { throw thrown }
  }
}

/** The run of this validator on this input, once; null where there is none, or the input has changed since. */
function take (validate: Validate, input: unknown): Run | null {
  const run = isRecord(input) ? runs.get(input) : undefined
  if (run?.validate !== validate) return null
  runs.delete(input as object)
  return isDeepStrictEqual(copyPlain(input), run.before) ? run : null
}

/** As if the validator had run on the input. */
function replay ({ result, before, after, errors }: Run, validate: object, input: object): unknown {
  const conclude = (passed: unknown): unknown => {
    if (!isDeepStrictEqual(after, before)) become(input, after)
    if (passed === false) Object.assign(validate, { errors })
    return passed
  }
  const given = result()
  return isThenable(given) ? Promise.resolve(given).then(conclude) : conclude(given)
}

function become (input: object, after: object): void {
  for (const name of Object.keys(input)) if (!Object.hasOwn(after, name)) Reflect.deleteProperty(input, name)
  // An assignment of `__proto__` would set the prototype.
  Object.defineProperties(input, Object.getOwnPropertyDescriptors(after))
}

function isRecord (value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
