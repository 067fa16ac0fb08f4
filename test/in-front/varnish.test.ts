// A real Varnish in front of an app: a purge by the names that the app has sent arrives, whatever was invalidated; and what
// Varnish was fetching at that moment stays, until it is purged again.
import { spawn } from 'node:child_process'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { OnInvalidate, RouteCacheOptions } from '../../plugin/index.js'
import { cachedApp, gate, settled, type CachedApp } from '../helpers/app.js'
import { curl, readExample, stepsOf } from '../helpers/example.js'
import { freePorts, startRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'
import { startVarnish } from '../helpers/varnish.js'

const redis = await startRedis()
t.teardown(async () => { await redis.stop() })
const configuration = await readExample('in-front.vcl')

async function varnishBefore (t: Test, port: number): Promise<string> {
  const varnish = await startVarnish(configuration.replace('.port = "3000"', `.port = "${port}"`))
  t.teardown(async () => { await varnish.stop() })
  return varnish.origin
}

interface Behind {
  app: CachedApp
  /** A GET through Varnish: its body, and whether Varnish had it. */
  ask: (path: string, headers?: Record<string, string>) => Promise<string>
  /** Whether purges are sent. */
  purging: { isOn: boolean }
}

async function behind (t: Test, routes: (app: CachedApp) => void, options: RouteCacheOptions = {}): Promise<Behind> {
  const purging = { isOn: true }
  let origin = ''
  const purge: OnInvalidate = async ({ surrogateKeys, signal }) => {
    if (!purging.isOn) return
    const { ok, statusText } = await fetch(origin, { method: 'PURGE', headers: { 'surrogate-key': surrogateKeys.join(' ') }, signal })
    if (!ok) throw new Error(statusText)
  }
  const prefix = `app-${Math.random().toString(36).slice(2)}`
  const app = await cachedApp(t, { prefix, redis: redis.client(), surrogateKeys: 'Surrogate-Key', onInvalidate: purge, ...options })
  routes(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  origin = await varnishBefore(t, Number(new URL(app.listeningOrigin).port))
  const ask: Behind['ask'] = async (path, headers = {}) => {
    const response = await fetch(origin + path, { headers })
    await settled(app)
    return `${await response.text()}: ${response.headers.get('x-cache')}`
  }
  return { app, ask, purging }
}

const cacheControl = 'public, max-age=0, s-maxage=600'

t.test('the example, as its head says', async (t) => {
  const code = await readExample('in-front.mjs')
  // Inside the repository, so that the package's name resolves as it does for users: to what was built.
  const folder = new URL(`../../.cache/in-front-${process.pid}/`, import.meta.url)
  await mkdir(folder, { recursive: true })
  t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })
  const [port] = await freePorts(1)
  const varnish = await varnishBefore(t, port!)
  const program = new URL('in-front.mjs', folder)
  await writeFile(program, code.replace('register(routeCache, {', 'register(routeCache, { deadline: 30,'))
  const env = { ...process.env, PORT: String(port), REDIS_URL: redis.url, VARNISH_URL: varnish }
  const child = spawn(process.execPath, [fileURLToPath(program)], { env, stdio: 'inherit' })
  t.teardown(() => { child.kill('SIGKILL') })
  const origin = `http://127.0.0.1:${port}`
  await until(async () => await fetch(origin).then(() => true, () => false), 'the example answers')
  const steps = stepsOf(code)
  t.ok(steps.length > 5)
  for (const step of steps) t.equal(await curl({ 3000: origin, 6081: varnish }, step), step.said, step.line)
})

