// The routes of responses that are made of cached parts: for each composition its pages, and what they are made
// of for itself, so that parts are filled by other processes than pages are; and a warm-up of a page.
import type { FastifyRequest } from 'fastify'
import { COMPOSITIONS, fill, GROUP, type Composition, type CompositionName, type Part } from './composition.js'
import type { Versions } from './database.js'
import { DELAYS } from './forms.js'
import { late, numberOf, pause, vary, type Origin, type ReadBody } from './reading.js'

/** What a part is: the versions of its rows, and which processes made it and what it was made of. */
type Made = Required<Pick<ReadBody, 'versions' | 'parts'>>

const TTL = 600

export function addComposition (origin: Origin, name: CompositionName): void {
  const composition: Composition = COMPOSITIONS[name]
  addPages(origin, name, composition)
  addPart(origin, name, composition)
  origin.app.get(`/${name}/:id/:page/warm`, async (request) => {
    await origin.app.cache.warm([{ url: request.url.replace(/\/warm$/, ''), headers: delaysOf(request) }])
    return { process: origin.process, versions: {} }
  })
}

function addPages ({ app, database, process }: Origin, name: CompositionName, composition: Composition): void {
  const { page, ttl = TTL, staleTime, isTaggedLate, isList = false, isVaried = false } = composition
  const tags = page.by === 'tag' && isTaggedLate !== true ? { tags: [page.name] } : {}
  const stale = staleTime === undefined ? {} : { staleWhileRevalidate: staleTime / 1000 }
  app.get(`/${name}/:id/:page`, { cache: { key: page.key, ttl, ...tags, ...stale } }, async (request, reply) => {
    // The lease is taken by now.
    await pause(request, 'before')
    const id = numberOf(request, 'id')
    const rows = isList ? Array.from({ length: GROUP }, (_, i) => id + i) : [id]
    const origin = { app, database, process }
    const made = await Promise.all(rows.map(async (row) => await madeFor(origin, name, { request, row })))
    const versions: Versions = Object.assign({}, ...made.map(({ versions }) => versions))
    if (isTaggedLate === true) reply.cacheTags(fill(page.name, id))
    const selected = isVaried ? { selected: vary(request, reply, versions[id] ?? 0) } : {}
    return await late(request, { process, versions, parts: made.flatMap(({ parts }) => parts), ...selected })
  })
}

/** What a page is made of, by itself. */
function addPart (origin: Origin, name: CompositionName, { values: [first, ...others], isInjected }: Composition): void {
  const { app, process } = origin
  if (isInjected !== true) {
    app.get(`/${name}/:id/part`, async (request, reply) => {
      const { made, isHit } = await valueOf(origin, { request, row: numberOf(request, 'id') }, [first!, ...others])
      // A value has no Cache-Status: whether it was there is seen by what was not run.
      reply.header('cache-status', `value; ${isHit ? 'hit' : 'fwd=miss'}`)
      return { process, ...made }
    })
    return
  }
  const { key, by, name: tag } = first!
  app.get(`/${name}/:id/part`, { cache: { key, ...by === 'tag' && { tags: [tag] } } }, async (request) => {
    await pause(request, 'before')
    const { made: { versions, parts } } = await valueOf(origin, { request, row: numberOf(request, 'id') }, others)
    await pause(request, 'load')
    return { process, versions, parts: [process, ...parts] }
  })
}

interface Question { request: FastifyRequest, row: number }

async function madeFor (origin: Origin, name: CompositionName, question: Question): Promise<Made> {
  const { values, isInjected }: Composition = COMPOSITIONS[name]
  if (isInjected !== true) return (await valueOf(origin, question, values)).made
  const { request, row } = question
  const { statusCode, body } = await origin.app.inject({ url: `/${name}/${row}/part`, headers: delaysOf(request) })
  if (statusCode !== 200) throw new Error(`GET /${name}/${row}/part, by inject: ${statusCode} ${body}`)
  return JSON.parse(body) as Made
}

/** The first of these values, whose `load` asks for the second, and so on; the last one's reads the row. */
async function valueOf (
  origin: Origin, question: Question, [part, ...others]: readonly Part[]
): Promise<{ made: Made, isHit: boolean }> {
  const { app, database, process } = origin
  const { request, row } = question
  if (part === undefined) return { made: { versions: await database.row(row), parts: [] }, isHit: false }
  let isHit = true
  const tags = part.by === 'tag' ? [fill(part.name, row)] : []
  const made = await app.cache.getOrSet(fill(part.key, row), { ttl: TTL, tags }, async (): Promise<Made> => {
    isHit = false
    const { made: { versions, parts } } = await valueOf(origin, question, others)
    await pause(request, 'load')
    return { versions, parts: [process, ...parts] }
  })
  return { made, isHit }
}

function delaysOf ({ headers }: FastifyRequest): Record<string, string> {
  return Object.fromEntries(Object.values(DELAYS).map((name) => [name, String(headers[name] ?? 0)]))
}
