// Plugins that put headers on each reply: a hit has those of its own request, never those of the one that was stored.
import cors, { type FastifyCorsOptions } from '@fastify/cors'
import helmet from '@fastify/helmet'
import rateLimit, { type RateLimitOptions } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest, LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { fetch, inBothOrders, membersOf, othersFields, outcome, sideBySide, type Order } from './orders.js'

const SHOP = 'https://shop.example'
const BLOG = 'https://blog.example'
const STRANGER = 'https://stranger.example'

/** Who asks, one after the other: each comes first once, so that hits follow answers of every kind. */
const VISITS = [SHOP, BLOG, undefined, STRANGER, SHOP, BLOG, undefined, STRANGER]

const origin = [SHOP, /^https:\/\/blog\./]
const CORS: Record<string, FastifyCorsOptions> = {
  'a list of origins': { origin, credentials: true, exposedHeaders: ['x-total'] },
  'an origin that is asked for': { origin: async (from: string | undefined) => from === SHOP || from === BLOG },
  'every origin, reflected': { origin: true },
  'one origin': { origin: SHOP },
  'a delegator': {
    delegator: async (request: FastifyRequest) => ({ origin, credentials: request.headers.origin === SHOP })
  },
  preParsing: { origin, hook: 'preParsing' },
  preValidation: { origin, hook: 'preValidation' },
  preHandler: { origin, hook: 'preHandler' },
  'preSerialization, behind the lookup': { origin, hook: 'preSerialization' }
}

async function visits (t: Test, order: Order, options: FastifyCorsOptions): Promise<{ seen: unknown[], runs: number }> {
  const app = await sideBySide(t, order, async (app) => await app.register(cors, options))
  let runs = 0
  app.get('/', { cache: { key: 'k' } }, async () => ({ total: ++runs > 0 }))
  const seen: unknown[] = []
  for (const [i, from] of [...VISITS, ...VISITS.toReversed()].entries()) {
    const response = await fetch(app, { url: '/', headers: from === undefined ? {} : { origin: from } })
    seen.push([from, response.statusCode, response.body, othersFields(response)])
    if (order !== 'theirs alone' && i >= VISITS.length) t.equal(outcome(response), 'hit')
  }
  return { seen, runs }
}

t.test('@fastify/cors', async (t) => {
  for (const [name, options] of Object.entries(CORS)) {
    const expected = (await visits(t, 'theirs alone', options)).seen
    await inBothOrders(t, `${name}: each origin its own headers`, async (t, order) => {
      const { seen, runs } = await visits(t, order, options)
      t.strictSame(seen, expected)
      // Where the headers come with the handler's answer, they are part of it, and it varies by Origin.
      t.equal(runs, options.hook === 'preSerialization' ? new Set(VISITS).size : 1)
    })
  }
  await inBothOrders(t, 'a handler that varies by something else', varyTwice)
  await inBothOrders(t, 'a handler whose body depends on Origin says so in the policy', byOrigin)
})

async function varyTwice (t: Test, order: Order): Promise<void> {
  const app = await sideBySide(t, order, async (app) => await app.register(cors, { origin }))
  app.get('/', { cache: { key: 'k' } }, async (request, reply) => {
    reply.header('vary', [String(reply.getHeader('vary')), 'Accept-Language'].join(', '))
    return request.headers['accept-language']
  })
  for (const [from, language, status] of [
    [SHOP, 'de', 'fwd=miss'], [BLOG, 'de', 'hit'], [BLOG, 'en', 'fwd=miss'], [SHOP, 'en', 'hit'], [SHOP, 'de', 'hit']
  ] as const) {
    const response = await fetch(app, { url: '/', headers: { origin: from, 'accept-language': language } })
    t.strictSame([outcome(response), response.body], [status, language])
    t.equal(response.headers['access-control-allow-origin'], from)
    t.strictSame(membersOf(response.headers.vary), ['accept-language', 'origin'])
  }
}

async function byOrigin (t: Test, order: Order): Promise<void> {
  const app = await sideBySide(t, order, async (app) => await app.register(cors, { origin }))
  app.get('/', { cache: { key: 'k', vary: ['Origin'] } }, async (request) => `for ${request.headers.origin}`)
  for (const status of ['fwd=miss', 'hit']) {
    for (const from of [SHOP, BLOG]) {
      const response = await fetch(app, { url: '/', headers: { origin: from } })
      t.strictSame([outcome(response), response.body], [status, `for ${from}`])
      t.match(response.headers, { 'access-control-allow-origin': from, vary: /^origin$/i })
    }
  }
}

const NONCE = /'nonce-([0-9a-f]{32})'/g
const PAGE = 'the page has its script in a file'

/** The nonces that the response allows, for script and style. */
function nonces ({ headers }: LightMyRequestResponse): string[] {
  return [...String(headers['content-security-policy']).matchAll(NONCE)].map(([, nonce]) => nonce!)
}

/** The header fields with the nonces left out. */
function withoutNonces (response: LightMyRequestResponse): Record<string, unknown> {
  const { 'content-security-policy': policy, ...others } = othersFields(response)
  return { ...others, 'content-security-policy': String(policy).replaceAll(NONCE, 'nonce') }
}

t.test('@fastify/helmet', async (t) => {
  await inBothOrders(t, 'each response its own nonces', ownNonces)
  await inBothOrders(t, 'a page with the nonce in it says noCache()', nonceInside)
  await inBothOrders(t, 'what the handler asks for is part of its answer', calledByHandler)
})

