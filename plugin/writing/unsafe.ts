// The option `invalidateUnsafe`: an unsafe request that succeeded has most likely changed what is stored for GET of the same
// path, whatever its query (RFC 9111 §4.4). Entries of each such path have a tag, and the unsafe route invalidates that tag
// as if it had written `invalidates` itself.
// https://www.rfc-editor.org/rfc/rfc9111#section-4.4
//
// The tag is built as GET's default key is. GET's route is found by the path's shape, as the params of the two routes may
// have different names, and their values go through its own validation: `PUT /items/007` is about `/items/7` where GET takes
// an integer. A GET that refuses them has stored nothing under them.
import { SOURCE, type Carrier } from '../request/exchange.js'
import { RouteCacheError } from '../errors.js'
import { SAFE_METHODS } from '../http/request.js'
import { defaultKey, own, readPath, canonicalName, storedTags, type KeySource } from '../key/key.js'
import { validatedSource, type Validate } from '../request/validation.js'
import type { Policy, PolicyRoute } from '../route/policy.js'

type Compile = (part: { schema: unknown, method: string | string[], url: string, httpPart: 'params' }) => Validate

/** A cached route as it was declared, and the compiler that its context will have: it is not known before the start. */
interface Declared {
  route: PolicyRoute & { validatorCompiler?: unknown }
  compiler: () => unknown
}

/** The cached GETs with a default key, by the shape of their path and their constraints. */
export type Gets = Map<string, Get[]>

interface Get {
  route: PolicyRoute
  params: readonly string[]
  /** The template of its params; compiled when it is first needed: by then the route is complete. */
  validator: () => Validate | undefined
}

/** The policy of a cached route, with the path's tag if its responses have the default key; and notes the route then. */
export function withPathTag (gets: Gets, policy: Policy, declared: Declared): Policy {
  const { route } = declared
  if (own(policy.written, 'key') !== undefined) return policy
  if ([route.method].flat().includes('GET')) {
    const { params, shape } = readShape(route)
    let compiled: { validate: Validate | undefined } | null = null
    const validator: Get['validator'] = () => (compiled ??= { validate: compileParams(declared) }).validate
    gets.set(shape, [...gets.get(shape) ?? [], { route, params, validator }])
  }
  const canonical = canonicalName(route)
  const { tags } = policy
  return { ...policy, tags: (source, request) => [...tags(source, request), pathTag(canonical, source)] }
}

/** The targets that a route with an unsafe method invalidates by its path: a function for the option `invalidates`. */
export function invalidatesOfPath (gets: Gets, unsafe: PolicyRoute): PathInvalidates {
  return async (request) => {
    const { method, [SOURCE]: source } = request as KeySource & Carrier & { method: string }
    return { tags: SAFE_METHODS.includes(method) ? [] : await tagsOfPath(gets, unsafe, source ?? request) }
  }
}

type PathInvalidates = (request: KeySource) => Promise<{ tags: string[] }>

/** The tags of GETs of the path, for the params of an unsafe request as they came. */
async function tagsOfPath (gets: Gets, unsafe: PolicyRoute, source: KeySource): Promise<string[]> {
  const { params, shape } = readShape(unsafe)
  const tags: string[] = []
  for (const get of gets.get(shape) ?? []) {
    const validate = get.validator()
    const renamed = rename(source.params, params, get.params)
    const getValidationFunction = (part: string): Validate | undefined => part === 'params' ? validate : undefined
    const validated = await validatedSource({ params: renamed, headers: {}, getValidationFunction })
    const tag = validated === null ? null : tagFor(get.route, validated)
    if (tag !== null) tags.push(tag)
  }
  return tags
}

/** Null: what has no key, a Set in the params for example, was never stored. */
function tagFor (route: PolicyRoute, source: KeySource): string | null {
  try {
    return pathTag(canonicalName(route), source)
  } catch (error) {
    if (error instanceof RouteCacheError && error.code === 'FRC_KEY') return null
    throw error
  }
}

/** As it is stored. Throws FRC_KEY. */
function pathTag (canonical: string, { params }: KeySource): string {
  return storedTags([`path:${defaultKey(canonical, { params })}`])[0]!
}

/** The names of the params, and the shape with what else selects the route. */
function readShape ({ url, ...route }: PolicyRoute): { params: readonly string[], shape: string } {
  const { params, shape } = readPath(url)
  return { params, shape: canonicalName({ ...route, url: shape }) }
}

/** The values of the one route's params under the names of the other's at the same places. */
function rename (params: unknown, from: readonly string[], to: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(params ?? {}).map(([name, value]) => [to[from.indexOf(name)] ?? name, value]))
}

/** The validator as Fastify compiles it. */
function compileParams ({ route, compiler }: Declared): Validate | undefined {
  const compile = (route.validatorCompiler ?? compiler()) as Compile | undefined
  const schema = (route.schema as { params?: unknown } | undefined)?.params
  return schema === undefined ? undefined : compile?.({ schema, method: route.method, url: route.url, httpPart: 'params' })
}
