// The `cache` option of a route that changes something, checked and compiled once, when the route is declared: what its
// success invalidates. What is wrong throws there, naming the route, the option, its value and what would be right.
import { NO_TARGETS, type Targets } from '../cache/claim.js'
import { RouteCacheError, optionError } from '../errors.js'
import { SAFE_METHODS } from '../http/request.js'
import {
  boundKey, boundPrefix, own, patternOf, compileTemplate, storedTags, type KeySource, type NamePattern
} from '../key/key.js'
import { OptionReader } from '../options/reader.js'
import type { PolicyRoute } from '../route/policy.js'
import { checkMutation, checkTarget } from '../key/target.js'

export interface Declaration {
  /**
   * For this request: its templates filled, or the result of its function. Rejects where that is no target. `payload`: what
   * the handler has sent; undefined: that is not known.
   */
  targets: (request: KeySource, reply: unknown, payload?: unknown) => Promise<Targets[]>
  /** Its function is to see what the handler sends. */
  looksAtPayload: boolean
  /** The templates that it names; null: a function may name any. */
  named: Named | null
  /** The targets are known before the handler runs. */
  isEarly: boolean
  /** Nothing is written unless the store can be told. */
  isStrict: boolean
  /** What declared it where that is no option of the route's own, in words: a decorator, its method and the route. */
  place: string | null
  /** The targets of a success that a hook answers in front of the handler; null: none. */
  ahead: Declaration['targets'] | null
}

/** Templates of keys and of tags. */
interface Named { keys: readonly NamePattern[], tags: readonly NamePattern[] }

type Fill = (source: KeySource) => string
interface Item { fill: (source: KeySource) => Targets, named: Named }

/** The names of a writing route's options. */
export const DECLARING: readonly string[] = ['invalidates', 'onError']
const TARGETS = ['keys', 'tags', 'prefix', 'all']
const FORMS = 'write templates such as ["user:{id}", { tags: ["users"] }], or a function of request, reply and payload'

/** Null where the option is not of this kind. Throws FRC_OPTION. */
export function compileDeclaration (route: PolicyRoute, option: unknown): Declaration | null {
  if (typeof option !== 'object' || option === null || Array.isArray(option)) return null
  const methods = [route.method].flat()
  const name = DECLARING.find((name) => own(option, name) !== undefined)
  const isUnsafe = methods.every((method) => !SAFE_METHODS.includes(method))
  if (name === undefined && !isUnsafe) return null
  const where = nameOf(route)
  if (!isUnsafe) {
    throw optionError(where, `cache.${name}`, own(option, name!), 'only routes that change something have it, so POST, PUT, ' +
      'PATCH and DELETE; those with GET are cached: write { key, ttl }')
  }
  const options = new OptionReader(where, option, 'cache.').onlyKnows(DECLARING, 'only GET and HEAD routes can be cached; what this one ' +
    'changes is said with cache: { invalidates, onError }')
  const onError = options.read<string | null>('onError', null, (value) => value === 'fail', 'it is "fail"; without it the answer ' +
    'stands, and the cache is told later')
  const isStrict = onError !== null
  return { isStrict, place: null, ahead: null, ...compileInvalidates(where, route, { invalidates: options.get('invalidates'), isStrict }) }
}

/** The route's declaration, with `invalidates`, which holds for any success, also one that a hook answers. */
export function withInvalidates (declared: Declaration | null, route: PolicyRoute, invalidates: unknown): Declaration {
  const { targets: ahead } = compileInvalidates(nameOf(route), route, { invalidates, isStrict: false })
  const targets: Declaration['targets'] = async (request, reply, payload) =>
    [...declared === null ? [] : await declared.targets(request, reply, payload), ...await ahead(request, reply)]
  const { named = null, isEarly = true, isStrict = false, looksAtPayload = false, place = null } = declared ?? {}
  return { named, isEarly, isStrict, looksAtPayload, place, ahead, targets }
}

function nameOf ({ method, url }: PolicyRoute): string {
  return `route ${[method].flat().join(',')} ${url}`
}

interface Invalidates { invalidates: unknown, isStrict: boolean }

