// The proxy between app and Redis, in each of its modes, in front of a server that says back what it is told.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { until } from '../helpers/until.js'
import { startProxy, type FaultProxy } from './proxy.js'

/** What the server has been told, and its connections. */
interface Echo { server: Server, heard: string, sockets: Set<Socket> }

interface Client {
  socket: Socket
  /** All that came back. */
  got: () => string
  state: () => 'open' | 'ended' | 'reset'
  /** Resolves once so much has come. */
  has: (length: number) => Promise<void>
}

async function echoServer (t: Test): Promise<Echo> {
  const echo: Echo = { server: createServer(), heard: '', sockets: new Set() }
  echo.server.on('connection', (socket) => {
    echo.sockets.add(socket)
    socket.on('error', () => {}).on('close', () => { echo.sockets.delete(socket) })
    socket.setEncoding('latin1').on('data', (text: string) => {
      echo.heard += text
      socket.write(text, 'latin1')
    })
  })
  await once(echo.server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    for (const socket of echo.sockets) socket.destroy()
    echo.server.close()
  })
  return echo
}

async function opened (t: Test): Promise<{ echo: Echo, proxy: FaultProxy, client: () => Promise<Client> }> {
  const echo = await echoServer(t)
  const proxy = await startProxy((echo.server.address() as AddressInfo).port)
  t.teardown(async () => { await proxy.close() })
  return { echo, proxy, client: async () => await clientOf(t, proxy) }
}

async function clientOf (t: Test, proxy: FaultProxy): Promise<Client> {
  const socket = connect(proxy.port, proxy.host)
  t.teardown(() => { socket.destroy() })
  let text = ''
  let state: ReturnType<Client['state']> = 'open'
  socket.setEncoding('latin1').on('data', (more: string) => { text += more })
  socket.on('error', () => { state = 'reset' }).on('close', () => { if (state === 'open') state = 'ended' })
  await new Promise<void>((resolve) => { socket.on('connect', resolve).on('close', () => { resolve() }) })
  return {
    socket,
    got: () => text,
    state: () => state,
    has: async (length) => { await until(async () => text.length >= length, async () => `${length} characters: ${text.length}`) }
  }
}

/** Whatever was going to come has come: a round trip on a connection of its own, straight to the server, some times. */
async function meanwhile (t: Test, echo: Echo): Promise<void> {
  const { port } = echo.server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => { socket.destroy() })
  for (let i = 0; i < 20; i++) {
    socket.write('.')
    await once(socket, 'data')
  }
  socket.destroy()
}

t.test('pass: all bytes in their order, and the end', async (t) => {
  const { proxy, client, echo } = await opened(t)
  const { socket, got, has, state } = await client()
  const text = Array.from({ length: 300_000 }, (_, i) => String.fromCharCode(97 + i % 26)).join('')
  socket.write(text)
  await has(text.length)
  t.ok(got() === text, 'the same')
  socket.end()
  await until(async () => state() === 'ended' && proxy.connections === 0 && echo.sockets.size === 0, 'everybody has gone')
})

t.test('pass: a server that goes, and one that is not there', async (t) => {
  const { client, echo } = await opened(t)
  const { socket, state, has } = await client()
  socket.write('x')
  await has(1)
  for (const socket of echo.sockets) socket.destroy()
  await until(async () => state() !== 'open', 'the client hears of it')
  echo.server.close()
  const next = await client()
  await until(async () => next.state() !== 'open', 'the client finds nobody')
})

t.test('latency: later, each way', async (t) => {
  const { proxy, client } = await opened(t)
  const { socket, has, got } = await client()
  socket.write('a')
  await has(1)
  proxy.change({ type: 'latency', ms: 50 })
  const from = performance.now()
  socket.write('b')
  socket.write('c')
  await has(3)
  t.equal(got(), 'abc')
  t.ok(performance.now() - from >= 99, 'twice 50 ms')
})

