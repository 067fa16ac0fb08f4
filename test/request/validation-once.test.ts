// A route's validators run once for each request, as without the plugin, on a miss and on a hit; and behind a hit the
// request is as validation leaves it. A request that is refused is one that the cache has nothing to do with.
import type { FastifyInstance, FastifySchemaCompiler } from 'fastify'
import t, { type Test } from 'tap'
import { cachedApp, loggingApp, onEachStore, settled, type CachedApp } from '../helpers/app.js'
import { until } from '../helpers/until.js'

const PARTS = { params: 'params', querystring: 'query', headers: 'headers' } as const

interface Kind {
  /** Gives what a validator gives. */
  validate: (input: Record<string, string>) => unknown
}

const isRefused = (input: Record<string, string>): boolean => Object.values(input).includes('bad')

const KINDS: Record<string, Kind> = {
  synchronous: { validate: (input) => !isRefused(input) },
  asynchronous: { validate: async (input) => { if (isRefused(input)) throw new Error('bad') } },
  'with a value in its place': {
    validate: (input) => isRefused(input) ? { error: new Error('bad') } : { value: { ...input, added: 'yes' } }
  },
  'that throws': { validate: (input) => { if (isRefused(input)) throw new Error('bad') } }
}

interface Asked { url: string, headers?: Record<string, string>, method?: 'GET' | 'HEAD' }

/** Declares routes with a validation that counts; gives what validated, and with what result handlers and hooks saw it. */
function counting (app: FastifyInstance, { validate }: Kind, cache: object | undefined): string[] {
  const seen: string[] = []
  const validatorCompiler: FastifySchemaCompiler<unknown> = ({ httpPart }) => {
    const run = (input: Record<string, string>): never => {
      seen.push(`validates ${httpPart}`)
      return validate(input) as never
    }
    // What Fastify answers with where it is false.
    return Object.assign(run, { errors: [{ message: 'bad', instancePath: '', keyword: '', params: {}, schemaPath: '' }] })
  }
  app.addHook('onSend', async (request, _, payload) => {
    const { added } = (request.query ?? {}) as { added?: string }
    seen.push(`sends ${added ?? 'as it came'}`)
    return payload
  })
  for (const part of Object.keys(PARTS)) {
    app.get(`/${part}/:id`, { schema: { [part]: {} }, validatorCompiler, ...cache !== undefined && { cache } }, async () => part)
  }
  const all = { params: {}, querystring: {}, headers: {} }
  app.get('/all/:id', { schema: all, validatorCompiler, attachValidation: true, ...cache !== undefined && { cache } }, async (request) =>
    request.validationError?.message ?? 'all')
  return seen
}

interface Both { bare: FastifyInstance, app: CachedApp, seen: { bare: string[], ours: string[] } }

/** What the cache did of this request; or what it has run without the plugin that it has not with it, in that order. */
async function both ({ bare, app, seen }: Both, asked: Asked, order = (all: string[]) => all): Promise<string> {
  seen.bare.length = seen.ours.length = 0
  const { statusCode, body } = await bare.inject(asked)
  const answer = await app.inject(asked)
  await settled(app)
  if (answer.statusCode !== statusCode || answer.body !== body) return `${answer.statusCode} ${answer.body}, not ${statusCode} ${body}`
  if (String(order(seen.ours)) !== String(order(seen.bare))) return `${String(seen.ours)}, not ${String(seen.bare)}`
  return /hit|fwd=\w+(; detail=\w+)?/.exec(String(answer.headers['cache-status']))![0]
}

for (const [name, kind] of Object.entries(KINDS)) {
  t.test(name, async (t) => {
    await onEachStore(t, async (t, open) => {
      const { app: bare } = loggingApp(t)
      const app = await open()
      const seen = { bare: counting(bare, kind, undefined), ours: counting(app, kind, {}) }
      const ask = async (asked: Asked): Promise<string> => await both({ bare, app, seen }, asked)
      const bad: Record<string, Asked> = {
        params: { url: '/params/bad' },
        querystring: { url: '/querystring/1?q=bad' },
        headers: { url: '/headers/1', headers: { 'x-q': 'bad' } },
        all: { url: '/all/1?q=bad' }
      }
      for (const part of [...Object.keys(PARTS), 'all']) {
        t.equal(await ask({ url: `/${part}/1` }), 'fwd=miss', part)
        t.equal(await ask({ url: `/${part}/1` }), 'hit', part)
        t.equal(await ask({ url: `/${part}/1`, method: 'HEAD' }), 'hit', `HEAD ${part}`)
        t.equal(await ask(bad[part]!), 'fwd=bypass; detail=invalid', `${part}, refused`)
      }
      t.match(app.cache.stats().total, { bypasses: { invalid: 4 } })
    })
  })
}

