// The command: what it prints and with which code it ends, with servers that are as they should be, and with others.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { runCommand, type CommandResult } from '../../plugin/extras/command/command.js'
import { Recorder } from '../../plugin/extras/dashboard/recorder.js'
import { Reports } from '../../plugin/extras/dashboard/reports.js'
import { cachedApp, settled } from '../helpers/app.js'
import { freePorts, startCluster, startRedis, startSentinel, type RedisServer } from '../helpers/redis.js'
import { until } from '../helpers/until.js'

const { version: VERSION } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }

const server = await startRedis()
t.teardown(async () => { await server.stop() })
const admin = server.client()

const at = ({ url }: RedisServer): string[] => ['--url', url, '--timeout', '30s']
const here = async (...args: string[]): Promise<CommandResult> => await runCommand([...args, ...at(server)], {})

t.test('purge, inspect, keys, tags: an app misses what was purged', async (t) => {
  const app = await cachedApp(t, { redis: server.client(), prefix: 'shop' })
  app.get('/users/:id', { cache: { key: 'user:{id}', tags: ['users', 'user {id}'], staleWhileRevalidate: 60 } }, async () => 'x')
  app.get('/odd', { cache: { key: () => 'a{b}"c d\n' } }, async () => 'x')
  const ask = async (url: string): Promise<string> => {
    const { headers } = await app.inject(url)
    await settled(app)
    return /hit|stale|miss/.exec(String(headers['cache-status']))![0]
  }
  const fill = async (): Promise<void> => { for (const url of ['/users/1', '/users/2', '/odd']) await ask(url) }
  const shop = async (...args: string[]): Promise<CommandResult> => await here(...args, '--prefix', 'shop')
  await fill()
  await app.cache.getOrSet('value', { tags: ['t'] }, async () => 1)
  await app.cache.settled()
  t.strictSame(await shop('keys'), { out: 'a%<b%>"c d\\n\nuser:1\nuser:2\nvalue', problem: '', code: 0 })
  t.strictSame(await shop('keys', 'user:', '--json'), { out: '["user:1","user:2"]', problem: '', code: 0 })
  t.strictSame(await shop('keys', 'nobody'), { out: '', problem: '', code: 1 })
  t.match(await shop('inspect', 'user:1'), { out: /^key "user:1": hit/, code: 0 })
  t.match(await shop('inspect', 'value'), { out: /^value under key "value"/, code: 0 })
  t.match(await shop('inspect', 'user:9'), { out: /^key "user:9": miss, as nothing is stored/, code: 1 })
  t.match(JSON.parse((await shop('inspect', 'user:1', '--json')).out), { outcome: 'hit', entry: { status: 200, isValid: true } })
  t.strictSame(await shop('tags', 'user:1'), { out: 'users\tvalid\nuser 1\tvalid', problem: '', code: 0 })
  t.match(await shop('tags', 'user:9'), { out: '', code: 1 })

  t.match(await shop('purge', '--key', 'user:1', '--key', 'none'), { out: 'invalidated: 2 keys under the prefix "shop"; 1 entry by key or beginning', code: 0 })
  t.strictSame([await ask('/users/1'), await ask('/users/2')], ['miss', 'hit'])
  t.match(await shop('purge', '--tag', 'users', '--json'), { out: '{"entries":null}', code: 0 })
  t.strictSame([await ask('/users/1'), await ask('/users/2'), await ask('/odd')], ['miss', 'miss', 'hit'])
  t.match((await shop('tags', 'user:1')).out, /valid/)
  await shop('purge', '--starts-with', 'user:', '--starts-with', 'a{')
  t.strictSame([await ask('/users/1'), await ask('/users/2'), await ask('/odd')], ['miss', 'miss', 'miss'])
  t.match(await shop('purge', '--key', 'a%<b%>"c d\n'), { code: 0 }, 'as keys has listed it')
  t.equal(await ask('/odd'), 'miss')
  t.match(await shop('purge', '--soft', '--key', 'user:1'), { out: 'made stale: 1 key under the prefix "shop"; 1 entry by key or beginning' })
  t.match((await shop('inspect', 'user:1')).out, /^key "user:1": stale/)
  t.match((await shop('inspect', 'user:2')).out, /^key "user:2": hit/)
  await app.cache.settled()
  t.match(await shop('purge', '--all'), { out: /^invalidated: everything under the prefix "shop"$/ })
  t.strictSame([await ask('/users/1'), await ask('/odd')], ['miss', 'miss'])
  await here('purge', '--all')
  t.equal(await ask('/users/1'), 'hit', 'another prefix')
})

