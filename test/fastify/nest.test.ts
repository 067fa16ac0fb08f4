// Nest, told by what its adapter puts on the instance and on handlers. test/foreign/apps/nest.mjs tries the same with Nest
// itself; here is also what looks like Nest in part, and is none.
import fastify, { type FastifyInstance, type RouteHandlerMethod } from 'fastify'
import { runInThisContext } from 'node:vm'
import t, { type Test } from 'tap'
import routeCache from '../../plugin/index.js'

const REFUSED = { code: 'FRC_OPTION', message: /^route GET \/: its cache option can't be used under Nest.*app\.cache\.getOrSet/ }

/** As Nest's adapter gives it to Fastify, in all that Fastify and the plugin look at. */
const nestVersions = {
  name: 'version',
  validate (value: unknown): void {
    if (typeof value !== 'string' && !Array.isArray(value)) {
      throw new Error('Version constraint should be a string or an array of strings.')
    }
  },
  storage: () => {
    const versions = new Map<unknown, unknown>()
    const set = (version: unknown, store: unknown): void => { versions.set(version, store) }
    return { get: (version: unknown) => versions.get(version) ?? null, set }
  },
  deriveConstraint: () => undefined,
  mustMatchWhenDerived: false
}
const ownVersions = { ...nestVersions, validate: (): void => {} }

/** reflect-metadata, in what the plugin asks it. */
function keepMetadata (t: Test): WeakMap<object, string[]> {
  const kept = new WeakMap<object, string[]>()
  Object.assign(Reflect, { hasMetadata: (name: string, target: object) => kept.get(target)?.includes(name) ?? false })
  t.teardown(() => { delete (Reflect as { hasMetadata?: unknown }).hasMetadata })
  return kept
}

async function open (t: Test, app: FastifyInstance = fastify()): Promise<FastifyInstance> {
  t.teardown(async () => { await app.close() })
  await app.register(routeCache)
  return app
}

for (const [where, options] of [
  ['routerOptions', { routerOptions: { constraints: { version: nestVersions } } }],
  ['constraints, as older ones have it', { constraints: { version: nestVersions } }]
] as const) {
  t.test(`an instance that Nest's adapter made, by its ${where}`, async (t) => {
    const app = await open(t, fastify(options as object))
    app.get('/', { cache: true }, async () => 'x')
    await t.rejects(async () => { await app.ready() }, REFUSED)
  })
}

t.test('the same without a cached route starts', async (t) => {
  const app = await open(t, fastify({ routerOptions: { constraints: { version: nestVersions } } } as object))
  app.get('/', async () => 'x')
  app.put('/', { cache: { invalidates: ['x'] } }, async () => 'y')
  t.equal((await app.inject('/')).body, 'x')
  t.equal((await app.inject({ method: 'PUT', url: '/' })).body, 'y')
})

t.test('an instance of the app\'s own, by the handler of any controller', async (t) => {
  const kept = keepMetadata(t)
  const app = await open(t)
  const handler = async (): Promise<string> => 'x'
  kept.set(handler, ['path', 'method', 'guards'])
  app.get('/', { cache: true }, async () => 'x')
  app.register(async (child) => { child.post('/items', handler) })
  await t.rejects(async () => { await app.ready() }, REFUSED)
})

t.test('an instance of the app\'s own, by a handler that Nest has wrapped for its params', async (t) => {
  keepMetadata(t)
  const app = await open(t)
  app.get('/', { cache: true }, async () => 'x')
  // As text: a loader of TypeScript may write a function anew.
  app.get('/items/:id', runInThisContext(`(function (request, reply) {
    const params = request.params;
    for (const name in params) {
      if (params[name] === '' && name !== '*') {
        reply.callNotFound();
        return;
      }
    }
    return 'x';
  })`) as RouteHandlerMethod)
  await t.rejects(async () => { await app.ready() }, REFUSED)
})

t.test('what only looks like it in part', async (t) => {
  const kept = keepMetadata(t)
  const app = await open(t, fastify({ routerOptions: { constraints: { version: ownVersions } } } as object))
  const handler = async (): Promise<string> => 'x'
  kept.set(handler, ['path'])
  app.get('/', { cache: true }, handler)
  await app.ready()
  t.match((await app.inject('/')).headers['cache-status'], /fwd=miss/)
})