// The lookup stands ahead of the validation, and of hooks that see the values as they came.
for (const [name, kind] of Object.entries(KINDS)) {
  for (const setting of ['on the route', 'on the app'] as const) {
    t.test(`${name}, ahead of its time, set ${setting}`, async (t) => {
      const { app: bare } = loggingApp(t)
      const app = await cachedApp(t)
      const seen = { bare: countingAhead(bare, kind, { setting }), ours: countingAhead(app, kind, { setting, cache: { hook: 'onRequest' } }) }
      const ask = async (url: string): Promise<string> => await both({ bare, app, seen }, { url }, (all) => all.toSorted())
      t.equal(await ask('/1?q=a&add=1'), 'fwd=miss')
      t.equal(await ask('/2?q=a'), 'fwd=miss')
      // For the lookup, what throws is one of the functions that the key is made with.
      const refused = name === 'that throws' ? 'fwd=bypass; detail=policy' : 'fwd=bypass; detail=invalid'
      t.equal(await ask('/bad?q=a'), refused)
      t.equal(await ask('/1?q=bad'), refused)
      seen.ours.length = 0
      t.match((await app.inject('/1?q=a&add=1')).headers['cache-status'], 'hit')
      t.same(seen.ours, ['validates params', 'validates querystring', 'validates headers'], 'for the key')
      // A hook has made another value of it: that is validated, and was not.
      t.equal((await bare.inject('/3?q=a&change=b')).body, (await app.inject('/3?q=a&change=b')).body)
      t.equal((await bare.inject('/3?q=a&change=bad')).body, (await app.inject('/3?q=a&change=bad')).body)
    })
  }
}

interface Ahead { setting: 'on the route' | 'on the app', cache?: object }

/** A validator that changes what it is given, and a hook behind the lookup that may do so ahead of it. */
function countingAhead (app: FastifyInstance, { validate }: Kind, { setting, cache }: Ahead): string[] {
  const seen: string[] = []
  const validatorCompiler: FastifySchemaCompiler<unknown> = ({ httpPart }) => {
    const run = (input: Record<string, string>): never => {
      seen.push(`validates ${httpPart}`)
      if (httpPart === 'querystring') {
        input['by-default'] = 'yes'
        delete input.add
      }
      return validate(input) as never
    }
    return Object.assign(run, { errors: [{ message: 'bad', instancePath: '', keyword: '', params: {}, schemaPath: '' }] })
  }
  if (setting === 'on the app') app.setValidatorCompiler(validatorCompiler)
  const preValidation = async (request: { query: unknown }): Promise<void> => {
    const query = request.query as Record<string, string>
    seen.push(`a hook sees ${Object.keys(query).join()}`)
    if (query.change !== undefined) query.q = query.change
  }
  app.get('/:id', {
    schema: { params: {}, querystring: {}, headers: {} },
    preValidation,
    ...setting === 'on the route' && { validatorCompiler },
    ...cache !== undefined && { cache }
  }, async ({ params, query, headers }) => {
    seen.push('handles')
    return { params, query, host: headers.host }
  })
  return seen
}

async function refreshed (t: Test, cache: object): Promise<number> {
  const clock = { now: 0 }
  const app = await cachedApp(t, { now: () => clock.now })
  const seen = counting(app, KINDS.asynchronous!, cache)
  await app.inject('/all/1')
  await settled(app)
  seen.length = 0
  clock.now = 15_000
  t.match((await app.inject('/all/1')).headers['cache-status'], 'hit')
  await until(async () => app.cache.stats().total.stores === 2, 'the refresh is stored')
  return seen.filter((what) => what === 'validates querystring').length
}

t.test('a refresh validates once, too, and a warm-up', async (t) => {
  t.equal(await refreshed(t, { ttl: 10, staleWhileRevalidate: 60 }), 2, 'the client\'s request, and that of the refresh')
  const app = await cachedApp(t)
  const seen = counting(app, KINDS.synchronous!, {})
  t.match(await app.cache.warm(['/querystring/1', '/querystring/1?q=bad']), { stored: 1, bypassed: 1 })
  t.equal(seen.filter((what) => what === 'validates querystring').length, 2)
  seen.length = 0
  t.match(await app.cache.explain('/querystring/1'), { outcome: 'hit' })
  t.equal(seen.filter((what) => what === 'validates querystring').length, 1)
})

t.test('headers that the validation takes away still select', async (t) => {
  const app = await cachedApp(t)
  const validatorCompiler: FastifySchemaCompiler<unknown> = () => (input) => {
    delete (input as Record<string, string>)['accept-language']
    return true
  }
  app.get('/', { schema: { headers: {} }, validatorCompiler, cache: { key: 'k', vary: ['accept-language'] } }, async ({ raw }) =>
    String(raw.rawHeaders.includes('de')))
  for (const [language, body] of [['de', 'true'], ['en', 'false'], ['de', 'true'], ['en', 'false']]) {
    t.equal((await app.inject({ url: '/', headers: { 'accept-language': language } })).body, body)
    await settled(app)
  }
  t.match(app.cache.stats().total, { hits: 2, misses: 2 })
})