function compileInvalidates (
  where: string, route: PolicyRoute, { invalidates, isStrict }: Invalidates
): Pick<Declaration, 'targets' | 'isEarly' | 'named' | 'looksAtPayload'> {
  if (typeof invalidates === 'function') {
    const check = isStrict ? checkMutation : checkTarget
    const ask = invalidates as (request: unknown, reply: unknown, payload: unknown) => unknown
    const targets: Declaration['targets'] = async (request, reply, payload) => {
      const given = await ask(request, reply, payload)
      // Names and targets, as the option itself takes them; a list of names alone is one target.
      return Array.isArray(given) && given.some((item) => typeof item !== 'string') ? given.map(check) : [check(given)]
    }
    return { named: null, isEarly: isStrict, looksAtPayload: !isStrict, targets }
  }
  const isList = Array.isArray(invalidates)
  // One target, as `cache.invalidate` takes it, or a list.
  const list: readonly unknown[] = isList ? invalidates : typeof invalidates === 'object' && invalidates !== null ? [invalidates] : []
  if (list.length === 0) throw optionError(where, 'cache.invalidates', invalidates, FORMS)
  const items = list.map((item, i) => {
    const option = isList ? `cache.invalidates[${i}]` : 'cache.invalidates'
    if (isStrict) checkStrict(where, option, item)
    return typeof item === 'string' ? compileItem({ where, option, route }, { keys: [item] }) : compileItem({ where, option, route }, item)
  })
  const named = { keys: items.flatMap((item) => item.named.keys), tags: items.flatMap((item) => item.named.tags) }
  return { named, isEarly: true, looksAtPayload: false, targets: async (source) => items.map(({ fill }) => fill(source)) }
}

/** Throws for what can't be put in quarantine. */
function checkStrict (where: string, option: string, item: unknown): void {
  const name = ['prefix', 'all'].find((name) => own(item, name) !== undefined)
  if (name === undefined) return
  throw optionError(where, `${option}.${name}`, own(item, name), 'with onError: "fail" the targets are put in quarantine before ' +
    'the handler, and only keys and tags can be')
}

interface Place { where: string, option: string, route: PolicyRoute }

function compileItem ({ where, option, route }: Place, item: unknown): Item {
  const names = typeof item === 'object' && item !== null ? Object.keys(item) : []
  const [keys = [], tags = [], prefix, all] = TARGETS.map((name) => own(item, name))
  const isRight = names.length > 0 && names.every((name) => TARGETS.includes(name)) && isTexts(keys) && isTexts(tags) &&
    (prefix === undefined || isTexts([prefix].flat())) && (all === undefined || (all === true && names.length === 1))
  if (!isRight) throw optionError(where, option, item, FORMS)
  const patterns = { keys: [] as NamePattern[], tags: [] as NamePattern[], prefixes: [] as NamePattern[] }
  const compile = (kind: keyof typeof patterns) => (text: string): Fill => {
    const { parts, fill } = compileTemplate(`${where}: ${option}`, text, route)
    patterns[kind].push(patternOf(text, parts))
    return fill
  }
  const prefixes = [prefix ?? []].flat() as string[]
  const fills = {
    keys: keys.map(compile('keys')),
    tags: tags.map(compile('tags')),
    prefixes: prefixes.map(compile('prefixes'))
  }
  const fill: Item['fill'] = (source) => ({
    ...NO_TARGETS,
    // Nothing is stored under the empty key.
    keys: fills.keys.map((fill) => fill(source)).filter((key) => key !== '').map(boundKey),
    tags: storedTags(fills.tags.map((fill) => fill(source))),
    prefixes: fills.prefixes.map((fill) => checkPrefix(fill(source))),
    all: all === true
  })
  return { fill, named: patterns }
}

/** A prefix that a value left empty would be everything. */
function checkPrefix (prefix: string): string {
  if (prefix !== '') return boundPrefix(prefix)
  throw new RouteCacheError('FRC_TARGET', 'a prefix is empty for this request: it would be everything')
}

function isTexts (value: unknown): value is string[] {
  return Array.isArray(value) && value.every(isText)
}

function isText (value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}
