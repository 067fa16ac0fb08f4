// The Lua text for other languages: it leaves behind what the plugin's own call leaves, and a slow handler can't undo it.
// Called by redis-cli, and by a Python program with a socket of its own, as docs/from-any-language.md shows it.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import type { Redis } from 'ioredis'
import { createCache, type CacheClient } from '../../plugin/extras/client/index.js'
import { outsideScript } from '../../plugin/extras/command/outside-script.js'
import { cachedApp, gate, settled, type CachedApp } from '../helpers/app.js'
import { ensureRedisServer } from '../helpers/redis-server.mjs'
import { startCluster, startRedis } from '../helpers/redis.js'

const run = promisify(execFile)
const text = outsideScript()
const server = await startRedis()
const redis = server.client()
const folder = await mkdtemp(join(tmpdir(), 'route-cache-outside-'))
t.teardown(async () => {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})
const page = await readFile(new URL('../../docs/from-any-language.md', import.meta.url), 'utf8')
const block = (name: string): string => new RegExp(`<!-- run: ${name} -->\n\`\`\`\\w*\n([^]*?)\`\`\``).exec(page)![1]!

const call = async (...args: Array<string | number>): Promise<unknown> => await redis.eval(text, 0, ...args)

/** All names under a prefix, with their values as far as they are the same for two calls of the same kind. */
async function stateOf (prefix: string): Promise<unknown> {
  const names = (await redis.keys('*')).filter((name) => name.includes(prefix)).sort()
  return await Promise.all(names.map(async (name) => {
    const [type, life] = [await redis.type(name), await redis.pttl(name)]
    const value = type === 'string' ? await redis.get(name) : type
    // Clock values, tokens, histories and ends differ.
    const shape = value!.length > 100 ? 'an entry' : name.endsWith(':v') ? 'a marker' : value!.replace(/\d{13,}/g, 'N').replace(/@[\w-]+/g, '@t').replace(/^[\w-]{12}(?= )/, 'history')
    return [name.replaceAll(prefix, 'P'), shape, life < 0 ? life : Math.round(life / 30_000)]
  }))
}

t.test('it leaves what the plugin leaves, whatever was there', async (t) => {
  const targets = { keys: ['k', 'absent', 'v', 'value'], tags: ['t', 'unknown', 'held'] }
  const args = [...targets.keys.flatMap((key) => ['key', key]), ...targets.tags.flatMap((tag) => ['tag', tag])]
  type Way = (cache: CacheClient, prefix: string) => Promise<unknown>
  const ways: Array<[name: string, ours: Way, theirs: Way]> = [
    ['invalidate', async (cache) => await cache.invalidate(targets), async (_, prefix) => await call('invalidate', prefix, ...args)],
    ['key', async (cache) => await cache.invalidate('k'), async (_, prefix) => await call('invalidate', prefix, 'key', 'k')],
    ['tag', async (cache) => await cache.invalidate({ tags: ['t'] }), async (_, prefix) => await call('invalidate', prefix, 'tag', 't')],
    ['soften', async (cache) => await cache.invalidate(targets, { soft: true }), async (_, prefix) => await call('soften', prefix, ...args)],
    ['all', async (cache) => await cache.invalidate({ all: true }), async (_, prefix) => await call('all', prefix)],
    ['steps', async (cache) => await cache.invalidate(targets), async (_, prefix) => {
      await call('hold', prefix, 'token', 5000, ...args)
      return await call('release', prefix, 'token', String(await call('advance', prefix, 'token')), ...args) === 1 ? 3 : 0
    }]
  ]
  for (const [name, ours, theirs] of ways) {
    const [one, two] = await Promise.all([ours, theirs].map(async (way, i) => {
      const prefix = `${name}-${i === 0 ? 'ours' : 'them'}`
      const app = await cachedApp(t, { redis, prefix })
      const stale = { staleWhileRevalidate: 600 }
      app.get('/k', { cache: { key: 'k', tags: ['t', 'held'], ...stale } }, async () => 'x'.repeat(100))
      app.get('/v', { cache: { key: 'v', vary: ['accept'], ...stale } }, async () => 'x'.repeat(100))
      app.get('/other', { cache: { key: 'other', tags: ['t'], ...stale } }, async () => 'x'.repeat(100))
      for (const url of ['/k', '/v', '/other']) await app.inject(url)
      await app.cache.getOrSet('value', {}, async () => 'x'.repeat(100))
      await settled(app)
      await app.cache.settled()
      const cache = await createCache({ redis: redis as never, prefix, deadline: 30, writeDeadline: 30, logger: false })
      const inside = gate()
      // Another writer's quarantine stays.
      const mutation = cache.mutate({ keys: ['absent'], tags: ['held'] }, async () => { await inside.wait() })
      await inside.reached
      const count = await way(cache, prefix)
      const state = await stateOf(prefix)
      inside.open()
      await mutation
      await cache.close()
      const hits = await Promise.all(['/k', '/v', '/other'].map(async (url) => /hit|miss/.exec(String((await app.inject(url)).headers['cache-status']))![0]))
      return { count, state, hits }
    }))
    t.ok((one!.state as unknown[]).length > 5)
    // What tells that a soft call was done has the name of that call. In two steps the life of a generation is not known.
    const named = ({ state, ...rest }: { state: unknown }): object =>
      ({ ...rest, state: JSON.parse(JSON.stringify(state).replace(/:once:[\w-]+/g, ':once').replaceAll(name === 'steps' ? /,\d+\]/g : /none/g, ']')) })
    t.strictSame(named(two!), named(one!), name)
  }
})

