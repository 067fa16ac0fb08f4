// The app that every process runs: a route for each form of the workload, the writers' route, and the statistics.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { setTimeout as delay } from 'node:timers/promises'
import type { MutateTarget } from '../../../plugin/index.js'
import type { Database, Versions } from './database.js'
import { FORMS_OF, LIST_TAG, STALE_TIME, type FormName, type ModeName, type Target, type WritePlan } from './workload.js'

/** For how long a writer repeats an invalidation that fails. */
const INSISTENCE = 20_000

const SOFT_STALE = STALE_TIME.soft! / 1000

interface Origin {
  app: FastifyInstance
  database: Database
  /** The number of this process. */
  process: number
}

/** What a read is answered. */
export interface ReadBody {
  process: number
  versions: Versions
  /** Of a write: how often its invalidations had failed before they succeeded. */
  retries?: number
  /** The request headers that selected this response: nobody else's may be given out. */
  selected?: Record<string, string | undefined>
}

/** Only the routes of these modes: an older plugin refuses the options of others. */
export function addRoutes (origin: Origin, modes: readonly ModeName[]): void {
  for (const form of new Set(modes.flatMap((mode) => FORMS_OF[mode]))) adders[form](origin)
  addWriter(origin)
  origin.app.get('/stats', async () => origin.app.cache.stats())
}

const adders: Record<FormName, (origin: Origin) => void> = {
  key ({ app, database, process }) {
    app.get('/row/:id', { cache: { key: 'row:{id}' } }, async (request) => await late(request, {
      process, versions: await database.row(numberOf(request, 'id'))
    }))
  },
  tag ({ app, database, process }) {
    const tags = ({ params }: { params: unknown }): string[] => {
      const { id, page } = params as { id: string, page: string }
      return [`group:${id}`, `page:${page}`]
    }
    app.get('/tagged/:id/:page', { cache: { key: 'tagged:{id}:{page}', tags } }, async (request) => await late(request, {
      process, versions: await database.row(numberOf(request, 'id'))
    }))
  },
  list ({ app, database, process }) {
    app.get('/list/:from', { cache: { key: 'list:{from}', tags: [LIST_TAG] } }, async (request) => await late(request, {
      process, versions: await database.rowsFrom(numberOf(request, 'from'))
    }))
  },
  view ({ app, database, process }) {
    app.get('/view/:id', { cache: { key: 'view:{id}' } }, async (request, reply) => {
      const versions = await database.rowOfView(numberOf(request, 'id'))
      reply.cacheTags(...Object.keys(versions).map((row) => `row:${row}`))
      return await late(request, { process, versions })
    })
  },
  value (origin) {
    origin.app.get('/value/:id', async (request, reply) =>
      await valueOf(origin, { request, reply, key: `value:${numberOf(request, 'id')}`, tags: [] }))
  },
  'tagged-value' (origin) {
    origin.app.get('/tagged-value/:id/:page', async (request, reply) => {
      const { id, page } = request.params as { id: string, page: string }
      return await valueOf(origin, { request, reply, key: `tagged-value:${id}:${page}`, tags: [`values:${id}`] })
    })
  },
  soft ({ app, database, process }) {
    app.get('/soft/:id', { cache: { key: 'soft:{id}', staleWhileRevalidate: SOFT_STALE } }, async (request) => await late(request, {
      process, versions: await database.row(numberOf(request, 'id'))
    }))
  },
  'soft-tag' ({ app, database, process }) {
    app.get('/soft-tag/:id/:page', {
      cache: { key: 'soft-tag:{id}:{page}', tags: ['soft:{id}'], staleWhileRevalidate: SOFT_STALE }
    }, async (request) => await late(request, { process, versions: await database.row(numberOf(request, 'id')) }))
  },
  prefix ({ app, database, process }) {
    app.get('/prefixed/:id/:page', { cache: { key: 'p:{id}:{page}' } }, async (request) => await late(request, {
      process, versions: await database.row(numberOf(request, 'id'))
    }))
  },
  // The fields that select change with the version, so markers are replaced while others fill under them.
  vary ({ app, database, process }) {
    app.get('/varied/:id', { cache: { key: 'vary:{id}' } }, async (request, reply) => {
      const id = numberOf(request, 'id')
      const versions = await database.row(id)
      const fields = (versions[id] ?? 0) % 3 === 0 ? ['accept-language', 'x-plan'] : ['accept-language']
      reply.header('vary', fields.join(', '))
      const selected = Object.fromEntries(fields.map((name) => [name, String(request.headers[name])]))
      return await late(request, { process, versions, selected })
    })
  }
}

