// The command where Redis can't be used: which cause it names, with the likely mistake, and that its time bounds each step.
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { connect, createServer, type AddressInfo, type Server } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import fastify from 'fastify'
import t, { type Test } from 'tap'
import routeCache from '../../plugin/index.js'
import { runCommand, type CommandResult } from '../../plugin/extras/command/command.js'
import { selfSigned } from '../helpers/certificate.js'
import { freePorts, startRedis, startSentinel, type RedisServer } from '../helpers/redis.js'

const server = await startRedis()
t.teardown(async () => { await server.stop() })

async function started (t: Test, { redis = server }: { redis?: RedisServer } = {}): Promise<RedisServer> {
  t.teardown(async () => { if (redis !== server) await redis.stop() })
  return redis
}

/** The port of a server that is closed with the test. */
async function portOf (t: Test, listener: Server): Promise<number> {
  const sockets = new Set<{ destroy: () => void }>()
  listener.on('connection', (socket) => { sockets.add(socket) }).on('tlsClientError', () => {}).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    listener.close()
  })
  return (listener.address() as AddressInfo).port
}

/** Passes all on but what the client sends with this word, which is dropped with all behind it. */
const dropping = (word: string): Server => createServer((socket) => {
  const there = connect(server.port, '127.0.0.1')
  let isOver = false
  socket.on('data', (bytes: Buffer) => {
    isOver ||= bytes.toString('latin1').toLowerCase().includes(word)
    if (!isOver) there.write(bytes)
  })
  there.pipe(socket)
  for (const one of [socket, there]) one.on('error', () => {}).on('close', () => { socket.destroy(); there.destroy() })
})

const COMMANDS = [['doctor'], ['purge', '--all'], ['purge', '--starts-with', 'a'], ['keys'], ['inspect', 'k'], ['tags', 'k'], ['stats']]

