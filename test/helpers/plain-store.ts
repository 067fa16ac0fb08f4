// A store as it looks to tests of what does not vary: keys only.
import type { FillResult, Lease, Store } from '../../plugin/store/store.js'

export interface PlainStore extends Pick<Store, 'kind' | 'release' | 'invalidate' | 'invalidatePrefix' | 'close'> {
  read: (key: string) => Promise<Buffer | null>
  take: (key: string) => Promise<Lease | null>
  fill: (key: string, lease: Lease, fill: { bytes: Buffer, life: number }) => Promise<FillResult>
}

export function plain (store: Store): PlainStore {
  return {
    kind: store.kind,
    read: async (key) => (await store.read(key, null))[0],
    take: async (key) => await store.take(key, null),
    fill: async (key, lease, fill) => await store.fill(key, lease, { ...fill, varied: null }),
    release: async (key, lease) => { await store.release(key, lease) },
    invalidate: async (keys) => await store.invalidate(keys),
    invalidatePrefix: async (prefix) => await store.invalidatePrefix(prefix),
    close: () => { store.close() }
  }
}
