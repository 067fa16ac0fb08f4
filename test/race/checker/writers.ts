// How writers say what they changed: the way of each is in its plan.
import type { FastifyInstance } from 'fastify'
import { setTimeout as delay } from 'node:timers/promises'
import type { MutateTarget } from '../../../plugin/index.js'
import { COMPOSITIONS } from './composition.js'
import type { Versions } from './database.js'
import type { Origin, ReadBody } from './reading.js'
import type { Target, WritePlan } from './workload.js'

/** For how long a writer repeats an invalidation that fails. */
const INSISTENCE = 20_000

export function addWriters ({ app, database, process }: Origin): void {
  app.post<{ Body: WritePlan }>('/write', async (request) => {
    const { way, ...plan } = request.body
    return { process, ...await writers[way]({ app, database, process }, plan) }
  })
  const write = async ({ body: { rows, pause } }: { body: WritePlan }): Promise<ReadBody> => {
    const versions = await database.bump(rows)
    if (pause > 0) await delay(pause)
    return { process, versions }
  }
  // What the body names, when the handler has succeeded.
  const invalidates = ({ body }: { body: unknown }): Target => {
    const { targets: [target], padding } = body as WritePlan
    return padded(target!, padding)
  }
  app.post<{ Body: WritePlan }>('/write/declared', { cache: { invalidates } }, write)
  app.post<{ Body: WritePlan }>('/write/strict', { cache: { invalidates, onError: 'fail' } }, write)
  const { page, values } = COMPOSITIONS.prefixes
  const prefixes = [page, ...values].map(({ name }) => ({ prefix: name }))
  app.post<{ Body: WritePlan }>('/write/prefixes/:id', { cache: { invalidates: prefixes } }, write)
}

/** With so many names beside that nothing is kept under, behind the first: a call of many names takes its time. */
function padded (target: Target, padding: number): Target {
  if (padding === 0 || typeof target === 'string' || 'all' in target) return target
  const among = (names: string[]): string[] => names.toSpliced(1, 0, ...Array.from({ length: padding }, (_, i) => `nothing:${i}`))
  if (Array.isArray(target)) return among(target)
  const { keys, tags } = target
  return { ...target, ...keys !== undefined && { keys: among(keys) }, ...tags !== undefined && { tags: among(tags) } }
}

type Written = Pick<ReadBody, 'versions' | 'retries'>
type Writing = (origin: Origin, plan: Omit<WritePlan, 'way'>) => Promise<Written>

const followed = (invalidate: (app: FastifyInstance, target: Target) => Promise<unknown>): Writing =>
  async ({ app, database }, { rows, targets, pause, padding }) => {
    const versions = await database.bump(rows)
    if (pause > 0) await delay(pause)
    let retries = 0
    for (const target of targets) retries += await insist(async () => await invalidate(app, padded(target, padding)))
    return { versions, retries }
  }

/** A work that throws behind its commit. */
const THROWN = new Error('behind the commit')

const quarantined = (isThrown: boolean): Writing => async ({ app, database }, plan) => {
  const { rows, targets: [named], pause, padding } = plan
  const target = padded(named!, padding)
  return await whole(app, target, async (written) => {
    await app.cache.mutate(target as MutateTarget, async () => {
      written(await database.bump(rows))
      if (pause > 0) await delay(pause)
      if (isThrown) throw THROWN
    }).catch((error: unknown) => { if (error !== THROWN) throw error })
  })
}

/** A write with its work in it, until it succeeds: what the cache refused is tried again; what is written is told again. */
async function whole (
  app: FastifyInstance, target: Target, write: (written: (versions: Versions) => void) => Promise<unknown>
): Promise<Written> {
  let versions: Versions | null = null
  const retries = await insist(async () => versions === null
    ? await write((bumped) => { versions = bumped })
    : await app.cache.invalidate(target))
  return { versions: versions!, retries }
}

const writers: Record<WritePlan['way'], Writing> = {
  invalidate: followed(async (app, target) => await app.cache.invalidate(target)),
  soft: followed(async (app, target) => await app.cache.invalidate(target, { soft: true })),
  mutate: quarantined(false),
  throws: quarantined(true),
  set: async ({ app, database, process }, { rows: [row], targets: [key], pause, route }) =>
    await whole(app, key!, async (written) => await app.cache.set(key as string, async () => {
      const versions = await database.bump([row!])
      written(versions)
      if (pause > 0) await delay(pause)
      return { process, versions }
    }, { route })),
  declared: async () => { throw new Error('has a route of its own') },
  strict: async () => { throw new Error('has a route of its own') },
  prefixes: async () => { throw new Error('has a route of its own') }
}

/** As a careful writer does who was told that it did not succeed; gives how often it had to. */
async function insist (invalidate: () => Promise<unknown>): Promise<number> {
  const until = performance.now() + INSISTENCE
  for (let retries = 0; ; retries++) {
    try {
      await invalidate()
      return retries
    } catch (error) {
      if (performance.now() > until) throw error
      await delay(20)
    }
  }
}
