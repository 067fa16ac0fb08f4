// A store as it looks to tests of what neither varies nor has tags: keys only.
import type { FillResult, Lease, Seen, Store, Taken } from '../../plugin/store/store.js'

export interface PlainStore extends Pick<Store, 'kind' | 'release' | 'invalidate' | 'close'> {
  read: (key: string) => Promise<Buffer | null>
  /** Null: somebody else has it. */
  take: (key: string) => Promise<Lease | null>
  fill: (key: string, lease: Lease, fill: { bytes: Buffer, life: number }) => Promise<FillResult>
}

export function plain (store: Store): PlainStore {
  return {
    kind: store.kind,
    read: async (key) => (await store.read({ key, variant: null, tags: [] })).main,
    take: async (key) => leaseOf(await store.take(key, null, NOTHING_SEEN)),
    fill: async (key, lease, fill) => await store.fill(key, lease, { ...fill, varied: null, tags: [], unreadTags: [] }),
    release: async (key, lease) => { await store.release(key, lease) },
    invalidate: async (targets) => await store.invalidate(targets),
    close: () => { store.close() }
  }
}

/** Takes the lease whatever lies there. */
export const NOTHING_SEEN: Seen = { tags: [], missing: [], bytes: undefined, marker: null }

/** The lease, if it was taken. */
export function leaseOf (taken: Taken): Lease | null {
  return typeof taken === 'string' ? null : taken
}
