// A look at what lies under a key, from outside: nothing is served or counted.
import type { ResponseCache } from '../cache/cache.js'
import { selectBy } from '../cache/lookup.js'
import type { Bytes, Milliseconds, Seconds } from '../duration.js'
import { bodyOf, decodedSize, type Entry } from '../entry/entry.js'
import type { RequestFields } from '../http/headers.js'
import { askedKeys } from '../key/target.js'
import { unpacked } from '../send/reply.js'

/** A stored response, seen from outside. */
export interface EntryInfo {
  status: number
  /** Names in lower case. */
  headers: Record<string, string | string[]>
  /** How long ago it was stored. */
  age: Seconds
  /** How long it will be served yet. */
  ttl: Seconds
  /** The body's size. */
  size: Bytes
}

/** The entry with its body; null: there is none that would be served. Rejects with FRC_STORE or FRC_DEADLINE. */
export async function getEntry (
  cache: ResponseCache, key: string, headers: RequestFields
): Promise<EntryInfo & { body: Buffer } | null> {
  const entry = await findEntry(cache, key, headers)
  // A copy: the bytes may be the store's own, or a view on a chunk that the client shares.
  const whole = entry === null ? null : await unpacked(entry).catch(() => null)
  return whole === null ? null : { ...describe(whole, cache.now()), body: Buffer.from(bodyOf(whole)) }
}

/** The same without the body. */
export async function inspectEntry (cache: ResponseCache, key: string, headers: RequestFields): Promise<EntryInfo | null> {
  const entry = await findEntry(cache, key, headers)
  return entry === null ? null : describe(entry, cache.now())
}

async function findEntry (cache: ResponseCache, key: string, headers: RequestFields): Promise<Entry | null> {
  for (const one of askedKeys(key)) {
    const entry = await cache.get(one, selectBy(headers))
    if (entry !== null) return entry
  }
  return null
}

function describe (entry: Entry, now: Milliseconds): EntryInfo {
  return {
    status: entry.status,
    headers: Object.fromEntries(entry.headers.map(([name, value]) => [name, typeof value === 'string' ? value : [...value]])),
    age: Math.max(0, Math.floor((now - entry.storedAt) / 1000)),
    ttl: Math.ceil((entry.staleAt - now) / 1000),
    size: decodedSize(entry)
  }
}
