// Every example of the README, and of guides that have no test of their own, is run: a block behind `<!-- run: name -->` is
// what the case of that name gets. That these pages have no others is seen to by docs.test.ts.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { freePorts, startRedis } from './helpers/redis.js'

// Inside the repository, so that the package's name resolves as it does for users: to what was built.
const folder = new URL(`../.cache/readme-${process.pid}/`, import.meta.url)
const names = ['README.md', ...['routes', 'invalidating', 'tier', 'options', 'authenticated', 'dashboard', 'operating'].map((name) => `docs/${name}.md`)]
const pages = await Promise.all(names.map(async (name) => await readFile(new URL(`../${name}`, import.meta.url), 'utf8')))
const blocks = new Map(pages.flatMap((page) => Array.from(
  page.matchAll(/<!-- run: (\w+) -->\n```\w+\n([^]*?)```/g), ([, name, code]) => [name!, code!] as const
)))

t.before(async () => { await mkdir(folder, { recursive: true }) })
t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })

t.test('quick start: the server, and the requests to it', async (t) => {
  const [port] = await freePorts(1)
  await start(t, block('server'), { PORT: String(port) })
  for (const { line, method, path, body, printed } of commandsOf(block('requests'))) {
    const sent = { method, ...body !== undefined && { headers: { 'content-type': 'application/json' }, body } }
    const response = await answer(`http://127.0.0.1:${port}${path}`, sent)
    const said = [`Cache-Status: ${response.headers.get('cache-status')}`, await response.text()]
    t.strictSame(method === 'GET' ? said : said.slice(1), printed, line)
  }
  for (const time of ['first', 'second']) {
    const none = await fetch(`http://127.0.0.1:${port}/users/99`)
    t.match([none.status, none.headers.get('cache-status')], [404, /fwd=miss; detail=status$/], `nobody, the ${time} time`)
  }
})

t.test('with Redis', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  // A test that means a stored entry must not see a bypass because this machine was busy.
  const patient = block('redis').replace("{ prefix: 'shop' }", "{ prefix: 'shop', deadline: 30 }")
  for (const [time, said] of [['first', 'fwd=miss'], ['second', 'hit; ttl=']] as const) {
    t.match(await run(t, patient, { REDIS_URL: server.url }), `fastify-route-cache; ${said}`, `the ${time} time`)
  }
  const other = block('nodeRedis').replace("prefix: 'shop' }", "prefix: 'other', deadline: 30 }")
  t.equal((await run(t, other, { REDIS_URL: server.url })).trim(), 'hit', 'with node-redis')
  const [, pattern, names] = /^\$ redis-cli --scan --pattern '(\S+)'\n([^]*)$/.exec(block('names'))!
  t.strictSame(await server.client().keys(pattern!), names!.trim().split('\n'))
})

t.test('with a tier', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const printed = await run(t, `${block('tier')}
    app.get('/', { cache: { key: 'home' } }, async () => 'x')
    while (app.cache.stats().tier.hits === 0) await app.inject('/')
    console.log(app.cache.stats().tier.isLive)
    await app.close()
  `, { REDIS_URL: server.url })
  t.equal(printed, 'true\n')
})

/** The line that would leave nothing for the others to be seen by. */
const EVERYTHING = /^.*all: true.*\n/m

const PRELUDE = `
import fastify from 'fastify'
import routeCache from 'fastify-route-cache'
const app = fastify()
await app.register(routeCache)
const authenticate = async (request) => { request.user = { name: request.headers['x-name'] } }
const db = {
  article: async (id) => ({ id, author: 'of-' + id }),
  dashboard: async (name) => ({ name }),
  posts: async (page) => ({ page }),
  feed: async (user) => ({ items: [user], complete: user !== 'slow' })
}
const say = async (url, headers) => console.log((await app.inject({ url, headers })).headers['cache-status'])
`

t.test('routes', async (t) => {
  const printed = await run(t, PRELUDE + block('routes') + `
    await say('/posts?page=2')
    await say('/posts?page=2')
    await say('/dashboard', { 'x-name': 'ada' })
    await say('/dashboard', { 'x-name': 'bob' })
    await say('/dashboard', { 'x-name': 'ada' })
    await say('/feed/ada')
    await say('/feed/ada')
    await say('/feed/ada', { 'x-preview': '1' })
    await say('/feed/slow')
    await say('/feed/slow')
    console.log(Boolean(await app.cache.inspect('posts:page:2')))
  `)
  t.strictSame(printed.replaceAll('fastify-route-cache; ', '').trim().split('\n'), [
    'fwd=miss', 'hit; ttl=60', 'fwd=miss', 'fwd=miss', 'hit; ttl=30', 'fwd=miss', 'hit; ttl=60', 'fwd=bypass; detail=when',
    'fwd=miss; detail=no-cache-called', 'fwd=miss; detail=no-cache-called', 'true'
  ])
})

