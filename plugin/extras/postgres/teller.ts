// From lines of the outbox to targets of the cache. A line that this build does not understand must not count as read:
// another build may have written it, for a table that has taken a watched one's place, or in a newer form. So the catalogue
// is read again, and if that does not help, all that is watched is invalidated.
import type pg from 'pg'
import type { Log } from '../../telling/events.js'
import { RouteCacheError } from '../../errors.js'
import { findRelations, type Relations } from './catalogue.js'
import { ALL_RELATIONS } from './ddl.js'
import { addTarget, invalidateFound, nothing, targetCount, type Cache, type FoundTargets } from './found.js'
import { OUTBOX_VERSION } from './shape.js'
import { addChange, type TableChange, type Watched } from './watch.js'

export class Teller {
  readonly #cache: Cache
  readonly #watches: readonly Watched[]
  readonly #log: Log
  #relations: Relations = new Map()
  /** The tables of which the log has said that their lines are not understood. */
  readonly #said = new Set<number>()
  /** Keys, tags and prefixes that were invalidated. */
  targets = 0

  constructor (cache: Cache, watches: readonly Watched[], log: Log) {
    this.#cache = cache
    this.#watches = watches
    this.#log = log
  }

  /** The versions of lines that it understands; earlier ones, too. */
  know (relations: Relations): void {
    this.#relations = new Map([...this.#relations, ...relations])
  }

  /** Null: anything may have changed. Rejects where the cache, or the catalogue, can't be asked. */
  async tell (changes: readonly TableChange[] | null, client: pg.Client): Promise<void> {
    const found = nothing()
    if (changes === null) this.#addAll(found)
    else await this.#addChanges(found, changes, client)
    await invalidateFound(this.#cache, found, (error) => {
      this.#log.error({ err: error }, 'the cache refuses what the database says that changed: everything is invalidated instead')
    })
    this.targets += targetCount(found)
    this.#log.debug({ changes: changes?.length ?? 'all', targets: targetCount(found) }, 'cache invalidated by the database')
  }

  async #addChanges (found: FoundTargets, changes: readonly TableChange[], client: pg.Client): Promise<void> {
    const unknown = changes.filter((change) => !this.#add(found, change))
    if (unknown.length === 0) return
    await this.#look(client)
    const lost = unknown.filter((change) => !this.#add(found, change))
    if (lost.length === 0) return
    this.#addAll(found)
    const relations = [...new Set(lost.map(({ relation }) => relation))].filter((relation) => !this.#said.has(relation))
    if (relations.length === 0) return
    this.#said.clear()
    relations.forEach((relation) => this.#said.add(relation))
    this.#log.warn({ relations }, 'the outbox has lines that this process does not understand, of tables with these OIDs: all that is ' +
      'watched is invalidated at each of them')
  }

  /** False: it is not understood. */
  #add (found: FoundTargets, change: TableChange): boolean {
    if (change.relation === ALL_RELATIONS) {
      this.#addAll(found)
      return true
    }
    if (!isWellFormed(change)) return false
    const relation = this.#relations.get(change.relation)
    if (relation === undefined) return this.#isOthers(change)
    for (const watched of [relation.watched, ...relation.also]) addChange(found, watched, change)
    return true
  }

  /** A line of a table that only another build watches, and whose name is none of ours. */
  #isOthers ({ source }: TableChange): boolean {
    if (source === null) return false
    const [schema, name] = source.table
    return this.#watches.every((watched) => watched.name !== name ||
      (watched.schema !== null && schema !== null && watched.schema !== schema))
  }

  async #look (client: pg.Client): Promise<void> {
    try {
      this.know(await findRelations(client, this.#watches))
    } catch (error) {
      // One of them is gone, or can't be watched any more.
      if (!(error instanceof RouteCacheError)) throw error
      this.#log.warn({ err: error }, 'what is watched in the database is not what it was')
    }
  }

  #addAll (found: FoundTargets): void {
    for (const { wholes } of this.#watches) wholes.forEach((whole) => addTarget(found, whole))
  }
}

/** Whether it has the form that this version writes, or an older one did. */
function isWellFormed ({ columns, rows, source }: TableChange): boolean {
  const isKnown = source === null ||
    (Number(source.version) <= OUTBOX_VERSION && Array.isArray(source.table) && isListOfLists(source.sets))
  if (!isKnown) return false
  return rows === null || (columns !== null && isListOfLists(rows) &&
    rows.every((row) => row.length === columns.length && row.every((text) => text === null || typeof text === 'string')))
}

function isListOfLists (value: unknown): value is unknown[][] {
  return Array.isArray(value) && value.every(Array.isArray)
}