t.test('a slow handler can not bring back the old row, by response tags neither; plain DEL lets it', async (t) => {
  let apps = 0
  const race = async (invalidate: (prefix: string) => Promise<unknown>, tags: string[] = []): Promise<string> => {
    const prefix = `slow-${++apps}`
    const app = await cachedApp(t, { redis, prefix })
    const slow = gate()
    let row = 'old'
    app.get('/', { cache: { key: 'k', tags } }, async (_request, reply) => {
      const read = row
      reply.cacheTags('of-response')
      if (read === 'old') await slow.wait()
      return read
    })
    const first = app.inject('/')
    await slow.reached
    row = 'new'
    await invalidate(prefix)
    slow.open()
    await first
    await settled(app)
    return (await app.inject('/')).body
  }
  for (const args of [['key', 'k'], ['tag', 'of-response'], ['tag', 'of-route'], ['tag', 'other', 'key', 'k']]) {
    t.equal(await race(async (prefix) => await call('invalidate', prefix, ...args), ['of-route']), 'new', args.join(' '))
  }
  t.equal(await race(async (prefix) => await call('all', prefix)), 'new')
  t.equal(await race(async (prefix) => await call('soften', prefix, 'key', 'k')), 'new')
  t.equal(await race(async (prefix) => await redis.del(`${prefix}:k`)), 'old', 'DEL of the entry: there was none, the fill stores it')
  t.equal(await race(async (prefix) => await redis.del(`${prefix}#tag:of-response`)), 'old', 'DEL of a tag\'s name')
})

t.test('what can not be meant is refused, and changes nothing', async (t) => {
  const wrong: Array<[args: Array<string | number>, message: RegExp]> = [
    [[], /ARGV is: step, prefix/], [['invalidate'], /ARGV is/], [['invalidate', ''], /ARGV is/], [['invalidate', 'a{b}', 'key', 'k'], /ARGV is/],
    [['invalidate', 'no'], /nothing is named/], [['invalidate', 'no', 'key'], /stands in front of each name/],
    [['invalidate', 'no', 'key', ''], /a name is empty/], [['invalidate', 'no', 'keys', 'k'], /a kind is "key" or "tag"/],
    [['invalidate', 'no', 'key', 'a{b}'], /brace/], [['invalidate', 'no', 'tag', 'a\0'], /zero byte/],
    [['invalidate', 'no', 'key', 'ü'.repeat(1_001)], /longer than 1000 characters/],
    [['invalidate', 'no', ...Array.from({ length: 501 }, (_, i) => ['key', `${i}`]).flat()], /more than 500 names/],
    [['all', 'no', 'key'], /ARGV of "all"/], [['drop', 'no', 'key', 'k'], /the steps are: invalidate, soften, all/],
    [['hold', 'no', 'to,ken', 1, 'key', 'k'], /a token has letters/], [['hold', 'no', 't', 'x', 'key', 'k'], /milliseconds/],
    [['release', 'no', 't', '', 'key', 'k'], /a value/]
  ]
  const before = await redis.dbsize()
  for (const [args, message] of wrong) await t.rejects(call(...args), { message }, args.join(' ').slice(0, 60))
  t.equal(await redis.dbsize(), before)
  t.equal(await call('invalidate', 'no', 'key', 'ü'.repeat(1_000), 'key', '\ud83d\ude00'.repeat(500)), 0, 'characters as JavaScript counts them')
})

