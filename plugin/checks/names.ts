// Whether what writers name is anything that this app caches. A misspelt key, or a tag that is named as a key, invalidates
// nothing, and nobody would be told: the old response is served until its ttl ends.
//
// Not all names are known. A `key` or `tags` that is a function may give any. So may `getOrSet` and `reply.cacheTags`, whose
// names are known only after the call, in this process. So a name is doubted
//   at start      where no route can have it, and it is a tag named as a key, a key named as a tag, or most likely misspelt
//   in a call     likewise, and where nothing in this process has had it so far
import { show } from '../errors.js'
import { canMake, canMeet, isMisspelt, type NamePattern } from '../key/name-pattern.js'

/** An option of a call: its names are not judged. */
export const UNDOUBTED = Symbol('fastify-route-cache.undoubted')

type Kind = 'key' | 'tag'

/** The names that a route has. */
export interface RouteNames {
  route: string
  /** Null: of a function, or the default. */
  key: NamePattern | null
  /** Null: of a function. */
  tags: readonly NamePattern[] | null
  hasDefaultKey: boolean
}

/** What a writer names. */
export interface Named { keys: readonly string[], tags: readonly string[] }

interface Known { pattern: NamePattern, route: string }

/** A process that has had more names than these has too many to be remembered. */
const MOST_NAMES = 10_000
/** Of a call's names only the first are looked at: the others are most likely of the same kind. */
const MOST_LOOKED_AT = 20

export class KnownNames {
  readonly #known: Record<Kind, Known[]> = { key: [], tag: [] }
  /** Names that calls have had; null: too many. */
  readonly #had: Record<Kind, Set<string> | null> = { key: new Set(), tag: new Set() }
  /** A function may give any name. */
  readonly #isOpen: Record<Kind, boolean> = { key: false, tag: false }
  readonly #doubted = new Set<string>()
  #hasRoutes = false

  add ({ route, key, tags, hasDefaultKey }: RouteNames): void {
    this.#hasRoutes = true
    if (key !== null) this.#known.key.push({ pattern: key, route })
    else if (!hasDefaultKey) this.#isOpen.key = true
    for (const pattern of tags ?? []) this.#known.tag.push({ pattern, route })
    if (tags === null) this.#isOpen.tag = true
  }

  /** A value, or a handler, has these. */
  had ({ keys, tags }: Named): void {
    for (const key of keys) this.#note('key', key)
    for (const tag of tags) this.#note('tag', tag)
  }

  #note (kind: Kind, name: string): void {
    const names = this.#had[kind]
    if (names === null || names.has(name)) return
    if (names.size >= MOST_NAMES) this.#had[kind] = null
    else names.add(name)
  }

  /** What is wrong with a template of a writer, in words; null: nothing is known to be. */
  doubtOfTemplate (kind: Kind, pattern: NamePattern): string | null {
    const known = this.#known[kind]
    if (!this.#hasRoutes || this.#isOpen[kind] || known.some((one) => canMeet(one.pattern, pattern))) return null
    if (kind === 'key' && pattern.written.startsWith('/')) return null
    return this.#otherKind(kind, pattern.written, (other) => canMeet(other, pattern)) ?? misspelt(kind, pattern, known)
  }

  /** What is wrong with the names of a call, in words; null: nothing is known to be, or it was said. */
  doubtOfCall ({ keys, tags }: Named): string | null {
    if (!this.#hasRoutes) return null
    for (const [kind, names] of [['key', keys], ['tag', tags]] as const) {
      for (const name of names.slice(0, MOST_LOOKED_AT)) {
        const doubt = this.#doubtOf(kind, name)
        if (doubt !== null) return doubt
      }
    }
    return null
  }

  #doubtOf (kind: Kind, name: string): string | null {
    const had = this.#had[kind]
    if (this.#isOpen[kind] || had === null || had.has(name) || name.includes('%~')) return null
    const known = this.#known[kind]
    if (known.some(({ pattern }) => canMake(pattern, name))) return null
    if (kind === 'key' && name.startsWith('/')) return null
    const said = `${kind} ${name}`
    if (this.#doubted.has(said) || this.#doubted.size >= MOST_LOOKED_AT) return null
    this.#doubted.add(said)
    return this.#otherKind(kind, name, (other) => canMake(other, name)) ??
      `the ${kind} ${show(name)} was invalidated, which neither a route nor a call in this process has had: ` +
      (known.length === 0 ? `no route has a ${kind}` : `routes have ${listOf(known)}`)
  }

  #otherKind (kind: Kind, name: string, isIt: (pattern: NamePattern) => boolean): string | null {
    const other = kind === 'key' ? 'tag' : 'key'
    const found = this.#known[other].find(({ pattern }) => isIt(pattern))
    if (found === undefined) return null
    const right = other === 'tag' ? `{ tags: [${show(name)}] }` : show(name)
    return `the ${kind} ${show(name)} was named, which no route has; it is a ${other} of ${found.route}: write ${right}`
  }
}

function misspelt (kind: Kind, meant: NamePattern, known: readonly Known[]): string | null {
  const { written } = meant
  const near = known.find(({ pattern }) => isMisspelt(pattern, meant))
  if (near === undefined) return null
  return `the ${kind} ${show(written)} is named, which no route has; ${near.route} has ${show(near.pattern.written)}`
}

function listOf (known: readonly Known[]): string {
  const names = [...new Set(known.map(({ pattern }) => show(pattern.written)))]
  return names.slice(0, 5).join(', ') + (names.length > 5 ? ', …' : '')
}
