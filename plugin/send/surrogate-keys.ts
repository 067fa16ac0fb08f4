// The field by which caches in front of the app know a response, so that they can be told to drop it: `Surrogate-Key`
// (Fastly, Varnish) or `Cache-Tag` (Cloudflare, CloudFront). It stands on each response of the route. On a 304, too: a cache
// in front takes its fields for those of the copy (RFC 9111 §4.3.4), whose tags may be others than before, and a 304 may
// carry what guides the updates of caches (RFC 9110 §15.4.5).
import { namesOfAny, namesOfResponse } from '../key/surrogate.js'
import type { SurrogateField } from '../options/common-options.js'
import { isResponse } from '../response/payload.js'
import type { Log } from '../telling/events.js'

/** What stands between two names. */
const SEPARATORS: Readonly<Record<SurrogateField, string>> = { 'Surrogate-Key': ' ', 'Cache-Tag': ',' }

/**
 * Proxies refuse a response whose head is long: by default nginx takes 4 or 8 kB for all of it, Varnish 8 kB for a field.
 * Fastly and Cloudflare don't read beyond 16 kB.
 */
const MOST_CHARACTERS = 4_000

interface ReplyView {
  getHeader: (name: string) => unknown
  header: (name: string, value: string) => unknown
}

/** A response's key, and all its tags; null: they are not known. */
export interface NamedResponse { key: string, tags: readonly string[] }

const NONE: readonly string[] = []

/** The part of a policy that says it. */
interface Naming { surrogateField: SurrogateField | null, route: string }

/** The field of a route: what is said of one that is too long is said once for each. */
export class SurrogateKeys {
  readonly #field: SurrogateField
  readonly #prefix: string
  readonly #route: string
  #isSaid = false

  private constructor (field: SurrogateField, prefix: string, route: string) {
    this.#field = field
    this.#prefix = prefix
    this.#route = route
  }

  /** Null: the route's responses are not named. */
  static of ({ surrogateField: field, route }: Naming, prefix: string): SurrogateKeys | null {
    return field === null ? null : new SurrogateKeys(field, prefix, route)
  }

  /** Puts the names on the reply, behind those that are there. `payload`: a Response's fields win over the reply's. */
  put (reply: ReplyView, named: NamedResponse | null, { payload, log }: { payload: unknown, log: Log }): void {
    const field = this.#field
    const wrapped = isResponse(payload) ? payload.headers : null
    const there = wrapped?.get(field) ?? reply.getHeader(field)
    const value = this.#valueOf(named, there === undefined ? NONE : this.#read(there), log)
    reply.header(field, value)
    if (wrapped?.has(field) === true) wrapped.set(field, value)
  }

  /** A handler, or a hook, has named it, too. */
  #read (value: unknown): readonly string[] {
    const between = SEPARATORS[this.#field]
    return [value].flat().flatMap((one) => String(one).split(between)).map((name) => name.trim()).filter((name) => name !== '')
  }

  #valueOf (named: NamedResponse | null, others: readonly string[], log: Log): string {
    const prefix = this.#prefix
    if (named === null) return this.#join(others, namesOfAny(prefix))
    const value = this.#join(others, namesOfResponse(prefix, named.key, named.tags))
    if (value.length <= MOST_CHARACTERS) return value
    this.#warn(log, named.tags.length, value.length)
    return this.#join(others, namesOfAny(prefix))
  }

  #join (others: readonly string[], names: readonly string[]): string {
    const all = new Set(others)
    for (const name of names) all.add(name)
    return Array.from(all).join(SEPARATORS[this.#field])
  }

  #warn (log: Log, tags: number, characters: number): void {
    if (this.#isSaid) return
    this.#isSaid = true
    log.warn({ route: this.#route, tags, characters }, `a response has more tags than fit into ${this.#field}, ${MOST_CHARACTERS} characters: caches in ` +
      `front get the name ${JSON.stringify(namesOfAny(this.#prefix)[1])} instead, which each invalidation purges. Give it fewer tags`)
  }
}