t.test('what is written wrongly: one line, code 2, and no password', async (t) => {
  const wrong: Array<[args: string[], problem: RegExp]> = [
    [[], /no command is given; there are: purge/], [['porge'], /no such command/], [['constructor'], /no such command/],
    [['purge'], /purge needs --key, --tag, --starts-with or --all/], [['purge', '--all', '--key', 'k'], /--all is everything/],
    [['purge', '--key', ''], /a name is empty; everything is --all/], [['purge', '--starts-with='], /a name is empty/],
    [['purge', '--key'], /--key/], [['purge', '--all', '--soft'], /--soft is for --key and --tag: with --all/],
    [['purge', '--starts-with', 'a', '--soft'], /--soft is for --key and --tag: what is found by --starts-with can only go/],
    [['inspect'], /inspect needs a word behind it: inspect KEY/], [['inspect', 'a', 'b'], /inspect has a word too many; quote/],
    [['inspect', 'a', '--key', 'b'], /--key is an option of purge/], [['keys', '--prefix', 'a{b}'], /--prefix has letters/],
    [['keys', '--prefix', ''], /--prefix has letters/], [['doctor', '--bogus', 'redis://:secret@h'], /Unknown option '--bogus'/],
    [['doctor', 'redis://:secret@h'], /doctor has a word too many/], [['doctor', '--url=:secret@h'], /a URL .* begins with redis:\/\//],
    [['doctor', '--url', 'http://:secret@h'], /a URL .* begins with/], [['doctor', '--url', 'redis://:se%cret@h'], /a URL .* begins with/],
    [['doctor', '--url', 'redis://:secret@h/x'], /a number for the database/], [['doctor', '--url', 'redis://'], /a URL/],
    [['doctor', '--url', 'redis://:secret@a', '--url', 'redis://:secret@b'], /more than one --url is for --cluster/],
    [['doctor', '--sentinel', 'a:1'], /--sentinel HOST:PORT and --master NAME go together/], [['doctor', '--master', 'a'], /go together/],
    [['doctor', '--sentinel', ':secret@a:1', '--master', 'm'], /--sentinel is HOST:PORT/],
    [['doctor', '--cluster', '--sentinel', 'a:1', '--master', 'm'], /one or the other/], [['doctor', '--timeout', 'x'], /--timeout is a time/],
    [['purge', '--all', '--timeout', '30d'], /--timeout is a time .* 1h at most/],
    [['keys', '--prefix', 'a', '--prefix', 'b'], /--prefix is given twice/], [['doctor', '--timeout', '1s', '--timeout', '2s'], /--timeout is given twice/],
    [['script', 'extra'], /script takes no words and no options/], [['script', '--json'], /script takes no words/],
    [['doctor', '--json=redis://:secret@h'], /--json/], [['--url', 'redis://:secret@h'], /no command/]
  ]
  for (const [args, problem] of wrong) {
    const result = await runCommand(args, {})
    t.match(result, { out: '', code: 2, problem }, args.join(' '))
    t.match(result.problem, /^fastify-route-cache: [^\n]+$/)
    t.notMatch(result.problem, /secret|se%cret/, args.join(' '))
  }
  for (const url of [':secret@h', 'redis://:secret@a,redis://:secret@b']) {
    t.notMatch((await runCommand(['doctor'], { REDIS_URL: url })).problem, /secret/)
  }
})

t.test('a server that refuses to read is no empty cache: code 3, with the reason', async (t) => {
  const [one, primary, replica] = await Promise.all([startRedis({ cluster: true }), startRedis(), startRedis()])
  t.teardown(async () => { await Promise.all([one.stop(), primary.stop(), replica.stop()]) })
  const client = one.client()
  await client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  await until(async () => String(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok'), 'it has all slots')
  await replica.client().call('REPLICAOF', primary.host, String(primary.port))
  await primary.client().call('ACL', 'SETUSER', 'poor', 'on', '>right', '~*', '&*', '+@all', '-mget')
  const refusing: Array<[url: string, why: RegExp]> = [
    [one.url, /CROSSSLOT|MOVED/], [replica.url, /replica/], [`redis://poor:right@${primary.host}:${primary.port}`, /NOPERM/]
  ]
  for (const [url, problem] of refusing) {
    for (const words of [['keys'], ['keys', 'user:'], ['inspect', 'user:1'], ['tags', 'user:1'], ['stats']]) {
      t.match(await runCommand([...words, '--url', url], {}), { out: '', code: 3, problem }, `${words.join(' ')} ${url}`)
    }
  }
})

t.test('help, and script, need no server', async (t) => {
  t.strictSame(await runCommand(['--version'], {}), { out: VERSION, problem: '', code: 0 })
  t.equal((await runCommand(['-v'], {})).out, VERSION)
  t.match(await runCommand(['--help'], {}), { out: /purge .*examples:.*exit codes/s, code: 0 })
  t.match(await runCommand(['purge', '-h'], {}), { out: /--starts-with TEXT/, code: 0 })
  t.match(await runCommand(['help', 'purge'], {}), { out: /--starts-with TEXT/, code: 0 })
  t.match(await runCommand(['script'], {}), { out: /^#!lua flags=allow-oom\n-- fastify-route-cache: .* version 1, for entries of layout \d+\n/, code: 0 })
})

t.test('stats of the processes that tell them', async (t) => {
  t.match(await here('stats', '--prefix', 'nobody'), { out: /no process under the prefix "nobody" tells/, code: 1 })
  const app = await cachedApp(t, { redis: server.client(), prefix: 'told' })
  app.get('/', { cache: { key: 'k' } }, async () => 'x')
  await app.inject('/')
  await settled(app)
  await app.inject('/')
  let told = ''
  const recorder = new Recorder(app.cache, Date.now)
  t.teardown(() => { recorder.end() })
  await until(async () => {
    await new Reports({ redis: app.cache.redis!, prefix: 'told', interval: 1_000 }).put(recorder.report)
    const { out, code } = await here('stats', '--prefix', 'told', '--json')
    told = out
    return code === 0
  }, 'nothing was told')
  t.match(JSON.parse(told).processes, [{ hits: 1, misses: 1, hitRate: 0.5, journal: 0, breaker: 'closed' }])
})

/** The states of the doctor's checks, and the lines that are not ok. */
function read ({ out }: CommandResult): { states: Record<string, string>, said: string } {
  const { findings } = JSON.parse(out) as { findings: Array<{ check: string, state: string, text: string }> }
  const said = findings.filter(({ state }) => state !== 'ok').map(({ check, text }) => `${check}: ${text}`).join('\n')
  return { states: Object.fromEntries(findings.map(({ check, state }) => [check, state])), said }
}

async function broken (
  t: Test, args: string[], prepare: (server: RedisServer) => Promise<unknown> = async () => {}
): Promise<RedisServer> {
  const server = await startRedis({ args })
  t.teardown(async () => { await server.stop() })
  await prepare(server)
  return server
}

const examine = async (server: RedisServer, ...args: string[]): Promise<CommandResult> =>
  await runCommand(['doctor', '--json', ...(args.length > 0 ? [...args, '--timeout', '30s'] : at(server))], {})

t.test('doctor: a server as it should be', async (t) => {
  const good = await broken(t, ['--maxmemory', '64mb', '--maxmemory-policy', 'volatile-lru'])
  const result = await examine(good)
  t.equal(result.code, 0)
  const { states, said } = read(result)
  t.equal(said, '')
  t.strictSame(Object.keys(states), ['version', 'mode', 'role', 'run_id', 'eviction', 'clock', 'rights', 'work', 'tracking', 'latency'])
  const client = good.client()
  const lives = await Promise.all((await client.keys('*')).map(async (name) => [name, await client.pttl(name)] as const))
  const staying = lives.filter(([, life]) => life < 0).map(([name]) => name)
  t.strictSame(staying.filter((name) => !/#floor/.test(name)), [], 'it leaves nothing that stays')
  t.match(await runCommand(['doctor', ...at(good)], {}), { out: /^ok {4}version {3}Redis \d.*\nok {4}mode/, code: 0 })
})

t.test('doctor: servers that are not', async (t) => {
  const user = async (server: RedisServer, ...rights: string[]): Promise<unknown> =>
    await server.client().call('ACL', 'SETUSER', 'poor', 'on', '>secret', '~*', '&*', '+@all', ...rights)
  const asPoor = (server: RedisServer): string[] => ['--url', server.url.replace('//', '//poor:secret@')]
  const cases: Array<[name: string, result: CommandResult, said: RegExp]> = []
  const poor = await broken(t, [], async (server) => await user(server, '-getrange', '-zadd', '-evalsha'))
  cases.push(['rights', await examine(poor, ...asPoor(poor)), /rights: the user may not call .*: ACL SETUSER <user> \+getrange \+zadd \+evalsha\nwork: /])
  const nameless = await broken(t, [], async (server) => await user(server, 'resetkeys', '~cache:*'))
  cases.push(['names', await examine(nameless, ...asPoor(nameless)), /may not use the cache's names \(lease:\{cache:\*\}, .*cache#floor/])
  const blind = await broken(t, [], async (server) => await user(server, '-info'))
  cases.push(['info', await examine(blind, ...asPoor(blind)), /version: INFO is refused/])
  const single = await startRedis({ cluster: true })
  t.teardown(async () => { await single.stop() })
  cases.push(['cluster mode', await examine(single), /^mode: the server is one of a Cluster, and was asked as a single one: .*--cluster$/m])
  const replica = await broken(t, ['--replicaof', '127.0.0.1', String(server.port)])
  cases.push(['replica', await examine(replica), /^role: a replica, of 127\.0\.0\.1:\d+: it takes no writes/m])
  const full = await broken(t, ['--maxmemory', '500kb', '--maxmemory-policy', 'noeviction'])
  cases.push(['full', await examine(full), /^eviction: the server is full, and evicts nothing: .*volatile-lru\nwork: not tried[^\n]*\ntracking: not tried[^\n]*$/])
  const old = await broken(t, ['--rename-command', 'SET', '', '--rename-command', 'ZADD', ''])
  cases.push(['unknown commands', await examine(old), /rights: the server does not know SET, ZADD as the cache calls it/])
  for (const [name, result, said] of cases) {
    t.equal(result.code, 1, name)
    t.match(read(result).said, said, name)
    t.notMatch(result.out, /secret/)
  }
  const evicting = await broken(t, ['--maxmemory', '64mb', '--maxmemory-policy', 'allkeys-lru'])
  t.match([(await examine(evicting)).code, read(await examine(evicting)).said], [0, /^eviction: allkeys-lru: entries make room; where the clock/])
  const deaf = await broken(t, [], async (server) => await user(server, '-client|tracking', '-scan', '-wait'))
  const result = await examine(deaf, ...asPoor(deaf))
  t.match([result.code, read(result).said], [0, /rights: not for invalidating by prefix \(\+scan\), waitForReplicas \(\+wait\).*tracking: Redis does not/s])
})

t.test('doctor: a server too old, one behind a proxy, and one whose clock is off, by what they answer', async (t) => {
  const changed = async (change: (text: string) => string): Promise<CommandResult> => {
    const way = await startEditor(server.port, change)
    t.teardown(() => { way.close() })
    return await runCommand(['doctor', '--json', '--url', `redis://127.0.0.1:${way.port}`, '--timeout', '30s'], {})
  }
  const old = await changed((text) => text.replace(/redis_version:\d/, 'redis_version:6'))
  t.match([old.code, read(old).said], [1, /^version: Redis 6\.\d.*: too old\. The cache needs Redis 7 or Valkey 8/])
  const hidden = await changed((text) => text.replace(/run_id:\w/, 'ran_id:x'))
  t.match([hidden.code, read(hidden).said], [1, /^run_id: not told, by a proxy for example/m])
  const late = await changed((text) => text.replace(/\*2\r\n\$10\r\n(\d{10})\r\n/, (all, time) => all.replace(time, String(Number(time) - 3600))))
  t.match([late.code, read(late).said], [1, /^clock: 3(?:599|600)\.\d s behind this machine's: invalidations are exact all the same/m])
})

/** A forwarder that changes what the server answers, without changing its length. */
async function startEditor (target: number, change: (text: string) => string): Promise<{ port: number, close: () => void }> {
  const { connect } = await import('node:net')
  const sockets = new Set<{ destroy: () => void }>()
  const listener = createServer((socket) => {
    const other = connect(target, '127.0.0.1')
    for (const one of [socket, other]) {
      sockets.add(one)
      one.on('error', () => {}).on('close', () => { socket.destroy(); other.destroy() })
    }
    socket.pipe(other)
    other.on('data', (bytes: Buffer) => { socket.write(change(bytes.toString('latin1')), 'latin1') })
  }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  return {
    port: (listener.address() as AddressInfo).port,
    close: () => {
      for (const socket of sockets) socket.destroy()
      listener.close()
    }
  }
}

t.test('a server that can not be reached, or refuses: one line, code 3, no password', async (t) => {
  const [port] = await freePorts(1) as [number]
  const locked = await broken(t, ['--requirepass', 'right'])
  const hanging = await broken(t, [])
  await hanging.pause()
  t.teardown(() => { hanging.resume() })
  const cases: Array<[args: string[], env: Record<string, string>, problem: RegExp]> = [
    [['--url', `redis://:secret@127.0.0.1:${port}`], {}, new RegExp(`^fastify-route-cache: Redis 127\\.0\\.0\\.1:${port} \\(ECONNREFUSED: nothing listens there\\)$`)],
    [['--url', 'redis://:secret@no-such-host.invalid:1'], {}, /\((?:ENOTFOUND|EAI_AGAIN): /],
    [['--url', `redis://u:secret@127.0.0.1:${locked.port}`], {}, /\(WRONGPASS: the password or the user name is wrong\)$/],
    [['--url', locked.url], {}, /\(NOAUTH: the server wants a password, and the client has none\)$/],
    [['--url', locked.url], { REDIS_PASSWORD: 'secret' }, /WRONGPASS/],
    [['--url', `redis://:secret@127.0.0.1:${port}`, '--cluster'], {}, /Redis 127\.0\.0\.1:\d+ \(ECONNREFUSED/],
    [['--url', server.url, '--cluster'], {}, /Redis 127\.0\.0\.1:\d+ \(.*cluster support disabled/],
    [['--url', 'redis://:secret@127.0.0.1', '--sentinel', `127.0.0.1:${port}`, '--master', 'm'], {}, /m by the sentinel 127\.0\.0\.1:\d+ \(/],
    [['--url', `redis://:secret@127.0.0.1:${hanging.port}`, '--timeout', '300ms'], {}, /\(no answer within 300 ms: connected, and HELLO got no answer: a server that was stopped/],
    [[], { REDIS_URL: `redis://:secret@127.0.0.1:${port}` }, /ECONNREFUSED/]
  ]
  for (const [args, env, problem] of cases) {
    for (const command of [['doctor'], ['purge', '--all'], ['keys']]) {
      const result = await runCommand([...command, ...args], env)
      t.match(result, { out: '', code: 3, problem }, args.join(' '))
      t.match(result.problem, /^fastify-route-cache: [^\n]+$/)
      t.notMatch(result.problem, /secret/)
    }
  }
  t.match(await runCommand(['keys', '--url', locked.url], { REDIS_PASSWORD: 'right' }), { code: 1, problem: /no app has used the prefix "cache"/ }, 'the right one in the environment')
})

t.test('a Cluster, and sentinels', async (t) => {
  const cluster = await startCluster()
  const sentinel = await startSentinel()
  t.teardown(async () => {
    await cluster.stop()
    await sentinel.stop()
  })
  const redis = cluster.client()
  const app = await cachedApp(t, { redis: redis as never, prefix: 'shop' })
  app.get('/:id', { cache: { key: 'page:{id}', tags: ['pages'] } }, async () => 'x')
  for (let id = 0; id < 9; id++) await app.inject(`/${id}`)
  await settled(app)
  const { host, port } = cluster.nodes[0]!
  const there = ['--cluster', '--url', `redis://${host}:${port}`, '--prefix', 'shop', '--timeout', '30s']
  t.equal((await runCommand(['keys', 'page:', ...there], {})).out.split('\n').length, 9)
  t.match(await runCommand(['purge', '--key', 'page:1', '--key', 'page:2', '--tag', 'x', ...there], {}), { out: /2 keys, 1 tag under the prefix "\w+"; 2 entries/, code: 0 })
  await runCommand(['purge', '--tag', 'pages', ...there], {})
  t.match((await app.inject('/3')).headers['cache-status'], /miss/)
  const healthy = await runCommand(['doctor', '--json', ...there], {})
  t.match([healthy.code, read(healthy).states], [0, { mode: 'ok', rights: 'ok', work: 'ok', tracking: 'ok' }], healthy.out)
  const { sentinels: [address], name } = sentinel.address
  const bySentinel = ['--sentinel', `${address!.host}:${address!.port}`, '--master', name, '--timeout', '30s']
  const found = await runCommand(['doctor', '--json', ...bySentinel], {})
  t.match([found.code, read(found).states], [0, { mode: 'ok', rights: 'ok', work: 'ok' }], `${found.out} ${found.problem}`)
  t.match(await runCommand(['doctor', '--json', '--url', `redis://${address!.host}:${address!.port}`], {}), { code: /[13]/ })
})

t.test('as it is installed: built, with its first line, by node', async (t) => {
  const main = fileURLToPath(new URL('../../dist/esm/extras/command/main.js', import.meta.url))
  const run = async (...args: string[]): Promise<object> => await new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr })
    })
  })
  await admin.ping()
  t.match(await run('purge', '--key', 'k', ...at(server)), { code: 0, stdout: 'invalidated: 1 key under the prefix "cache"; 0 entries by key or beginning\n' })
  t.match(await run('inspect', 'k', ...at(server)), { code: 1, stderr: /^fastify-route-cache: no app has used the prefix "cache" [^\n]*\n$/ })
  // The block 'command' of the page.
  const page = await readFile(new URL('../../docs/from-any-language.md', import.meta.url), 'utf8')
  const [, line, printed] = /<!-- run: command -->\n```console\n\$ npx fastify-route-cache (.*)\n([^]*?)```/.exec(page)!
  const app = await cachedApp(t, { redis: server.client(), prefix: 'shop' })
  app.get('/', { cache: { key: 'user:1', ttl: 600 } }, async () => 'x')
  await app.inject('/')
  await settled(app)
  t.match(await run(...line!.split(' '), ...at(server)), { code: 0, stdout: printed, stderr: '' })
  t.match(await run('purge'), { code: 2, stdout: '', stderr: /^fastify-route-cache: purge needs/ })
  t.match(await run('purge', '--all', '--url', 'redis://:secret@127.0.0.1:1'), { code: 3, stdout: '', stderr: /ECONNREFUSED/ })
})