t.test('each target reaches Varnish\'s copies', async (t) => {
  let row = 0
  const odd = 'a b,c"ü\'(.*)'
  const { app, ask } = await behind(t, (app) => {
    const handler = async (): Promise<string> => `${row}`
    app.get('/key/:id', { cache: { key: 'key:{id}', cacheControl } }, handler)
    app.get('/odd', { cache: { key: () => `${odd} key`, tags: () => [odd, 'x'.repeat(300)], cacheControl } }, handler)
    app.get('/late/:id', { cache: { key: 'late:{id}', cacheControl } }, async (request, reply) => {
      reply.cacheTags(`own:${(request.params as { id: string }).id}`)
      return `${row}`
    })
    app.get('/many', { cache: { key: 'many', tags: Array.from({ length: 300 }, (_, i) => `a tag of some length ${i}`), cacheControl } }, handler)
    app.get('/off', { cache: { key: 'off', when: () => false, cacheControl } }, async (_, reply) => {
      reply.header('cache-control', cacheControl)
      return `${row}`
    })
    app.put('/key/:id', { cache: { invalidates: ['key:{id}'] } }, async () => 'written')
  })
  const cases: Array<[path: string, work: () => Promise<unknown>]> = [
    ['/key/1', async () => await app.cache.invalidate('key:1')],
    ['/key/1', async () => await app.inject({ method: 'PUT', url: '/key/1' })],
    ['/key/1', async () => await app.cache.mutate('key:1', () => {})],
    ['/key/1', async () => await app.cache.set('key:1', () => `${row}`, { route: '/key/1' })],
    ['/key/1', async () => await app.cache.invalidate({ prefix: 'key:' })],
    ['/key/1', async () => await app.cache.invalidate({ all: true })],
    ['/odd', async () => await app.cache.invalidate(`${odd} key`)],
    ['/odd', async () => await app.cache.invalidate({ tags: [odd] })],
    ['/odd', async () => await app.cache.invalidate({ tags: ['x'.repeat(300)] })],
    ['/late/7', async () => await app.cache.invalidate({ tags: ['own:7'] })],
    ['/many', async () => await app.cache.invalidate({ tags: ['a tag of some length 299'] })],
    ['/off', async () => await app.cache.invalidate('anything')]
  ]
  for (const [path, work] of cases) {
    await ask(path)
    t.equal(await ask(path), `${row}: HIT`, path)
    row++
    await work()
    t.equal(await ask(path), `${row}: MISS`, `${path}: ${String(work)}`)
  }
  await ask('/key/2')
  await app.cache.invalidate('key:1')
  t.match(await ask('/key/2'), /HIT/, 'what was not named stays')
})

t.test('a copy that the app has confirmed has the names of now', async (t) => {
  let tag = 'before'
  const { app, ask, purging } = await behind(t, (app) => {
    app.get('/', { cache: { key: 'k', cacheControl: 'public, s-maxage=1' } }, async (_, reply) => {
      reply.header('etag', '"same"').cacheTags(tag)
      return 'same'
    })
  })
  await ask('/')
  purging.isOn = false
  tag = 'now'
  await app.cache.invalidate('k')
  // By now, or in a second, the copy is too old. Varnish asks with its ETag, and the app answers 304.
  await until(async () => await ask('/') === 'same: MISS', 'the copy is too old')
  t.ok(app.cache.stats().total.misses >= 2)
  await app.cache.invalidate({ tags: ['before'] })
  purging.isOn = true
  await app.cache.invalidate({ tags: ['now'] })
  t.equal(await ask('/'), 'same: MISS')
})

t.test('what Varnish was fetching at that moment stays, and a second purge ends it', async (t) => {
  const slow = gate()
  let row = 'old'
  let isSlow = true
  const { app, ask } = await behind(t, (app) => {
    app.get('/', { cache: { key: 'k', cacheControl } }, async () => {
      const seen = row
      if (isSlow) await slow.wait()
      return seen
    })
  })
  const fetching = ask('/')
  await slow.reached
  row = 'new'
  isSlow = false
  await app.cache.invalidate('k')
  slow.open()
  t.equal(await fetching, 'old: MISS', 'its client asked before')
  t.equal(await ask('/'), 'old: HIT', 'the limit that docs/in-front.md names')
  await app.cache.invalidate('k')
  t.equal(await ask('/'), 'new: MISS')
  t.equal(await ask('/'), 'new: HIT')
})

t.test('two apps behind one Varnish: each purges its own', async (t) => {
  let other: CachedApp | undefined
  const { ask } = await behind(t, (app) => {
    app.get('/', { cache: { key: 'k', tags: ['users'], cacheControl } }, async () => 'x')
    other = app
  })
  await ask('/')
  const stranger = await cachedApp(t, {
    prefix: 'stranger',
    onInvalidate: async ({ surrogateKeys }) => {
      t.notMatch(surrogateKeys.join(' '), new RegExp(other!.cache.prefix))
    }
  })
  await stranger.cache.invalidate({ all: true })
  t.equal(await ask('/'), 'x: HIT')
})