const { path, env } = await ensureRedisServer()
const cli = join(dirname(path), 'redis-cli')

/** An app whose old row was read before, and is stored after. */
async function raced (t: Test, client: Redis, prefix: string, invalidate: () => Promise<unknown>): Promise<string> {
  const app: CachedApp = await cachedApp(t, { redis: client as never, prefix })
  const slow = gate()
  let row = 'old'
  app.get('/', { cache: { key: 'user:1', tags: ['of-route'] } }, async (_request, reply) => {
    const read = row
    reply.cacheTags('users')
    if (read === 'old') await slow.wait()
    return read
  })
  const first = app.inject('/')
  await slow.reached
  row = 'new'
  await invalidate()
  slow.open()
  await first
  await settled(app)
  return (await app.inject('/')).body
}

t.test('by redis-cli', async (t) => {
  t.ok(existsSync(cli), 'it stands beside the server')
  const file = join(folder, 'invalidate.lua')
  await writeFile(file, `${text}\n`)
  const commands = block('cli').split('\n').filter((line) => line.startsWith('redis-cli'))
  t.equal(commands.length, 3)
  for (const [i, line] of commands.entries()) {
    const prefix = `cli-${i}`
    const shell = line.replace('redis-cli', `"${cli}" -p ${server.port}`).replaceAll('shop', prefix)
      .replace('"$(npx fastify-route-cache script)"', `"$(cat ${file})"`)
    t.equal(await raced(t, redis, prefix, async () => {
      const { stdout, stderr } = await run('sh', ['-c', shell], { env: { ...process.env, ...env } })
      t.match([stdout, stderr], [/^\d+\n$/, ''], line)
    }), 'new', line)
  }
})

t.test('by Python, on one server and on a Cluster', async (t) => {
  const cluster = await startCluster()
  t.teardown(async () => { await cluster.stop() })
  await writeFile(join(folder, 'invalidate.lua'), text)
  await writeFile(join(folder, 'outside.py'), block('python'))
  const python = async (program: string): Promise<string> =>
    (await run('python3', ['-c', `import sys; sys.path.insert(0, ${JSON.stringify(folder)})\nfrom outside import *\n${program}`], { cwd: folder })).stdout
  const { host, port } = cluster.nodes[0]!
  const servers: Array<[name: string, client: Redis, place: string]> = [
    ['one', redis, `"127.0.0.1", ${server.port}`], ['cluster', cluster.client() as never, `"${host}", ${port}, cluster=True`]
  ]
  const targets = ['keys=["user:1"]', 'tags=["users"]', 'tags=["of-route", "x"], keys=["y"]', 'everything=True']
  for (const [name, client, place] of servers) {
    for (const [i, target] of targets.entries()) {
      const prefix = `${name}-${i}`
      const program = `print(Invalidator("${prefix}", ${place}).invalidate(${target}))`
      t.equal(await raced(t, client, prefix, async () => await python(program)), 'new', `${name}, ${target}`)
    }
  }
})

t.test('over HTTP, with a token', async (t) => {
  // Inside the repository, so that the package's name resolves as it does for users: to what was built.
  const file = join(fileURLToPath(new URL('../../', import.meta.url)), `.cache/outside-${process.pid}.mjs`)
  t.teardown(async () => { await rm(file, { force: true }) })
  await writeFile(file, `import fastify from 'fastify'; import routeCache from 'fastify-route-cache'
    const app = fastify(); await app.register(routeCache); app.get('/', { cache: { key: 'user:7' } }, async () => 'x')
    ${block('http')}
    await app.inject('/'); await app.cache.settled()
    for (const authorization of ['Bearer right', 'Bearer wrong', undefined]) {
      const { statusCode, body } = await app.inject({ method: 'POST', url: '/cache/api/invalidate', payload: { target: 'user:7' },
        headers: { ...authorization && { authorization } } })
      console.log(statusCode, body)
    }`)
  const { stdout } = await run(process.execPath, [file], { env: { ...process.env, CACHE_TOKEN: 'right' } })
  t.match(stdout.split('\n').filter((line) => /^\d{3} /.test(line)), [/^200 \{"entries":1/, /^401 /, /^401 /])
})
