// The targets that users name to be invalidated: checked, taken apart, put together.
import { NO_TARGETS, type Targets } from '../store/store.js'
import { RouteCacheError, show } from '../errors.js'
import { boundKey, boundPrefix, escapeKey, own, storedKeys, checkTags } from './key.js'

/** The targets of an invalidation: a key; keys; keys, responses with one of the tags, and keys with a prefix; everything. */
export type InvalidateTarget = string | readonly string[] | InvalidateTargets | { all: true }

/** Targets that are invalidated together. A kind that is absent has none. */
export interface InvalidateTargets {
  /** As routes, or `cache.key()`, build them. */
  keys?: readonly string[] | undefined
  /** Whatever carries one of them. */
  tags?: readonly string[] | undefined
  /** All keys that begin so; or with one of these. Not empty: everything is `{ all: true }`. */
  prefix?: string | readonly string[] | undefined
}

/** The targets of a mutation: a key; keys; keys and tags. */
export type MutateTarget = string | readonly string[] | Omit<InvalidateTargets, 'prefix'>

/** Throws FRC_TARGET. */
export function checkTarget (target: unknown): Targets {
  if (typeof target === 'string') return { ...NO_TARGETS, keys: keysOf(target) }
  if (Array.isArray(target)) return { ...NO_TARGETS, keys: target.flatMap(keysOf) }
  const names = typeof target === 'object' && target !== null ? Object.keys(target) : []
  if (names.length === 1 && own(target, 'all') === true) return { ...NO_TARGETS, all: true }
  const [keys = [], tags = [], prefix] = ['keys', 'tags', 'prefix'].map((name) => own(target, name))
  const prefixes = prefix === undefined ? [] : [prefix].flat()
  const isRight = names.length > 0 && names.every((name) => ['keys', 'tags', 'prefix'].includes(name)) &&
    Array.isArray(keys) && Array.isArray(tags) && prefixes.every((prefix) => typeof prefix === 'string' && prefix !== '')
  if (!isRight) {
    throw new RouteCacheError('FRC_TARGET', `can't invalidate ${show(target)}; write a key, an array of keys, ` +
      '{ keys, tags, prefix } with arrays of keys or tags, or a prefix or several, non-empty strings, or { all: true }')
  }
  return {
    keys: keys.flatMap(keysOf),
    tags: checkTags(tags),
    prefixes: prefixes.map((prefix) => boundPrefix(escapeKey(prefix as string))),
    all: false
  }
}

/** Throws FRC_TARGET for what can't be told ahead, and so not be put in quarantine. */
export function checkMutation (target: unknown): Targets {
  return checkNamed(target, `can't mutate ${show(target)}`, 'put in quarantine; name keys and tags, or invalidate it when the ' +
    'work is done')
}

/** Throws FRC_TARGET for what can't be made stale. */
export function checkSoft (target: unknown): Targets {
  return checkNamed(target, `can't softly invalidate ${show(target)}`, 'made stale; name keys and tags, or leave out soft')
}

function checkNamed (target: unknown, what: string, instead: string): Targets {
  const targets = checkTarget(target)
  if (targets.prefixes.length === 0 && !targets.all) return targets
  throw new RouteCacheError('FRC_TARGET', `${what}: what begins with a prefix, or everything, can't be ${instead}`)
}

/** The key that is stored by this name. Throws FRC_TARGET. */
export function checkKeyOf (key: unknown): string {
  return boundKey(escapeKey(textOf(key)))
}

/**
 * The keys that may be asked for by this name: as the user wrote it, then as logs show it; of most names that is the same.
 * Throws FRC_TARGET.
 */
export function askedKeys (key: unknown): string[] {
  return storedKeys(textOf(key)).reverse()
}

/** All keys that this name may mean. Throws FRC_TARGET. */
function keysOf (key: unknown): string[] {
  return storedKeys(textOf(key))
}

function textOf (key: unknown): string {
  if (typeof key === 'string' && key !== '') return key
  throw new RouteCacheError('FRC_TARGET', `a key is a non-empty string, not ${show(key)}`)
}

/** Each of them alone. */
export function apart ({ keys, tags, prefixes, all }: Targets): Targets[] {
  return [
    ...keys.map((key) => ({ ...NO_TARGETS, keys: [key] })),
    ...tags.map((tag) => ({ ...NO_TARGETS, tags: [tag] })),
    ...prefixes.map((prefix) => ({ ...NO_TARGETS, prefixes: [prefix] })),
    ...all ? [{ ...NO_TARGETS, all }] : []
  ]
}

/** All of these, each once. */
export function together (list: readonly Targets[]): Targets {
  return {
    keys: [...new Set(list.flatMap(({ keys }) => keys))],
    tags: [...new Set(list.flatMap(({ tags }) => tags))],
    prefixes: [...new Set(list.flatMap(({ prefixes }) => prefixes))],
    all: list.some(({ all }) => all)
  }
}

export function isNothing ({ keys, tags, prefixes, all }: Targets): boolean {
  return keys.length === 0 && tags.length === 0 && prefixes.length === 0 && !all
}

/** For the log: the kinds of targets that were named. */
export function mentioned ({ keys, tags, prefixes, all }: Targets): object {
  return {
    ...keys.length > 0 && { keys },
    ...tags.length > 0 && { tags },
    ...prefixes.length > 0 && { prefix: prefixes.length === 1 ? prefixes[0] : prefixes },
    ...all && { all }
  }
}
