// What an unsafe request that succeeded has most likely changed: what is stored for GET of the same URL. RFC 9111 §4.4.
// https://www.rfc-editor.org/rfc/rfc9111#section-4.4
//
// The key is built as GET builds it. Its route is found by the path's shape, as the params of the two routes may have
// different names, and their values and the query go through its own validation: `PUT /items/007` is about `/items/7` where
// GET takes an integer. A GET that refuses them has stored nothing under them.
import { RouteCacheError } from './errors.js'
import { boundKey, defaultKey, own, type KeySource } from './key.js'
import { validatedSource, type Validate } from './key-source.js'
import type { PolicyRoute } from './policy.js'
import { readPath } from './route-path.js'
import { canonicalName } from './route-template.js'

type Part = 'params' | 'querystring'
type Compile = (part: { schema: unknown, method: string | string[], url: string, httpPart: Part }) => Validate

/** A cached route as it was declared, and the compiler that its context will have: it is not known before the start. */
export interface Declared {
  route: PolicyRoute & { validatorCompiler?: unknown }
  compiler: () => unknown
}

/** The cached GETs with a default key, by the shape of their path and their constraints. */
export type Gets = Map<string, Get[]>

interface Get {
  route: PolicyRoute
  params: readonly string[]
  /** Compiled when it is first asked for, by then the route is complete. */
  validators: () => Readonly<Record<Part, Validate | undefined>>
}

/** Notes a cached route, if its responses have the default key. */
export function addGet (gets: Gets, option: unknown, declared: Declared): void {
  const { route } = declared
  if (![route.method].flat().includes('GET') || own(option, 'key') !== undefined) return
  const { params, shape } = readShape(route)
  let compiled: ReturnType<Get['validators']> | null = null
  const validators: Get['validators'] = () => (compiled ??= compileParts(declared))
  gets.set(shape, [...gets.get(shape) ?? [], { route, params, validators }])
}

/** The keys that GETs of the URL have, for the params and the query of an unsafe request as they came. */
export async function keysOfUrl (gets: Gets, unsafe: PolicyRoute, source: KeySource): Promise<string[]> {
  const { params, shape } = readShape(unsafe)
  const keys: string[] = []
  for (const get of gets.get(shape) ?? []) {
    const validators = get.validators()
    const renamed = rename(source.params, params, get.params)
    const getValidationFunction = (part: string): Validate | undefined => validators[part as Part]
    const validated = await validatedSource({ params: renamed, query: source.query, headers: {}, getValidationFunction })
    const key = validated === null ? null : keyFor(get.route, validated)
    if (key !== null) keys.push(key)
  }
  return keys
}

/** Null: what has no key, a Set in the query for example, was never stored. */
function keyFor (route: PolicyRoute, source: KeySource): string | null {
  try {
    return boundKey(defaultKey(canonicalName(route), source))
  } catch (error) {
    if (error instanceof RouteCacheError && error.code === 'FRC_KEY') return null
    throw error
  }
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

/** As Fastify compiles them; a compiler gives what it has where it has seen the schema. */
function compileParts ({ route, compiler }: Declared): ReturnType<Get['validators']> {
  const compile = (route.validatorCompiler ?? compiler()) as Compile | undefined
  const validate = (httpPart: Part): Validate | undefined => {
    const schema = (route.schema as Partial<Record<Part, unknown>> | undefined)?.[httpPart]
    return schema === undefined ? undefined : compile?.({ schema, method: route.method, url: route.url, httpPart })
  }
  return { params: validate('params'), querystring: validate('querystring') }
}
