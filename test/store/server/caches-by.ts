// A route is cached, and invalidated by key, tag and prefix, by a client, whatever its options are.
import type { Test } from 'tap'
import type { RouteCacheOptions } from '../../../plugin/index.js'
import { cachedApp, settled } from '../../helpers/app.js'

/** The client is connected. */
export async function cachesBy (t: Test, redis: NonNullable<RouteCacheOptions['redis']>, prefix: string): Promise<void> {
  const app = await cachedApp(t, { redis, prefix, memory: { maxAge: '1m' } })
  app.get('/:id', { cache: { key: 'k:{id}', tags: ['all'] } }, async ({ params }) => params)
  const ask = async (): Promise<string> => {
    const said: string[] = []
    for (const id of ['a', 'b', 'c']) {
      const { headers } = await app.inject(`/${id}`)
      await settled(app)
      said.push(/hit|fwd=\w+/.exec(String(headers['cache-status']))![0])
    }
    return [...new Set(said)].join()
  }
  for (const target of [undefined, { keys: ['k:a', 'k:b', 'k:c'] }, { tags: ['all'] }, { prefix: 'k:' }]) {
    if (target !== undefined) await app.cache.invalidate(target)
    t.strictSame([await ask(), await ask()], ['fwd=miss', 'hit'], JSON.stringify(target ?? 'cold'))
  }
}