t.test('blackhole: nothing passes, nothing is lost', async (t) => {
  const { proxy, client, echo } = await opened(t)
  const { socket, has, got, state } = await client()
  socket.write('a')
  await has(1)
  proxy.change({ type: 'blackhole' })
  socket.write('b')
  const late = await client()
  late.socket.write('c')
  await meanwhile(t, echo)
  t.match({ heard: echo.heard.replaceAll('.', ''), got: got(), late: late.got(), state: state(), lateState: late.state() },
    { heard: 'a', got: 'a', late: '', state: 'open', lateState: 'open' })
  proxy.pass()
  await has(2)
  await late.has(1)
  t.equal(got(), 'ab')
  t.equal(late.got(), 'c')
})

t.test('blackhole: who leaves has left when it is over', async (t) => {
  const { proxy, client, echo } = await opened(t)
  const { socket, has } = await client()
  socket.write('a')
  await has(1)
  proxy.change({ type: 'blackhole' })
  socket.destroy()
  proxy.pass()
  await until(async () => proxy.connections === 0 && echo.sockets.size === 0, 'nobody is there any more')
})

t.test('reset: connections are reset, new ones too, until it is over', async (t) => {
  const { proxy, client, echo } = await opened(t)
  const { socket, has, state } = await client()
  socket.write('a')
  await has(1)
  proxy.change({ type: 'reset' })
  await until(async () => state() === 'reset' && echo.sockets.size === 0, 'it is reset')
  const refused = await client()
  await until(async () => refused.state() === 'reset', 'the new one, too')
  proxy.pass()
  const next = await client()
  next.socket.write('b')
  await next.has(1)
  t.equal(next.got(), 'b')
})

t.test('drip: a few bytes at a time; the rest at once when it is over', async (t) => {
  const { proxy, client } = await opened(t)
  const { socket, has, got } = await client()
  proxy.change({ type: 'drip', bytes: 2, every: 5 })
  const from = performance.now()
  socket.write('0123456789')
  await has(10)
  t.equal(got(), '0123456789')
  t.ok(performance.now() - from >= 15, 'five times two bytes')
  socket.write('x'.repeat(100_000))
  await has(12)
  t.ok(got().length < 50_000)
  proxy.pass()
  await has(100_010)
})

t.test("half-open: the server's side is gone, the client's is silent, and reset when it is over", async (t) => {
  const { proxy, client, echo } = await opened(t)
  const { socket, has, got, state } = await client()
  socket.write('a')
  await has(1)
  proxy.change({ type: 'half-open' })
  await until(async () => echo.sockets.size === 0, 'the server has lost it')
  socket.write('b')
  const next = await client()
  next.socket.write('c')
  await next.has(1)
  t.match({ got: got(), state: state(), next: next.got() }, { got: 'a', state: 'open', next: 'c' }, 'new ones pass')
  proxy.pass()
  await until(async () => state() === 'reset', 'it is reset')
  next.socket.write('d')
  await next.has(2)
  t.equal(next.got(), 'cd', 'the new one stays')
})

t.test('garbage: other bytes, as many; reset when it is over', async (t) => {
  const { proxy, client, echo } = await opened(t)
  const { socket, has, got, state } = await client()
  const silent = await client()
  socket.write('a')
  await has(1)
  proxy.change({ type: 'garbage' })
  const text = 'x'.repeat(1_000)
  socket.write(text)
  await has(1_001)
  t.equal(got().length, 1_001)
  t.not(got(), `a${text}`)
  t.equal(echo.heard, `a${text}`, 'the server was told the truth')
  proxy.pass()
  await until(async () => state() === 'reset', 'nobody could go on with it')
  silent.socket.write('b')
  await silent.has(1)
  t.equal(silent.got(), 'b', 'one that was told nothing goes on')
})

t.test('one mode after the other', async (t) => {
  const { proxy, client } = await opened(t)
  const { socket, has, got } = await client()
  socket.write('a')
  await has(1)
  proxy.change({ type: 'blackhole' })
  socket.write('b')
  proxy.change({ type: 'latency', ms: 5 })
  socket.write('c')
  proxy.change({ type: 'drip', bytes: 1, every: 1 })
  socket.write('d')
  await has(4)
  t.equal(got(), 'abcd')
  t.equal(proxy.mode, 'drip')
})
