// `set` as a property: whatever the schema of a GET route and whatever a writer gives, the next GET is a hit with the bytes
// and the fields that the uncached route would have sent for it.
import fc from 'fast-check'
import fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { cachedApp, settled } from '../helpers/app.js'
import { extent } from '../helpers/extent.js'
import { injected, type Received } from './wire.js'

/** A route's response schema (null: none), what its handler would give, and how that is to be served. */
interface Case { schema: object | null, value: unknown, type: string | null, isWrapped: boolean }

const RUNS = extent(100, 300)

const scalar = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }), fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean(),
  fc.constantFrom(null, '', 'é\u4e2d\u{1f600}', '"\\\u2028')
)
const json = fc.letrec((tie) => ({
  value: fc.oneof({ maxDepth: 3 }, scalar, fc.array(tie('value'), { maxLength: 3 }), tie('object')),
  object: fc.dictionary(fc.constantFrom('id', 'name', 'list', 'when', 'hidden', 'x-y'), tie('value'), { maxKeys: 5 })
}))
const kind = fc.constantFrom('string', 'integer', 'number', 'boolean', ['string', 'null'], ['integer', 'null'])
const property = fc.oneof(
  kind.map((type) => ({ type })),
  kind.map((type) => ({ type: 'array', items: { type } })),
  fc.constant({ type: 'string', format: 'date-time' }), fc.constant({}),
  fc.constant({ type: 'object', additionalProperties: true }), fc.constant({ type: 'string', default: 'absent' })
)
const objectSchema = fc.record({
  type: fc.constant('object'),
  properties: fc.dictionary(fc.constantFrom('id', 'name', 'list', 'when', 'x-y'), property, { maxKeys: 5 }),
  additionalProperties: fc.boolean()
})
const anySchema = fc.oneof(fc.constant(null), objectSchema, objectSchema.map((items) => ({ type: 'array', items })), property)
const anyValue = fc.oneof(
  { weight: 5, arbitrary: json.object }, { weight: 2, arbitrary: fc.array(json.object, { maxLength: 3 }) }, scalar,
  fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)), fc.date({ noInvalidDate: true })
)
const anyCase: fc.Arbitrary<Case> = fc.record({
  schema: anySchema,
  value: anyValue,
  type: fc.constantFrom(null, 'application/vnd.api+json; charset=utf-8'),
  isWrapped: fc.boolean()
})

interface Handling { cache: object, answer: () => unknown }

/** The route as both apps have it; `answer` is its handler. */
function addRoute (app: FastifyInstance, { schema, type, isWrapped }: Case, { cache, answer }: Handling): void {
  app.addHook('preSerialization', async (_, reply, payload) => {
    if (type !== null) reply.type(type)
    return isWrapped && !Array.isArray(payload) ? { ...payload as object, id: 7 } : payload
  })
  const response = schema === null ? {} : { schema: { response: { 200: schema } } }
  app.get('/thing/:id', { ...response, ...cache }, async () => answer())
}

/** What a client can tell, but for what is a cache's own. */
function essence ({ status, fields, body }: Received): string {
  const own = ['age', 'cache-status', 'date', 'etag']
  return JSON.stringify([status, fields.filter(([name]) => !own.includes(name)), body.toString('latin1')])
}

t.test('the next GET has what the uncached route would have sent', async (t) => {
  const tally = { hits: 0, refused: 0 }
  await t.resolves(fc.assert(fc.asyncProperty(anyCase, async (one) => {
    const bare = fastify()
    const cached = await cachedApp(t)
    cached.log.level = 'silent'
    let runs = 0
    addRoute(bare, one, { cache: {}, answer: () => one.value })
    addRoute(cached, one, { cache: { cache: { key: 'thing:{id}' } }, answer: () => { runs++; return one.value } })
    const own = await injected(bare, '/thing/7')
    const given: unknown = await cached.cache.set('thing:7', () => one.value, { route: '/thing/7' })
    if (given !== one.value) throw new Error('it gives something else than the work')
    const next = await injected(cached, '/thing/7')
    await settled(cached)
    // What fails in its schema is not stored: the handler's answer is as bad.
    const isStored = own.status === 200
    if (isStored !== (runs === 0)) throw new Error(`${own.status}: ${runs} runs`)
    if (essence(next) !== essence(own)) throw new Error(`${essence(next)} instead of ${essence(own)}`)
    tally[isStored ? 'hits' : 'refused']++
    await bare.close()
    await cached.close()
  }), { numRuns: RUNS }))
  t.comment(JSON.stringify(tally))
  t.ok(tally.hits > RUNS / 2, 'most were hits')
})
