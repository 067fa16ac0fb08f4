// Transparency as a property: whatever a handler answers, on a cached route the client gets the same, from the handler (a
// miss) and from the store (a hit). The reference is the same handler in an app that does not have the plugin.
import fc from 'fast-check'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { Agent } from 'node:http'
import t, { type Test } from 'tap'
import type { RouteCacheOptions } from '../../plugin/index.js'
import { cachedApp, settled } from '../helpers/app.js'
import { extent } from '../helpers/extent.js'
import { startRedis } from '../helpers/redis.js'
import { LIMIT, SCHEMA, STATUSES, anyAnswer, give, isStorable, isStream, type Answer } from './answer.js'
import { fetched, fieldOf, injected, type Received } from './wire.js'

type Get = (app: FastifyInstance, url: string) => Promise<Received>

interface World {
  cached: FastifyInstance
  bare: FastifyInstance
  /** What the handlers answer, by the number in the path. */
  answers: Answer[]
  get: Get
}

/** How often it was what. */
interface Tally { runs: number, hits: number, kinds: Map<string, number> }

t.test('by inject, on the in-process store', async (t) => {
  const world = await worldOf(t, {}, injected)
  await holds(t, world, extent(800, 2_000))
})

t.test('over HTTP, on Redis', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const world = await worldOf(t, { redis }, async (app, url) => await fetched(app, url, agent))
  for (const app of [world.cached, world.bare]) await app.listen({ port: 0, host: '127.0.0.1' })
  await holds(t, world, extent(200, 400))
})

async function worldOf (t: Test, options: RouteCacheOptions, get: Get): Promise<World> {
  const answers: Answer[] = []
  const cached = await cachedApp(t, { maxBodyBytes: LIMIT, ...options })
  cached.log.level = 'silent'
  const bare = fastify()
  t.teardown(async () => { await bare.close() })
  const statuses = Object.fromEntries(STATUSES.map((status) => [status, 60]))
  addRoutes(cached, answers, { cache: { key: '{shape}:{n}', statuses } })
  addRoutes(bare, answers, {})
  return { cached, bare, answers, get }
}

/** A route for each shape, which answers what the number in its path stands for. */
function addRoutes (app: FastifyInstance, answers: Answer[], option: object): void {
  const response = { '2xx': SCHEMA, '3xx': SCHEMA, '4xx': SCHEMA, '5xx': SCHEMA }
  const shapes: Record<Answer['shape'], object> = {
    bare: {},
    schema: { schema: { response } },
    guarded: { preHandler: async () => {} },
    hooked: { onSend: async (_: unknown, __: unknown, payload: unknown) => payload }
  }
  for (const [shape, route] of Object.entries(shapes)) {
    const cache = 'cache' in option ? { cache: { ...option.cache as object, key: `${shape}:{n}` } } : {}
    app.get(`/${shape}/:n`, { ...route, ...cache }, (request: FastifyRequest, reply: FastifyReply): unknown => {
      const answer = answers[Number((request.params as { n: string }).n)]!
      const payload = give(answer, reply)
      // Fastify waits for `send` where nothing is returned.
      if (answer.way === 'return' && payload !== undefined) return payload
      if (answer.way === 'later') setImmediate(() => send(reply, payload))
      else reply.send(payload)
    })
  }
}

/** As from a callback, where nobody else catches what Fastify throws at a payload that it can't send. */
function send (reply: FastifyReply, payload: unknown): void {
  try {
    reply.send(payload)
  } catch (error) {
    reply.send(error)
  }
}

async function holds (t: Test, world: World, numRuns: number): Promise<void> {
  const tally: Tally = { runs: 0, hits: 0, kinds: new Map() }
  const property = fc.asyncProperty(anyAnswer, async (answer) => { await isTransparent(world, answer, tally) })
  await t.resolves(fc.assert(property, { numRuns }))
  const kinds = [...tally.kinds].sort().map(([kind, n]) => `${kind} ${n}`).join(', ')
  t.comment(`${tally.runs} answers, ${tally.hits} of them served from the store: ${kinds}`)
  t.ok(tally.runs >= numRuns)
  t.ok(tally.hits > numRuns / 2, 'most second requests were hits')
}

/** Throws where a client could tell the cached answers from the handler's own. */
async function isTransparent ({ cached, bare, answers, get }: World, answer: Answer, tally: Tally): Promise<void> {
  const url = `/${answer.shape}/${answers.push(answer) - 1}`
  const own = await get(bare, url)
  const first = await get(cached, url)
  await settled(cached)
  const second = await get(cached, url)
  await settled(cached)
  equal(fieldOf(first, 'cache-status')!.replace(/; detail=[a-z-]+$/, ''), 'fastify-route-cache; fwd=miss', 'cache-status')
  const isHit = /; hit; ttl=60$/.test(fieldOf(second, 'cache-status')!)
  equal(isHit, isStorable(answer) ?? isHit, 'is a hit')
  for (const [name, received] of [['miss', first], ['second', second]] as const) compare(answer, received, own, name)
  tally.runs++
  if (!isHit) return
  tally.hits++
  tally.kinds.set(answer.kind, (tally.kinds.get(answer.kind) ?? 0) + 1)
}

function compare (answer: Answer, actual: Received, own: Received, name: string): void {
  equal(actual.status, own.status, `${name}: status`)
  equal(actual.body.equals(own.body), true, `${name}: body`)
  const length = fieldOf(actual, 'content-length')
  if (length !== undefined) equal(Number(length), own.body.length, `${name}: content-length`)
  const isTagged = fieldOf(own, 'etag') !== undefined
  equal(essence(answer, actual, isTagged), essence(answer, own, isTagged), `${name}: fields`)
}

/** The fields without those that a cache may, or must, change. */
function essence (answer: Answer, { fields }: Received, isTagged: boolean): string {
  const free = ['age', 'cache-status', 'date']
  // Who takes no gzip must not be sent it: caches are told, in one field.
  if (answer.encoding !== null) fields = withOneVary(fields)
  if (isStream(answer)) free.push('content-length', 'transfer-encoding')
  return JSON.stringify(fields.filter(([name, value]) =>
    !free.includes(name) && (isTagged || name !== 'etag' || !/^W\/"[\w-]{27}"$/.test(value))))
}

function withOneVary (fields: Received['fields']): Received['fields'] {
  const members = fields.filter(([name]) => name === 'vary').flatMap(([, value]) => value.split(/, ?/)).filter((one) => one !== 'accept-encoding')
  return [...fields.filter(([name]) => name !== 'vary'), ['vary', members.join(', ')]]
}

function equal (actual: unknown, expected: unknown, what: string): void {
  if (actual !== expected) throw new Error(`${what}: ${String(actual)} instead of ${String(expected)}`)
}