t.test('each cause, and what to write instead', async (t) => {
  const http = await portOf(t, createHttpServer((_request, response) => { response.end('x') }))
  const silent = await portOf(t, createServer(() => {}))
  const tls = await portOf(t, createTlsServer(selfSigned('127.0.0.1'), () => {}))
  const stopped = await started(t, { redis: await startRedis() })
  await stopped.pause()
  t.teardown(() => { stopped.resume() })
  const group = await startSentinel({ replicas: 0, sentinels: 1 } as never)
  t.teardown(async () => { await group.stop() })
  const [sentinel] = group.address.sentinels as [{ host: string, port: number }]
  const [dead] = await freePorts(1) as [number]
  const url = (port: number, scheme = 'redis'): string[] => ['--url', `${scheme}://:secret@127.0.0.1:${port}`]
  const by = (port: number, name = 'm'): string[] => ['--sentinel', `127.0.0.1:${port}`, '--master', name]
  const cases: Array<[name: string, args: string[], cause: RegExp]> = [
    ['HTTP', url(http), /an HTTP server answers there, no Redis/],
    ['silent', url(silent), /no answer within 900 ms: connected, and HELLO got no answer: .*or one that wants TLS \(rediss:/],
    ['plain to TLS', url(tls), /one that wants TLS \(rediss:|a server with TLS answers there/],
    ['TLS to plain', url(server.port, 'rediss'), /the TLS handshake got no answer: .*one without TLS, which is redis:|no TLS is spoken there/],
    ['TLS to HTTP', url(http, 'rediss'), /no TLS is spoken there: write redis:/],
    ['TLS, silent', url(silent, 'rediss'), /the TLS handshake got no answer/],
    ['TLS, unknown certificate', url(tls, 'rediss'), /certificate is not trusted: name its authority/],
    ['stopped', url(stopped.port), /connected, and HELLO got no answer: a server that was stopped/],
    ['wrong master', by(sentinel.port, 'nope'), /the sentinels know no servers by this name: .*--master/],
    ['a Redis as sentinel', by(server.port), /what is given as a sentinel is a Redis/],
    ['dead sentinel', by(dead), /no sentinel answers: look at their addresses/],
    ['silent sentinel', by(silent), /no answer within 900 ms: no sentinel has named a server/]
  ]
  for (const [name, args, cause] of cases) {
    for (const command of name === 'silent' || name === 'stopped' ? COMMANDS : [['doctor'], ['purge', '--all']]) {
      const { problem, ...rest } = await runCommand([...command, ...args, '--timeout', '900ms'], {})
      t.strictSame(rest, { out: '', code: 3 }, `${command[0]}, ${name}`)
      t.match(problem, cause, `${command[0]}, ${name}`)
      t.notMatch(problem, /secret|\(it is not connected\)|\n/)
    }
  }
  for (const words of [['purge', '--key', 'k'], ['keys'], ['inspect', 'k']]) {
    const asRedis = ['--url', `redis://127.0.0.1:${sentinel.port}`]
    t.match(await runCommand([...words, ...asRedis], {}), { code: 3, problem: /a sentinel, which holds no data/ })
  }
  const { out, code, problem } = await runCommand(['doctor', '--json', ...url(dead)], {})
  t.match([code, JSON.parse(out)], [3, { healthy: false, findings: [{ check: 'connection', state: 'wrong', text: /ECONNREFUSED/ }] }])
  t.match(problem, /ECONNREFUSED/)
})

t.test('one command that nobody answers ends the wait, by its name', async (t) => {
  const ask = async (port: number, ...words: string[]): Promise<CommandResult> =>
    await runCommand([...words, '--url', `redis://127.0.0.1:${port}`, '--timeout', '900ms'], {})
  for (const word of ['evalsha', 'info', 'ping', 'mget', 'scan']) {
    const port = await portOf(t, dropping(`\r\n${word}\r\n`))
    const result = await ask(port, 'doctor')
    t.ok(result.code === 1 || result.code === 3, `${word}: ${result.out}`)
    t.match(`${result.out}${result.problem}`, new RegExp(`${word.toUpperCase()} got no answer|got no answer`), word)
    if (word === 'scan') t.match(await ask(port, 'keys'), { code: 3, problem: /no answer within 900 ms: SCAN got no answer/ })
    if (word === 'evalsha') t.match(await ask(port, 'purge', '--key', 'k'), { code: 3, problem: /no answer within 900 ms: EVALSHA got no answer/ })
  }
})

t.test('a user without a right: the command is named, also where a script calls it, and the doctor names all', async (t) => {
  const redis = await started(t, { redis: await startRedis() })
  const admin = redis.client()
  const as = async (...rights: string[]): Promise<string[]> => {
    await admin.call('ACL', 'SETUSER', 'poor', 'on', '>secret', 'resetkeys', '~*', '&*', '+@all', ...rights)
    return ['--url', redis.url.replace('//', '//poor:secret@'), '--timeout', '30s']
  }
  for (const name of ['set', 'time', 'unlink']) {
    const { code, problem } = await runCommand(['purge', '--key', 'k', '--tag', 't', ...await as(`-${name}`)], {})
    t.match([code, problem], [3, new RegExp(`NOPERM: .* for the '${name}'`)], name)
    t.notMatch(problem, /this process serves nothing|tried again/)
  }
  t.match(await runCommand(['purge', '--key', 'k', ...await as('-ping')], {}), { code: 0 })
  const { out, code } = await runCommand(['doctor', ...await as('-ping', '-zadd', '-getrange', '-time')], {})
  t.match([code, out], [1, /ACL SETUSER <user> \+getrange \+zadd \+time\n/])
})

t.test('each command says where no app has used the prefix, as often as it is asked', async (t) => {
  const client = server.client()
  const args = ['--url', server.url, '--timeout', '30s', '--prefix', 'unknown']
  const problem = /^fastify-route-cache: no app has used the prefix "unknown" on this Redis[^\n]*$/
  for (const words of [
    ['keys'], ['inspect', 'a'], ['tags', 'a'], ['stats'], ['doctor'], ['purge', '--tag', 'a'], ['purge', '--key', 'a', '--json'],
    ['purge', '--all', '--json'], ['purge', '--tag', 'a']
  ]) t.match(await runCommand([...words, ...args], {}), { problem }, words.join(' '))
  t.strictSame(await client.exists('unknown#floor', '{unknown#floor}:clock', '{unknown#floor}:tags'), 0)
  const app = fastify()
  await app.register(routeCache, { redis: client, prefix: 'unknown' })
  await app.ready()
  for (const words of [['keys'], ['purge', '--tag', 'a', '--json']]) t.match(await runCommand([...words, ...args], {}), { problem: '' })
  t.equal(await client.exists('unknown#floor'), 1)
  await app.close()
})