async function ownNonces (t: Test, order: Order): Promise<void> {
  const open = async (order: Order): Promise<FastifyInstance> => {
    const app = await sideBySide(t, order, async (app) => await app.register(helmet, { enableCSPNonces: true }))
    app.get('/', { cache: { key: 'k' }, helmet: { frameguard: { action: 'deny' } } }, async () => PAGE)
    return app
  }
  const expected = withoutNonces(await fetch(await open('theirs alone')))
  t.match(expected, { 'x-frame-options': 'DENY', 'content-security-policy': /script-src [^;]*nonce/ }, 'helmet is at work')
  const app = await open(order)
  const responses = [await fetch(app), await fetch(app), await fetch(app)]
  t.strictSame(responses.map(outcome), ['fwd=miss', 'hit', 'hit'])
  for (const response of responses) t.strictSame([withoutNonces(response), response.body], [expected, PAGE])
  const etag = String(responses[0]!.headers.etag)
  const notModified = await fetch(app, { url: '/', headers: { 'if-none-match': etag } })
  t.equal(notModified.statusCode, 304)
  const all = [...responses, notModified].flatMap(nonces)
  t.equal(new Set(all).size, 8, 'two of each response, none twice')
}

async function nonceInside (t: Test, order: Order): Promise<void> {
  const app = await sideBySide(t, order, async (app) => await app.register(helmet, { enableCSPNonces: true }))
  app.get('/', { cache: { key: 'k' } }, async (_, reply) => await reply.noCache().send(reply.cspNonce.script))
  app.get('/without', { cache: { key: 'without' } }, async (_, reply) => reply.cspNonce.script)
  for (const times of [1, 2]) {
    const response = await fetch(app)
    t.equal(response.body, nonces(response)[0])
    t.strictSame(app.cache.stats().total.refusals, { 'no-cache-called': times })
  }
  // What docs/limits.md warns of: without it, a hit's header and body disagree.
  const [miss, hit] = [await fetch(app, '/without'), await fetch(app, '/without')]
  t.strictSame([outcome(miss), outcome(hit)], ['fwd=miss', 'hit'])
  t.equal(hit.body, miss.body)
  t.not(hit.body, nonces(hit)[0])
}

async function calledByHandler (t: Test, order: Order): Promise<void> {
  const app = await sideBySide(t, order, async (app) => await app.register(helmet, { global: false }))
  app.get('/', { cache: { key: 'k' } }, async (_, reply) => {
    await reply.helmet({ frameguard: { action: 'deny' } })
    return PAGE
  })
  const [miss, hit] = [await fetch(app), await fetch(app)]
  t.strictSame([outcome(miss), outcome(hit)], ['fwd=miss', 'hit'])
  t.match(miss.headers, { 'x-frame-options': 'DENY', 'strict-transport-security': /max-age/ })
  t.strictSame(othersFields(hit), othersFields(miss))
}

interface Limit {
  options: RateLimitOptions & { global?: boolean }
  /** The route's own, which the package reads in its onRoute hook. */
  route?: RateLimitOptions
}

const LIMITS: Record<string, Limit> = {
  'for all routes': { options: { max: 3 } },
  'for all routes, in preHandler': { options: { max: 3, hook: 'preHandler' } },
  'for the route': { options: { global: false }, route: { max: 3 } },
  'for the route, in preValidation': { options: { global: false }, route: { max: 3, hook: 'preValidation' } }
}

t.test('@fastify/rate-limit', async (t) => {
  for (const [name, limit] of Object.entries(LIMITS)) {
    await inBothOrders(t, `${name}: a hit counts, with its client's counters`, (t, order) => limited(t, order, limit))
  }
})

async function limited (t: Test, order: Order, { options, route }: Limit): Promise<void> {
  const app = await sideBySide(t, order, async (app) => await app.register(rateLimit, { timeWindow: '1h', ...options }))
  let runs = 0
  app.get('/', { cache: { key: 'k' }, config: route === undefined ? {} : { rateLimit: route } }, async () => `run ${++runs}`)
  const get = async (remoteAddress: string): Promise<unknown[]> => {
    const response = await fetch(app, { url: '/', remoteAddress })
    const { 'x-ratelimit-limit': max, 'x-ratelimit-remaining': remaining } = response.headers
    if (response.statusCode === 429) {
      t.match(response.headers, { 'retry-after': /^\d+$/ })
      return [429, outcome(response), max, remaining]
    }
    t.match([response.body, response.headers['retry-after']], ['run 1', undefined])
    return [response.statusCode, outcome(response), max, remaining]
  }
  for (const [client, expected] of [
    ['10.0.0.1', [200, 'fwd=miss', '3', '2']],
    ['10.0.0.1', [200, 'hit', '3', '1']],
    ['10.0.0.2', [200, 'hit', '3', '2']],
    ['10.0.0.1', [200, 'hit', '3', '0']],
    ['10.0.0.1', [429, 'fwd=bypass; detail=answered', '3', '0']],
    ['10.0.0.2', [200, 'hit', '3', '1']],
    ['10.0.0.1', [429, 'fwd=bypass; detail=answered', '3', '0']]
  ] as const) t.strictSame(await get(client), expected, client)
  t.equal(runs, 1)
}