t.test('invalidation', async (t) => {
  const printed = await run(t, PRELUDE + `
    app.get('/:key', { cache: { key: (request) => request.params.key, ttl: 60 } }, async () => 'x')
    app.get('/by-seven', { cache: { key: 'by-seven', tags: ['author:7'] } }, async () => 'x')
    for (const key of ['user:1', 'user:2', 'posts:page:1', 'user:a%3Ab', 'other']) await app.inject('/' + encodeURIComponent(key))
    await app.inject('/by-seven')
    ${block('invalidation').replace(EVERYTHING, '')}
    for (const key of ['user:1', 'user:2', 'posts:page:1', 'user:a%3Ab', 'by-seven', 'other']) console.log(Boolean(await app.cache.inspect(key)))
    console.log(app.cache.stats().invalidated)
    ${EVERYTHING.exec(block('invalidation'))![0]}
    console.log(Boolean(await app.cache.inspect('other')))
  `)
  t.strictSame(printed.trim().split('\n'), ['false', 'false', 'false', 'false', 'false', 'true', '4', 'false'])
})

t.test('tags', async (t) => {
  const printed = await run(t, PRELUDE + block('tags') + `
    for (const target of ['author:of-1', 'articles', 'author:of-2']) {
      await app.inject('/articles/1')
      await app.cache.invalidate({ tags: [target] })
      console.log(Boolean(await app.cache.inspect('article:1')))
    }
  `)
  t.strictSame(printed.trim().split('\n'), ['false', 'false', 'true'])
})

t.test('revalidate', async (t) => {
  const printed = await run(t, PRELUDE + `
    let updatedAt = '2026-11-01 12:00:00.000001'
    Object.assign(db, { updatedAt: async () => updatedAt, report: async (id) => ({ id, updatedAt }) })
    ${block('revalidate').replace('ttl: 10,', "ttl: '20ms', staleIfError: '1h',")}
    const look = async () => {
      const { statusCode, headers } = await app.inject('/reports/7')
      await app.cache.settled()
      console.log(statusCode, headers.etag, headers['cache-status'])
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    await look()
    await look()
    updatedAt = '2026-11-01 12:00:00.000002'
    await look()
  `)
  t.match(printed.trim().split('\n'), [/^200 "2026-11-01%2012:00:00.000001" .*fwd=miss$/, /000001" .*fwd=stale; fwd-status=304$/, /000002" .*fwd=miss$/])
})

t.test('writers', async (t) => {
  const printed = await run(t, PRELUDE + `
    let title = 'old'
    let runs = 0
    Object.assign(db, {
      post: async (id) => ({ id, title }),
      posts: async () => [title],
      countAuthors: async () => ++runs,
      top: async () => ({ title }),
      update: async (id, body) => ({ id, title: title = body.title }),
      remove: async () => { title = 'removed' },
      like: async (id) => ({ id, title: title = 'liked' })
    })
    ${block('writers')}
    const paths = ['/posts/1', '/posts', '/top']
    const look = async () => {
      for (const path of paths) {
        const { body, headers } = await app.inject(path)
        console.log(path, body, headers['cache-status'].replace('fastify-route-cache; ', ''))
      }
    }
    await look()
    console.log((await app.inject({ method: 'PUT', url: '/posts/1', payload: { title: 'new' } })).body)
    await look()
    while (!String((await app.inject('/top')).body).includes('new')) await new Promise((resolve) => setImmediate(resolve))
    console.log((await app.inject({ method: 'POST', url: '/posts/1/likes' })).body)
    await look()
    console.log((await app.inject({ method: 'DELETE', url: '/posts/1' })).statusCode)
    await look()
  `)
  t.strictSame(printed.replaceAll(/ttl=-\d+/g, 'ttl=-').trim().split('\n'), [
    '/posts/1 {"id":"1","title":"old"} fwd=miss',
    '/posts {"posts":["old"],"authors":1} fwd=miss',
    '/top {"title":"old"} fwd=miss',
    '{"id":"1","title":"new"}',
    '/posts/1 {"id":"1","title":"new"} hit; ttl=3600',
    '/posts {"posts":["new"],"authors":2} fwd=miss',
    '/top {"title":"old"} hit; ttl=-',
    '{"id":"1","title":"liked"}',
    '/posts/1 {"id":"1","title":"liked"} fwd=miss',
    '/posts {"posts":["new"],"authors":2} hit; ttl=60',
    '/top {"title":"new"} hit; ttl=60',
    '204',
    '/posts/1 {"id":"1","title":"removed"} fwd=miss',
    '/posts {"posts":["removed"],"authors":3} fwd=miss',
    '/top {"title":"new"} hit; ttl=60'
  ])
})

