// Invalidations that the store confirmed lately: told again where another server has taken over from the one that confirmed
// them, as it may never have heard of them (store/witness.ts has the interleaving). Until it is told, this process serves
// nothing from the cache.
//
// Bounded in time: what was confirmed more than a minute or two ago is forgotten. Not while the servers are not known, a
// primary has lost all of its replicas, or replicas did not confirm in time what they were waited for: each may mean that
// the server was replaced. And in number: of more, everything is invalidated instead.
import type { Targets } from './claim.js'
import type { Milliseconds } from '../duration.js'
import { RouteCacheError } from '../errors.js'
import type { Answering, Follower, Witness } from '../store/witness.js'
import { isNothing, together } from '../key/target.js'

/** What was confirmed is kept for one such time at least, and two at most. */
export const SPAN: Milliseconds = 60_000
/** Targets in a span. */
export const MOST_IN_SPAN = 5_000

/** By which servers a target was invalidated last, and as which invalidation, counted. */
interface Confirmation { servers: string, order: number }

/** Whether the servers of now have it, need it no more, or have to be told. */
type Fate = (confirmation: Confirmation) => 'had' | 'moot' | 'owed'

export interface ConfirmedParts {
  /** Null: there are no servers that could be replaced. */
  witness: Witness | null
  /** Has these told again: from then on, `isTold` gives false until they are. */
  again: (list: readonly Targets[]) => void
  isTold: () => boolean
  /** A clock that is not set back or ahead. Default: this process' own. */
  now?: () => Milliseconds
}

export class Confirmed implements Follower {
  readonly #witness: Witness | null
  readonly #again: ConfirmedParts['again']
  readonly #isTold: ConfirmedParts['isTold']
  readonly #now: () => Milliseconds
  #old: Span
  #young: Span
  #orders = 0
  #isBehind = false
  /** When, counted in works, enough replicas were last missed; 0: all that was done has reached them. */
  #unreplicated = 0
  #works = 0

  constructor ({ witness, again, isTold, now = () => performance.now() }: ConfirmedParts) {
    this.#witness = witness
    this.#again = again
    this.#isTold = isTold
    this.#now = now
    this.#old = this.#young = new Span(now())
    witness?.follow(this)
  }

  get isKeeping (): boolean {
    this.#age()
    return !this.#old.isEmpty || !this.#young.isEmpty
  }

  get isBehind (): boolean {
    if (this.#isBehind && this.#isTold()) this.#isBehind = false
    return this.#isBehind
  }

  /** Does the work, which invalidates these, and keeps them once it is confirmed. Rejects as the work does. */
  async by<T> (targets: Targets, work: () => Promise<T>): Promise<T> {
    const witness = this.#witness
    if (witness === null) return await work()
    const servers = witness.sent()
    const begun = ++this.#works
    try {
      const result = await work()
      // Replication is one stream: who has this has all that came before it.
      if (begun > this.#unreplicated) this.#unreplicated = 0
      this.#keep(witness, targets, servers())
      return result
    } catch (error) {
      if (isUnreplicated(error)) {
        this.#unreplicated = ++this.#works
        this.#keep(witness, targets, servers())
      }
      throw error
    }
  }

  #keep (witness: Witness, targets: Targets, servers: string): void {
    // Others have taken over meanwhile, and nobody else would tell them.
    if (witness.servers !== '' && witness.servers !== servers) return this.#owe([targets])
    this.#age()
    this.#young.add(targets, { servers, order: ++this.#orders })
    witness.watch()
  }

  asking (): (answering: Answering) => void {
    // A confirmation that comes after the new history is not moot: it may be of a server that was replaced before.
    const before = this.#orders
    return ({ servers, unnamed, isNew }) => {
      const owed = this.#sift((confirmation) => {
        if (isNew && confirmation.order <= before) return 'moot'
        if (confirmation.servers === unnamed) confirmation.servers = servers
        return confirmation.servers === servers ? 'had' : 'owed'
      })
      if (owed.length > 0) this.#owe(owed)
    }
  }

  #sift (fate: Fate): Targets[] {
    const owed = [...this.#old.sift(fate), ...this.#young.sift(fate)]
    return owed.length === 0 ? [] : [together(owed)]
  }

  #owe (list: readonly Targets[]): void {
    this.#isBehind = true
    this.#again(list)
  }

  #age (): void {
    const witness = this.#witness
    if (this.#unreplicated > 0 || witness === null || witness.servers === '' || witness.isAlone) return
    const now = this.#now()
    if (now - this.#young.began < SPAN) return
    this.#old = this.#young
    this.#young = new Span(now)
  }
}

/** The primary has it. */
export function isUnreplicated (error: unknown): boolean {
  return error instanceof RouteCacheError && error.code === 'FRC_REPLICAS'
}

class Span {
  readonly began: Milliseconds
  readonly #keys = new Map<string, Confirmation>()
  readonly #tags = new Map<string, Confirmation>()
  readonly #prefixes = new Map<string, Confirmation>()
  /** By the servers. Also what was more than fits. */
  readonly #everything = new Map<string, Confirmation>()
  #isFull = false

  constructor (began: Milliseconds) {
    this.began = began
  }

  get isEmpty (): boolean {
    return this.#everything.size === 0 && this.#named.every((map) => map.size === 0)
  }

  get #named (): readonly Map<string, Confirmation>[] {
    return [this.#keys, this.#tags, this.#prefixes]
  }

  add ({ keys, tags, prefixes, all }: Targets, confirmation: Confirmation): void {
    for (const key of keys) this.#keys.set(key, confirmation)
    for (const tag of tags) this.#tags.set(tag, confirmation)
    for (const prefix of prefixes) this.#prefixes.set(prefix, confirmation)
    if (all) this.#addAll(confirmation)
    if (this.#isFull || this.#named.reduce((sum, { size }) => sum + size, 0) > MOST_IN_SPAN) this.#fill()
  }

  #addAll (confirmation: Confirmation): void {
    this.#everything.set(confirmation.servers, confirmation)
  }

  /** Only who confirmed, and when last, is kept of them. */
  #fill (): void {
    this.#isFull = true
    for (const map of this.#named) {
      for (const confirmation of map.values()) this.#addAll(confirmation)
      map.clear()
    }
  }

  /** Gives what is owed; that and what is moot goes. */
  sift (fate: Fate): Targets[] {
    const [keys, tags, prefixes, all] = [...this.#named, this.#everything].map((map) => owedOf(map, fate))
    const owed = { keys: keys!, tags: tags!, prefixes: prefixes!, all: all!.length > 0 }
    return isNothing(owed) ? [] : [owed]
  }
}

function owedOf (map: Map<string, Confirmation>, fate: Fate): string[] {
  const owed: string[] = []
  for (const [name, confirmation] of map) {
    const its = fate(confirmation)
    if (its === 'had') continue
    map.delete(name)
    if (its === 'owed') owed.push(name)
  }
  return owed
}
