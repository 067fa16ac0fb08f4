// Whether what writers name is anything that this app caches. A misspelt key, or a tag that is named as a key, invalidates
// nothing, and nobody would be told: the old response is served until its ttl ends.
//
// Not all names are known: a `key` or `tags` that is a function may give any, and so may `getOrSet` and `reply.cacheTags`,
// also those of other processes. So a name that no route can have is doubted only if it is a tag named as a key, or a key
// named as a tag, or most likely misspelt.
import { show } from '../errors.js'
import { beginningOf, canMake, canMeet, isMisspelt, isMisspeltName, storedTags, type NamePattern } from '../key/key.js'

/** An option of a call: its names are not judged. */
export const UNDOUBTED = Symbol('fastify-route-cache.undoubted')

type Kind = 'key' | 'tag'

/** The names that a route has. */
interface RouteNames {
  route: string
  /** Null: of a function, or the default. */
  key: NamePattern | null
  /** Null: of a function. */
  tags: readonly NamePattern[] | null
  hasDefaultKey: boolean
}

/** The names of a call. */
export interface Named { keys: readonly string[], tags: readonly string[] }

interface Known { pattern: NamePattern, route: string }

/** More beginnings than these are not remembered. */
const MOST_BEGINNINGS = 1_000
/** Only the first names of a call are looked at, and no more than these are doubted. */
const MOST_LOOKED_AT = 20
const MOST_DOUBTED = 20

export class KnownNames {
  readonly #known: Record<Kind, Known[]> = { key: [], tag: [] }
  /** How the names begin that values and handlers have had. */
  readonly #had: Record<Kind, Set<string>> = { key: new Set(), tag: new Set() }
  /** A function may give any name. */
  readonly #isOpen: Record<Kind, boolean> = { key: false, tag: false }
  readonly #doubted = new Set<string>()

  add ({ route, key, tags, hasDefaultKey }: RouteNames): void {
    if (key !== null) this.#known.key.push({ pattern: key, route })
    else if (!hasDefaultKey) this.#isOpen.key = true
    for (const pattern of tags ?? []) this.#known.tag.push({ pattern, route })
    if (tags === null) this.#isOpen.tag = true
  }

  /** A value, or a handler, has these. */
  had ({ keys, tags }: { keys: readonly string[], tags: readonly unknown[] }): void {
    for (const key of keys) this.#note('key', key)
    for (const tag of tags) if (typeof tag === 'string') this.#note('tag', storedTags([tag])[0]!)
  }

  #note (kind: Kind, name: string): void {
    const beginnings = this.#had[kind]
    if (beginnings.size < MOST_BEGINNINGS) beginnings.add(beginningOf(name))
  }

  /** Whether a route, a handler or a value of this app may have this tag; `tag` as it is stored. */
  mayHaveTag (tag: string): boolean {
    const had = this.#had.tag
    if (this.#isOpen.tag || had.size >= MOST_BEGINNINGS || had.has(beginningOf(tag))) return true
    return this.#known.tag.some(({ pattern }) => canMake(pattern, tag))
  }

  /** The mistake in a writer's template, in words; null: none is known. */
  doubtOfTemplate (kind: Kind, pattern: NamePattern): string | null {
    const known = this.#known[kind]
    if (this.#isOpen[kind] || known.some((one) => canMeet(one.pattern, pattern))) return null
    return this.#otherKind(kind, pattern.written, (other) => canMeet(other, pattern)) ??
      misspelt(kind, pattern.written, known.find((one) => isMisspelt(one.pattern, pattern)))
  }

  /** The mistake in the names of a call, in words; null: none is known, or it was said. */
  doubtOfCall ({ keys, tags }: Named): string | null {
    if (this.#doubted.size >= MOST_DOUBTED) return null
    for (const [kind, names] of [['key', keys], ['tag', tags]] as const) {
      for (const name of names.slice(0, MOST_LOOKED_AT)) {
        const doubt = this.#doubtOf(kind, name)
        if (doubt !== null) return doubt
      }
    }
    return null
  }

  #doubtOf (kind: Kind, name: string): string | null {
    const known = this.#known[kind]
    const said = `${kind} ${name}`
    if (this.#isOpen[kind] || this.#doubted.has(said) || this.#had[kind].has(beginningOf(name))) return null
    if (known.some(({ pattern }) => canMake(pattern, name))) return null
    const doubt = this.#otherKind(kind, name, (other) => canMake(other, name)) ??
      misspelt(kind, name, known.find(({ pattern }) => isMisspeltName(pattern, name)))
    if (doubt !== null) this.#doubted.add(said)
    return doubt
  }

  #otherKind (kind: Kind, name: string, isIt: (pattern: NamePattern) => boolean): string | null {
    const other = kind === 'key' ? 'tag' : 'key'
    const found = this.#known[other].find(({ pattern }) => isIt(pattern))
    if (found === undefined) return null
    const right = other === 'tag' ? `{ tags: [${show(name)}] }` : show(name)
    return `the ${kind} ${show(name)} was named, which no route has; it is a ${other} of ${found.route}: write ${right}`
  }
}

function misspelt (kind: Kind, name: string, near: Known | undefined): string | null {
  return near === undefined
    ? null
    : `the ${kind} ${show(name)} was named, which no route has; ${near.route} has ${show(near.pattern.written)}`
}
