// Requests that ask for another protocol (RFC 9110 §7.8): what they want is no stored response, and no lease is held while
// they talk. An offer to go on in another version of HTTP, or with TLS, is none of these.
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { connect, type AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import { cachedApp, onEachStore, settled } from '../helpers/app.js'
import { inBothOrders, outcome, sideBySide, type Order } from '../side-by-side/orders.js'

// Without its types, which say of every route in this repository that it may talk.
const require = createRequire(import.meta.url)
const websocket = require('@fastify/websocket') as FastifyPluginAsync<Record<string, unknown>>
const { WebSocket } = require('ws') as { WebSocket: new (url: string) => Talk }

interface Talk {
  send: (text: string) => void
  close: () => void
  on: (event: string, listener: (...args: unknown[]) => void) => Talk
  once: (event: string, listener: (...args: unknown[]) => void) => Talk
}

const SWITCHES: Record<string, Record<string, string>> = {
  websocket: { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' },
  'as Firefox says it': { connection: 'keep-alive, Upgrade', upgrade: 'websocket' },
  'in other letters': { connection: 'upgrade', upgrade: 'WebSocket' },
  'with spaces': { connection: ' close ,\tUPGRADE ', upgrade: ' websocket ' },
  'beside h2c': { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c, websocket', 'http2-settings': '' },
  'with a version': { connection: 'upgrade', upgrade: 'websocket/13' },
  'some other protocol': { connection: 'upgrade', upgrade: 'SHTTP/1.3, IRC/6.9, RTA/x11' },
  'CONNECT-UDP': { connection: 'Upgrade', upgrade: 'connect-udp', 'capsule-protocol': '?1' },
  'its own protocol': { connection: 'Upgrade', upgrade: 'tcp' },
  'a name that only begins like one of HTTP': { connection: 'Upgrade', upgrade: 'h2c-tunnel' },
  'extended CONNECT that an adapter passes on as a GET': { ':protocol': 'websocket' }
}

const NO_SWITCHES: Record<string, Record<string, string>> = {
  h2c: { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABkAAQAAP__' },
  'h2c in other letters': { connection: 'upgrade, http2-settings', upgrade: 'H2C' },
  'a version of HTTP': { connection: 'upgrade', upgrade: 'HTTP/2.0' },
  'several of HTTP': { connection: 'upgrade', upgrade: 'h2c, HTTP/3' },
  TLS: { connection: 'upgrade', upgrade: 'TLS/1.2, HTTP/1.1' },
  'of another hop: the connection does not name it': { connection: 'keep-alive', upgrade: 'websocket' },
  'without a connection': { upgrade: 'websocket' },
  'a connection that names nothing': { connection: 'upgrade' },
  'nothing asked for': { connection: 'upgrade', upgrade: '' },
  'a longer name': { connection: 'upgrade-insecure-requests', upgrade: 'websocket' },
  'upgrade-insecure-requests': { 'upgrade-insecure-requests': '1' }
}

t.test('who asks for another protocol is neither answered nor leased', async (t) => {
  await onEachStore(t, async (t, open) => {
    for (const [place, hook] of [['onRequest', undefined], ['handler', async () => {}]] as const) {
      const app = await open({ prefix: place })
      let runs = 0
      const route = { cache: { key: 'k', shared: true }, ...hook !== undefined && { preHandler: hook } }
      app.get('/', route, async () => `run ${++runs}`)
      for (const [name, headers] of Object.entries(SWITCHES)) {
        const cold = await app.inject({ url: '/', headers })
        t.strictSame([outcome(cold), app.cache.stats().flights], ['fwd=bypass; detail=upgrade', 0], `${name}: cold`)
      }
      t.equal(outcome(await app.inject('/')), 'fwd=miss')
      await settled(app)
      for (const [name, headers] of Object.entries(SWITCHES)) {
        const before = runs
        const warm = await app.inject({ url: '/', headers })
        t.strictSame([outcome(warm), runs], ['fwd=bypass; detail=upgrade', before + 1], `${name}: warm`)
        t.equal(outcome(await app.inject({ url: '/', headers, method: 'HEAD' })), 'fwd=bypass; detail=upgrade', `${name}: HEAD`)
        t.match(await app.cache.explain({ url: '/', headers }), { outcome: 'bypass', reason: 'upgrade', text: /another protocol/ })
      }
      for (const [name, headers] of Object.entries(NO_SWITCHES)) {
        t.equal(outcome(await app.inject({ url: '/', headers })), 'hit', `${name}: a hit`)
      }
    }
  })
})

t.test('an offer of another version of HTTP fills, refreshes and collapses as any other request', async (t) => {
  for (const [name, headers] of Object.entries(NO_SWITCHES)) {
    const app = await cachedApp(t)
    app.get('/', { cache: { key: 'k', staleWhileRevalidate: 60 } }, async () => 'x')
    t.equal(outcome(await app.inject({ url: '/', headers })), 'fwd=miss', name)
    await settled(app)
    await app.cache.invalidate('k', { soft: true })
    t.match(outcome(await app.inject({ url: '/', headers })), 'hit')
    await app.cache.settled()
    t.match(app.cache.stats().total, { refreshes: 1, stores: 2 }, name)
    await app.close()
  }
})

interface Talking { socket: Talk, heard: string[], closed: Promise<unknown> }

/** A websocket to the app, once it is open; what it hears, in order. */
async function talk (app: FastifyInstance, path: string): Promise<Talking> {
  const { port } = app.server.address() as AddressInfo
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`)
  const heard: string[] = []
  socket.on('message', (data) => { heard.push(String(data)) })
  const closed = new Promise((resolve) => { socket.once('close', resolve) })
  await new Promise<void>((resolve, reject) => { socket.once('open', () => { resolve() }).once('error', reject) })
  return { socket, heard, closed }
}

interface TalkingRoute { wsHandler: (socket: Talk) => void }

async function talking (t: Test, order: Order, guard?: () => Promise<void>): Promise<FastifyInstance> {
  const app = await sideBySide(t, order, async (app) => await app.register(websocket))
  const route: TalkingRoute = {
    wsHandler: (socket) => { socket.on('message', (data) => { socket.send(`heard ${String(data)}`) }) }
  }
  let runs = 0
  const guarded = guard === undefined ? {} : { preHandler: guard }
  app.get('/', { cache: { key: 'k', shared: true }, ...guarded, ...route }, async () => `run ${++runs}`)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app
}

t.test('@fastify/websocket: a socket and a page on one path', async (t) => {
  for (const [place, guard] of [['in onRequest', undefined], ['in front of the handler', async () => {}]] as const) {
    await inBothOrders(t, `the lookup ${place}`, async (t, order) => {
      const app = await talking(t, order, guard)
      const first = await talk(app, '/')
      t.equal(app.cache.stats().flights, 0, 'no lease is held while a socket is open')
      const url = `${app.listeningOrigin}/`
      const [miss, other] = await Promise.all([fetch(url), fetch(url)])
      t.strictSame([await miss.text(), await other.text()], ['run 1', 'run 1'])
      await settled(app)
      const hit = await fetch(url)
      t.match([hit.headers.get('cache-status'), await hit.text()], [/; hit/, 'run 1'])
      const second = await talk(app, '/')
      for (const [n, { socket, heard }] of [first, second].entries()) {
        socket.send(`from ${n}`)
        await new Promise((resolve) => { socket.once('message', resolve) })
        t.strictSame(heard, [`heard from ${n}`])
        socket.close()
      }
      await Promise.all([first.closed, second.closed])
      // Behind ours, the package takes the socket before a lookup that stands in front of the handler.
      const looked = order === 'ours first' && guard !== undefined ? {} : { upgrade: 2 }
      t.strictSame(app.cache.stats().total.bypasses, looked)
      t.match((await fetch(url)).headers.get('cache-status'), /; hit/)
    })
  }
})

t.test('@fastify/websocket: a route that only talks, with a cache option on it', async (t) => {
  for (const [place, guard] of [['in onRequest', undefined], ['in front of the handler', async () => {}]] as const) {
    await inBothOrders(t, `the lookup ${place}`, async (t, order) => {
      const app = await sideBySide(t, order, async (app) => await app.register(websocket))
      const handler = (socket: Talk): void => { socket.on('message', (data) => { socket.send(`heard ${String(data)}`) }) }
      const options = { websocket: true, cache: { key: 'k', shared: true }, ...guard !== undefined && { preHandler: guard } }
      app.get('/', options, handler as unknown as () => void)
      await app.listen({ port: 0, host: '127.0.0.1' })
      const { socket, heard, closed } = await talk(app, '/')
      socket.send('x')
      await new Promise((resolve) => { socket.once('message', resolve) })
      t.strictSame(heard, ['heard x'])
      socket.close()
      await closed
      t.equal((await fetch(`${app.listeningOrigin}/`)).status, 404)
    })
  }
})

t.test('a server that switches by itself', async (t) => {
  const app = await cachedApp(t)
  app.get('/', { cache: { key: 'k' } }, async () => 'page')
  await app.listen({ port: 0, host: '127.0.0.1' })
  app.server.on('upgrade', (_request, socket: Duplex) => {
    socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello')
  })
  const { port } = app.server.address() as AddressInfo
  for (const cache of ['cold', 'warm']) {
    const socket = connect(port, '127.0.0.1')
    let heard = ''
    socket.setEncoding('latin1').on('data', (part: string) => { heard += part })
    socket.write('GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
    await once(socket, 'close')
    t.match(heard, /^HTTP\/1.1 101 [^]*hello$/, cache)
    await fetch(`${app.listeningOrigin}/`)
    await settled(app)
  }
})

t.test('a handler that switches itself, by hijack', async (t) => {
  const app = await cachedApp(t)
  app.get('/', { cache: { key: 'k' } }, async (request, reply) => {
    if (request.headers.upgrade !== 'echo') return 'page'
    reply.hijack()
    request.raw.socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello')
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  for (const cache of ['cold', 'warm']) {
    const socket = connect(port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
    const [heard] = await once(socket.setEncoding('latin1'), 'data') as [string]
    t.match(heard, /^HTTP\/1.1 101 [^]*hello$/, cache)
    const page = await fetch(`${app.listeningOrigin}/`)
    t.match([await page.text(), page.headers.get('cache-status')], ['page', cache === 'cold' ? /fwd=miss$/ : /; hit/], 'while it talks')
    await settled(app)
    socket.destroy()
  }
})
