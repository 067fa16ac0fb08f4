// The app that every process runs: a route for each form of the workload, the writers' route, and the statistics.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { addComposition } from './composed-routes.js'
import { COMPOSITIONS, SOFT_TIME, type CompositionName } from './composition.js'
import { LIST_TAG, type FormName } from './forms.js'
import { late, numberOf, vary, type Origin, type ReadBody } from './reading.js'
import { FORMS_OF, type ModeName } from './workload.js'
import { addWriters } from './writers.js'

const SOFT_STALE = SOFT_TIME / 1000

/** Only the routes of these modes: an older plugin refuses the options of others. */
export function addRoutes (origin: Origin, modes: readonly ModeName[]): void {
  for (const form of new Set(modes.flatMap((mode) => FORMS_OF[mode]))) {
    if (isComposition(form)) addComposition(origin, form)
    else adders[form](origin)
  }
  addWriters(origin)
  origin.app.get('/stats', async () => origin.app.cache.stats())
}

function isComposition (form: FormName): form is CompositionName {
  return form in COMPOSITIONS
}

const adders: Record<Exclude<FormName, CompositionName>, (origin: Origin) => void> = {
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
  asked ({ app, database, process }) {
    app.get('/asked/:id', { cache: { key: 'asked:{id}', ttl: '100ms', revalidate: true } }, async (request, reply) =>
      await known(reply, await late(request, { process, versions: await database.row(numberOf(request, 'id')) })))
  },
  'asked-tag' ({ app, database, process }) {
    app.get('/asked-tag/:id/:page', {
      cache: { key: 'asked-tag:{id}:{page}', tags: ['asked:{id}'], ttl: '100ms', staleWhileRevalidate: '100ms', revalidate: true }
    }, async (request, reply) =>
      await known(reply, await late(request, { process, versions: await database.row(numberOf(request, 'id')) })))
  },
  prefix ({ app, database, process }) {
    app.get('/prefixed/:id/:page', { cache: { key: 'p:{id}:{page}' } }, async (request) => await late(request, {
      process, versions: await database.row(numberOf(request, 'id'))
    }))
  },
  vary ({ app, database, process }) {
    app.get('/varied/:id', { cache: { key: 'vary:{id}' } }, async (request, reply) => {
      const id = numberOf(request, 'id')
      const versions = await database.row(id)
      return await late(request, { process, versions, selected: vary(request, reply, versions[id] ?? 0) })
    })
  }
}

/** What a handler sends that knows its response by a validator that counts no more than every fourth version. */
async function known (reply: FastifyReply, body: ReadBody): Promise<ReadBody | FastifyReply> {
  const [version = 0] = Object.values(body.versions)
  return reply.notModified({ etag: Math.floor(version / 4) }) ? reply : body
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