interface ValueQuestion {
  request: FastifyRequest
  reply: FastifyReply
  key: string
  tags: string[]
}

/** A value has no Cache-Status: whether it was there is seen by what was not run. */
async function valueOf (origin: Origin, { request, reply, key, tags }: ValueQuestion): Promise<ReadBody> {
  const { app, database, process } = origin
  let isHit = true
  const value = await app.cache.getOrSet(key, { ttl: 600, tags }, async () => {
    isHit = false
    return await late(request, { process, versions: await database.row(numberOf(request, 'id')) })
  })
  reply.header('cache-status', `value; ${isHit ? 'hit' : 'fwd=miss'}`)
  return value
}

function addWriter ({ app, database, process }: Origin): void {
  app.post<{ Body: WritePlan }>('/write', async (request) => {
    const { way, ...plan } = request.body
    return { process, ...await writers[way]({ app, database, process }, plan) }
  })
  // What the body names, when the handler has succeeded.
  const invalidates = ({ body }: { body: unknown }): Target => (body as WritePlan).targets[0]!
  for (const [path, option] of [['/write/declared', {}], ['/write/strict', { onError: 'fail' as const }]] as const) {
    app.post<{ Body: WritePlan }>(path, { cache: { invalidates, ...option } }, async (request) => {
      const { rows, pause } = request.body
      const versions = await database.bump(rows)
      if (pause > 0) await delay(pause)
      return { process, versions }
    })
  }
}

type Written = Pick<ReadBody, 'versions' | 'retries'>
type Writing = (origin: Origin, plan: Omit<WritePlan, 'way'>) => Promise<Written>

const followed = (invalidate: (app: FastifyInstance, target: Target) => Promise<unknown>): Writing =>
  async ({ app, database }, { rows, targets, pause }) => {
    const versions = await database.bump(rows)
    if (pause > 0) await delay(pause)
    let retries = 0
    for (const target of targets) retries += await insist(async () => await invalidate(app, target))
    return { versions, retries }
  }

/** A work that throws behind its commit. */
const THROWN = new Error('behind the commit')

const quarantined = (isThrown: boolean): Writing => async ({ app, database }, { rows, targets: [target], pause }) =>
  await whole(app, target!, async (written) => {
    await app.cache.mutate(target as MutateTarget, async () => {
      written(await database.bump(rows))
      if (pause > 0) await delay(pause)
      if (isThrown) throw THROWN
    }).catch((error: unknown) => { if (error !== THROWN) throw error })
  })

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
  set: async ({ app, database, process }, { rows: [row], pause }) => await whole(app, `row:${row}`, async (written) =>
    await app.cache.set(`row:${row}`, async () => {
      const versions = await database.bump([row!])
      written(versions)
      if (pause > 0) await delay(pause)
      return { process, versions }
    }, { route: `/row/${row}` })),
  declared: async () => { throw new Error('has a route of its own') },
  strict: async () => { throw new Error('has a route of its own') }
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

/** The row was read: what the handler does with it takes as long as the request says. */
async function late (request: FastifyRequest, body: ReadBody): Promise<ReadBody> {
  const milliseconds = Number(request.headers['x-delay'] ?? 0)
  if (milliseconds > 0) await delay(milliseconds)
  return body
}

function numberOf (request: FastifyRequest, name: string): number {
  return Number((request.params as Record<string, string>)[name])
}