t.test('from CommonJS, where nothing waits', async (t) => {
  const printed = await run(t, block('commonjs') + `
    const say = async () => console.log((await app.inject('/users/1')).headers['cache-status'])
    say().then(say).then(() => app.close())
  `, {}, 'cjs')
  t.strictSame(printed.trim().split('\n'), ['fastify-route-cache; fwd=miss', 'fastify-route-cache; hit; ttl=60'])
})

t.test('the user, typed', async (t) => {
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--types', 'node', '--skipLibCheck']
  const compile = async (name: string, code: string): Promise<string> => {
    const file = new URL(name, folder)
    await writeFile(file, code)
    const compiler = fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url))
    const command = [compiler, ...options, '--ignoreConfig', fileURLToPath(file)]
    return await promisify(execFile)(process.execPath, command).then(() => 'passed', (error) => String(error.stdout))
  }
  t.equal(await compile('user.mts', block('user')), 'passed')
  const undeclared = block('user').replace(/^declare module[^]*?^\}$/m, '')
  t.match(await compile('undeclared.mts', undeclared), /Property 'user' does not exist/, 'it is the declaration that does it')
})

t.test('the dashboard, by curl', async (t) => {
  const [port] = await freePorts(1)
  await start(t, `
    import fastify from 'fastify'
    import routeCache from 'fastify-route-cache'
    import dashboard from 'fastify-route-cache/dashboard'
    const right = 'Basic ' + Buffer.from('operator:change-me').toString('base64')
    const app = fastify()
    await app.register(routeCache)
    await app.register(dashboard, { prefix: '/cache', guard: ({ headers }) => headers.authorization === right })
    app.get('/users/:id', { cache: { key: 'user:{id}' } }, async () => 'x')
    await app.listen({ port: ${port} })
  `)
  await answer(`http://127.0.0.1:${port}/users/7`)
  const answers: unknown[] = []
  for (const line of block('curl').trim().split('\n')) {
    const [, login, type, body, path] = /^\$ curl -u (\S+) (?:-H 'content-type: (\S+)' -d '(\S+)' )?localhost:3000(\S+)$/.exec(line)!
    const authorization = `Basic ${Buffer.from(login!).toString('base64')}`
    const response = await fetch(`http://127.0.0.1:${port}${path}`, type === undefined || body === undefined
      ? { headers: { authorization } }
      : { method: 'POST', headers: { authorization, 'content-type': type }, body })
    t.equal(response.status, 200, line)
    answers.push(await response.json())
  }
  t.match(answers, [{ total: { misses: 1 } }, { key: 'user:7', outcome: 'hit' }, { entries: 1 }])
})

interface Command { line: string, method: string, path: string, body: string | undefined, printed: string[] }

/** Each `$ curl …`, and the lines that stand below it. */
function commandsOf (console: string): Command[] {
  return console.split(/^\$ /m).slice(1).map((text) => {
    const [line, ...printed] = text.trim().split('\n') as [string, ...string[]]
    const found = /^curl (?:-i |-X (\w+) )(?:-H 'content-type: application\/json' -d '(\S+)' )?localhost:3000(\S+)$/.exec(line)
    if (found === null) throw new Error(`this is no command that is known here: ${line}`)
    const [, method = 'GET', body, path] = found
    return { line, method, body, path: path!, printed }
  })
}

function block (name: string): string {
  const code = blocks.get(name)
  if (code === undefined) throw new Error(`no page has a block "${name}"`)
  return code
}

/** Starts the code as a user would; it is ended with the test. */
async function start (t: Test, code: string, env: Record<string, string> = {}, type = 'mjs'): Promise<ReturnType<typeof spawn>> {
  const file = new URL(`${t.name.replaceAll(/\W/g, '-')}.${type}`, folder)
  await writeFile(file, code)
  const child = spawn(process.execPath, [file.pathname], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

/** Runs the code to its end, which must be a good one; what it printed. */
async function run (t: Test, code: string, env: Record<string, string> = {}, type = 'mjs'): Promise<string> {
  const child = await start(t, code, env, type)
  let printed = ''
  child.stdout!.on('data', (chunk) => { printed += chunk })
  const [exit] = await once(child, 'close')
  t.equal(exit, 0, 'it ran to its end')
  return printed
}

/** The server needs a moment until it listens, and says nothing then. */
async function answer (url: string, sent: RequestInit = {}): Promise<Response> {
  for (;;) {
    try {
      return await fetch(url, sent)
    } catch (error) {
      if ((error as { cause?: { code?: string } }).cause?.code !== 'ECONNREFUSED') throw error
      await delay(20)
    }
  }
}
