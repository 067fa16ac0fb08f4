// Registering reads the app's routes, to know where lookups may stand: whatever those routes are, the app starts, nothing of
// the app's is called for it, and what can't be read is taken for a guard.
import fastify, { type FastifyInstance, type FastifyServerOptions, type LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import routeCache from '../../plugin/index.js'
import { settled } from '../helpers/app.js'

type Line = Record<string, unknown>

/** An app that logs, with a strategy of its own for the version, which takes any value. */
function versionedApp (t: Test, options: FastifyServerOptions = {}): { app: FastifyInstance, lines: Line[] } {
  const lines: Line[] = []
  const stored = new Map<unknown, unknown>()
  const version = {
    name: 'version',
    storage: () => ({
      get: (asked: unknown) => {
        const found = [...stored].find(([value]) => [value].flat().map(textOf).includes(String(asked)))
        return found?.[1] ?? null
      },
      set: (value: unknown, store: unknown) => { stored.set(value, store) }
    }),
    deriveConstraint: (request: { headers: Record<string, unknown> }) => request.headers['x-version'],
    mustMatchWhenDerived: false,
    validate: () => true
  }
  const stream = { write: (line: string) => { lines.push(JSON.parse(line)) } }
  const app = fastify({ logger: { level: 'debug', stream }, constraints: { version }, ...options } as FastifyServerOptions) as FastifyInstance
  t.teardown(async () => { await app.close() })
  return { app, lines }
}

function textOf (value: unknown): string {
  return typeof value === 'object' && value !== null && 'v' in value ? String(value.v) : String(value)
}

const circular: { v: string, self?: unknown } = { v: '2' }
circular.self = circular

/** Values of a version, each for requests with `x-version: 2`. */
const VERSIONS: Record<string, unknown> = {
  'an array': ['1', '2'],
  'a number': 2,
  'an object': { v: 2 },
  'a set': Object.assign(new Set(['2']), { v: '2' }),
  'a bigint': 2n,
  'a circular object': circular
}

async function refuse (): Promise<never> {
  throw Object.assign(new Error('not for you'), { statusCode: 401 })
}

for (const [name, value] of Object.entries(VERSIONS)) {
  t.test(`a version that is ${name}`, async (t) => {
    const { app, lines } = versionedApp(t)
    const constraints = { version: value } as { version: string }
    app.get('/early', { constraints }, async () => 'early')
    await app.register(routeCache)
    t.ok(lines.some(({ level, msg }) => level === 40 && /declared before/.test(String(msg))))
    app.get('/open', { constraints, cache: { key: 'open' } }, async () => 'open')
    app.get('/closed', { constraints, cache: { key: 'closed' }, preHandler: refuse }, async () => 'closed')
    const ask = async (url: string): Promise<LightMyRequestResponse> => await app.inject({ url, headers: { 'x-version': '2' } })
    t.match((await ask('/open')).headers['cache-status'], 'fwd=miss')
    await settled(app)
    t.match(await ask('/open'), { statusCode: 200, body: 'open', headers: { 'cache-status': /hit/ } })
    await app.cache.set('closed', () => 'closed', { route: '/closed' }).catch(() => {})
    t.equal((await ask('/closed')).statusCode, 401)
    const isReadable = typeof value !== 'bigint' && value !== circular
    t.equal(lines.some(({ level, msg }) => level === 40 && /can't be read/.test(String(msg))), !isReadable, 'and the log says what it could not read')
  })
}

t.test('the app\'s own buildPrettyMeta is not called, nor believed', async (t) => {
  const metas: Record<string, () => object> = {
    'says nothing of hooks': () => ({}),
    throws: () => { throw new Error('broken') },
    'is no object': () => null as unknown as object
  }
  for (const [name, meta] of Object.entries(metas)) {
    let calls = 0
    const buildPrettyMeta = (): object => {
      calls++
      return meta()
    }
    const { app, lines } = versionedApp(t, { routerOptions: { buildPrettyMeta } } as FastifyServerOptions)
    app.get('/early', async () => 'early')
    await app.register(routeCache)
    app.get('/open', { cache: { key: 'k' }, config: { name } }, async () => 'open')
    app.get('/closed', { cache: { key: 'closed' }, preValidation: refuse }, async () => 'closed')
    await app.ready()
    t.equal(calls, 0, name)
    t.notOk(lines.some(({ msg }) => /can't be read/.test(String(msg))), name)
    await app.inject('/open')
    await settled(app)
    t.match((await app.inject('/open')).headers['cache-status'], /hit/, name)
    t.equal((await app.inject('/closed')).statusCode, 401, name)
  }
})

t.test('where the routes can\'t be printed the app starts, and each guard is in front of its lookup', async (t) => {
  const { app, lines } = versionedApp(t)
  await app.register(routeCache)
  let isOpen = true
  app.get('/', { cache: { key: 'k', shared: true }, preHandler: async () => { if (!isOpen) await refuse() } }, async () => 'x')
  app.get('/early', { cache: { key: 'early', hook: 'onRequest' } }, async () => 'y')
  app.printRoutes = () => { throw new Error('can not print') }
  t.match((await app.inject('/')).headers['cache-status'], 'fwd=miss')
  await settled(app)
  t.match((await app.inject('/')).headers['cache-status'], /hit/)
  isOpen = false
  t.equal((await app.inject('/')).statusCode, 401)
  const said = lines.filter(({ level, msg }) => level === 40 && /can't be read/.test(String(msg)))
  t.equal(said.length, 1)
  t.match(said[0], { err: { message: 'can not print' }, routes: ['GET /'] }, 'but for the one that says where its lookup stands')
})
