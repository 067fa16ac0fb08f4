// A route with `hook: 'onRequest'` is validated ahead of its time, for the key, on a copy. Fastify's own validation, which
// comes later on a miss, is then given what that run has made, so that the app's validators run once for each request.
//
// Between the two there are hooks, and they see the values as they came. One that changes them is why the validator runs
// once more: on what it has made of them. Fastify tells of its own compiler (Ajv's) only when the routes are compiled, so
// that one's functions are not remembered.
import { isDeepStrictEqual } from 'node:util'
import { copyPlain, isThenable } from '../key/key-value.js'

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
  /** What a validator says on itself of why it has refused. */
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
  // What else the function has, such as `errors`, Fastify finds on it.
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
export function runAhead (validate: Validate, input: unknown, copy: unknown): unknown {
  if (!remembering.has(validate) || !isRecord(input) || !isRecord(copy)) return validate(copy)
  const before = copyPlain(input)
  const result = attempt(validate, copy)
  const { errors } = validate as { errors?: unknown }
  // What can't be copied can't be told to have changed.
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
