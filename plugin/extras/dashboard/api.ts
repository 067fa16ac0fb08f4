// The page's requests: the overview, the explanation of a key or a request, an invalidation.
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { ExplainKeyOption, ExplainOption, Explanation, InvalidateTarget, RouteCache } from '../../index.js'
import type { RouteCacheError } from '../../errors.js'
import { MAY_HAVE_TAG } from '../../calls/route-cache.js'
import type { Milliseconds } from '../../duration.js'
import { own } from '../../key/key.js'
import { within } from '../../store/wait/deadline.js'
import { isOwn } from './same-origin.js'
import type { Overview } from './overview.js'
import { protect, UNCACHED } from './pages.js'

/** The longest body: more than a key and its headers take. */
const BODY_LIMIT = 64 * 1024

interface ApiOptions {
  cache: RouteCache
  /** The report of this process, or null: of all; and the curve of this route, or null: of all. */
  overview: (only: string | null, route: string | null) => Promise<Overview>
}

export async function api (app: FastifyInstance, { cache, overview }: ApiOptions): Promise<void> {
  // Whatever the app takes elsewhere: here it is JSON, which no form of another site can send.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string', bodyLimit: BODY_LIMIT }, app.getDefaultJsonParser('error', 'error'))
  // In onSend: a request that Fastify refuses, a body that is no JSON for example, is answered by the app's error handler.
  app.addHook('onSend', async (_request, reply) => { protect(reply).header('cache-control', 'no-store') })
  app.addHook('onRequest', async (request, reply) => {
    if (!isOwn(request)) return answer(reply, 403, { message: 'another site has asked for this; only the dashboard\'s own page may' })
  })

  app.get('/overview', UNCACHED, async (request, reply) => {
    return answer(reply, 200, await overview(textOf(request.query, 'process'), textOf(request.query, 'route')))
  })

  app.post('/explain', async (request, reply) => {
    return await answered(reply, async () => bounded(await cache.explain(request.body as ExplainOption | ExplainKeyOption)))
  })

  app.post('/invalidate', async (request, reply) => {
    const { target, soft = false } = (request.body ?? {}) as { target?: unknown, soft?: unknown }
    return await answered(reply, async () => {
      const isTagThere = await areThere(cache, own(target, 'tags'))
      const entries = await cache.invalidate(target as InvalidateTarget, { soft: soft as boolean })
      request.log.info({ target, soft, entries }, 'invalidated by the dashboard')
      return { entries, found: entries > 0 || own(target, 'all') === true || isTagThere }
    })
  })
}

/** An invalidation does not wait longer for what it is told about its tags. */
const DEADLINE: Milliseconds = 1_000

/** Whether entries may have these tags: asked before they are invalidated. Null: it is not known. Never rejects. */
async function areThere (cache: RouteCache, tags: unknown): Promise<boolean | null> {
  // Wrong targets are refused by what comes next.
  if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === 'string')) return false
  const ask = (cache as Partial<RouteCache>)[MAY_HAVE_TAG]
  // Otherwise the client would keep the command until it is connected.
  if (ask === undefined || (cache.redis !== null && cache.redis.status !== 'ready')) return null
  return await within(DEADLINE, ask.call(cache, tags)).catch(() => null)
}

/** An entry may carry tags without end, and a page shows no more. */
const MOST_TAGS = 1_000
const LONGEST_TEXT = 100_000

function bounded (explanation: Explanation): Explanation {
  const { tags, text } = explanation
  const cut = text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}\n… and more` : text
  return { ...explanation, tags: tags.slice(0, MOST_TAGS), text: cut }
}

/** Answers with the cache's result, or with the reason of its failure. */
async function answered (reply: FastifyReply, ask: () => Promise<object>): Promise<FastifyReply> {
  try {
    return answer(reply, 200, await ask())
  } catch (error) {
    const { message, code } = error as Partial<RouteCacheError>
    // Not by its class: an app that requires the cache and imports the dashboard has two of them.
    if (code?.startsWith('FRC_') !== true) throw error
    return answer(reply, INPUT.includes(code) ? 400 : 503, { message, code })
  }
}

/** The input was wrong; all else is the store's. */
const INPUT: readonly string[] = ['FRC_OPTION', 'FRC_TARGET', 'FRC_TAG', 'FRC_KEY', 'FRC_ROUTE']

/** As bytes: an app, or one of its hooks, may have a serializer of its own. */
function answer (reply: FastifyReply, status: number, body: object): FastifyReply {
  return reply.code(status).type('application/json; charset=utf-8').send(Buffer.from(JSON.stringify(body)))
}

function textOf (query: unknown, name: string): string | null {
  const text = own(query, name)
  return typeof text === 'string' && text !== '' ? text : null
}
