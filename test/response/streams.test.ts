// Streams pass as they would without us: the first byte does not wait, what fails or is cut off is not stored, and no more
// is kept than the limit.
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough, Readable, Stream, type Duplex } from 'node:stream'
import { TransformStream, type WritableStreamDefaultWriter } from 'node:stream/web'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t, { type Test } from 'tap'
import type { RouteCacheOptions } from '../../plugin/index.js'
import { cachedApp, gate, settled, type CachedApp } from '../helpers/app.js'

/** The app, listening, with one cached route that sends this; and a way to ask for it. */
async function serving (
  t: Test, payload: () => unknown, { options = {}, type = 'text/plain' }: { options?: RouteCacheOptions, type?: string } = {}
): Promise<{ app: CachedApp, ask: () => Promise<IncomingMessage> }> {
  const app = await cachedApp(t, options)
  app.get('/', { cache: { key: 'k' } }, (_, reply) => { reply.type(type).send(payload()) })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const ask = async (): Promise<IncomingMessage> => {
    const [response] = await once(httpRequest({ port, host: '127.0.0.1', agent: false }).end(), 'response')
    return response as IncomingMessage
  }
  return { app, ask }
}

async function text (response: IncomingMessage): Promise<string> {
  return Buffer.concat(await response.toArray()).toString()
}

function through (writer: WritableStreamDefaultWriter): { write: (chunk: string) => void, end: () => void } {
  return {
    write: (chunk) => { writer.write(Buffer.from(chunk)).catch(() => {}) },
    end: () => { writer.close().catch(() => {}) }
  }
}

t.test('a legacy stream is let go when the client leaves, by whichever way it has', async (t) => {
  const ways: Array<Array<'destroy' | 'close' | 'abort'>> = [['destroy'], ['close'], ['abort'], ['close', 'abort'], ['destroy', 'abort'], []]
  for (const cache of [{ key: 'k' }, undefined]) {
    for (const names of ways) {
      const app = await cachedApp(t)
      const calls: string[] = []
      const called = gate()
      app.get('/', { ...cache !== undefined && { cache } }, (_, reply) => {
        const source = Object.assign(new Stream(), { readable: true })
        const letGo = Object.fromEntries(names.map((name) => [name, () => { calls.push(name); called.open() }]))
        source.on('newListener', (event) => { if (event === 'data') setImmediate(() => source.emit('data', Buffer.from('a'))) })
        reply.send(Object.assign(source, letGo))
      })
      await app.listen({ port: 0, host: '127.0.0.1' })
      const { port } = app.server.address() as AddressInfo
      const request = httpRequest({ port, host: '127.0.0.1', agent: false }).end()
      const [response] = await once(request, 'response') as [IncomingMessage]
      response.on('error', () => {})
      await once(response, 'data')
      response.destroy()
      if (names.length > 0) await called.wait()
      t.equal(new Set(calls).size <= 1 ? calls[0] : String(calls), names[0], `${cache === undefined ? 'not ' : ''}cached: ${String(names)}`)
      await settled(app)
    }
  }
})

t.test('the first byte arrives while the source is still open, and the whole is stored', async (t) => {
  const sources: [name: string, make: () => { payload: unknown, write: (chunk: string) => void, end: () => void }][] = [
    ['node', () => {
      const source = new PassThrough()
      return { payload: source, write: (chunk) => source.write(chunk), end: () => source.end() }
    }],
    ['of another class than Node\'s', () => {
      const source = Object.assign(new Stream(), { readable: true })
      // What is written before somebody reads is lost, in such a stream.
      const read = gate()
      source.on('newListener', (event) => { if (event === 'data') read.open() })
      const emit = (event: string, chunk?: Buffer): void => { read.wait().then(() => source.emit(event, chunk), () => {}) }
      return { payload: source, write: (chunk) => emit('data', Buffer.from(chunk)), end: () => emit('end') }
    }],
    ['web', () => {
      const { readable, writable } = new TransformStream()
      const writer = writable.getWriter()
      return { payload: readable, ...through(writer) }
    }],
    ['Response', () => {
      const { readable, writable } = new TransformStream()
      const writer = writable.getWriter()
      const payload = new Response(readable, { headers: { 'x-of': 'response', 'content-type': 'text/plain' } })
      return { payload, ...through(writer) }
    }]
  ]
  for (const [name, make] of sources) {
    const source = make()
    const { app, ask } = await serving(t, () => source.payload)
    source.write('one ')
    const response = await ask()
    const [first] = await once(response, 'data')
    t.equal(String(first), 'one ', name)
    source.write('two')
    source.end()
    t.equal(await text(response), 'two', name)
    await settled(app)
    const hit = await ask()
    t.match(hit.headers['cache-status'], /; hit;/, name)
    t.equal(await text(hit), 'one two', name)
  }
})

t.test('a source that fails: a 500 before its first byte, cut off after it, never stored', async (t) => {
  const early = await serving(t, () => new Readable({ read () { this.destroy(new Error('early')) } }))
  t.equal((await early.ask()).statusCode, 500)
  await settled(early.app)
  t.strictSame(early.app.cache.stats().total.refusals, { error: 1 })

  const source = new PassThrough()
  const late = await serving(t, () => source)
  source.write('one')
  const response = await late.ask()
  await once(response, 'data')
  source.destroy(new Error('late'))
  await t.rejects(text(response), { code: 'ECONNRESET' })
  await settled(late.app)
  t.equal(await late.app.cache.inspect('k'), null)
  t.equal(late.app.cache.stats().total.stores, 0)
})

t.test('a client that leaves in the middle: nothing stored, the source is destroyed, the lease is given back', async (t) => {
  const source = new PassThrough()
  const { app, ask } = await serving(t, () => source)
  source.write('one')
  const response = await ask()
  await once(response, 'data')
  response.destroy()
  while (!source.destroyed) await turn()
  await settled(app)
  t.strictSame(app.cache.stats().total.refusals, { incomplete: 1 })
  t.strictSame([await app.cache.inspect('k'), app.cache.stats().total.stores], [null, 0])
})

t.test('over the limit: delivered whole, not stored, and the lease given back at once', async (t) => {
  const chunk = 'x'.repeat(600)
  const { app, ask } = await serving(t, () => Readable.from([chunk, chunk]), { options: { maxBodyBytes: 1000 } })
  for (const times of [1, 2]) {
    t.equal((await text(await ask())).length, 1200)
    await settled(app)
    t.strictSame(app.cache.stats().total.refusals, { size: times })
  }
})

t.test('a source that goes on after its response is over is refused once', async (t) => {
  const app = await cachedApp(t, { maxBodyBytes: 10 })
  const source = new PassThrough()
  const passed = once(source, 'end')
  app.get('/', { cache: { key: 'k', statuses: { 204: 60 } } }, (_, reply) => { reply.code(204).send(source) })
  source.write('some bytes')
  t.equal((await app.inject('/')).statusCode, 204)
  await settled(app)
  t.strictSame(app.cache.stats().total.refusals, { incomplete: 1 })
  source.end('some more')
  await passed
  await turn()
  t.strictSame(app.cache.stats().total.refusals, { incomplete: 1 })
})

t.test('an event stream passes untouched', async (t) => {
  const source = new PassThrough()
  const { app, ask } = await serving(t, () => source, { type: 'text/event-stream' })
  source.write('data: 1\n\n')
  const response = await ask()
  t.equal(String((await once(response, 'data'))[0]), 'data: 1\n\n')
  t.strictSame(app.cache.stats().total.refusals, { payload: 1 })
  source.end()
  await text(response)
})

const MIB = 1024 * 1024

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

t.test('a stream of 1 GiB, the limit at 1 MiB: memory does not grow with it', async (t) => {
  const piece = Buffer.alloc(MIB / 4, 'x')
  const gibibyte = (): Readable => {
    let left = 4096
    return new Readable({ read () { this.push(left-- > 0 ? piece : null) } })
  }
  const app = await cachedApp(t, { maxBodyBytes: MIB })
  app.get('/cached', { cache: { key: 'k' } }, (_, reply) => { reply.send(gibibyte()) })
  app.get('/bare', (_, reply) => { reply.send(gibibyte()) })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const bare = await peak(port, '/bare')
  const cached = await peak(port, '/cached')
  t.comment(`highest heapUsed + external: uncached ${(bare / MIB).toFixed(1)} MiB, cached ${(cached / MIB).toFixed(1)} MiB`)
  // What was collected is not freed at once: Node 24 says of the same stream 110 MiB one time, and 185 MiB another.
  t.ok(cached - bare <= 128 * MIB)
  t.strictSame(app.cache.stats().total.refusals, { size: 1 })
})

/** The most memory in use, after collection, while the whole of it is read. */
async function peak (port: number, path: string): Promise<number> {
  const [response] = await once(httpRequest({ port, path, host: '127.0.0.1', agent: false }).end(), 'response') as [IncomingMessage]
  let [size, next, most] = [0, 0, 0]
  for await (const chunk of response) {
    size += (chunk as Buffer).length
    if (size < next) continue
    next += 64 * MIB
    collect()
    const { heapUsed, external } = process.memoryUsage()
    most = Math.max(most, heapUsed + external)
  }
  if (size !== 1024 * MIB) throw new Error(`${size} bytes came`)
  return most
}

t.test('a client that reads nothing holds the source back', async (t) => {
  let produced = 0
  const { app, ask } = await serving(t, () => new Readable({
    read () {
      produced++
      this.push(produced > 4096 ? null : Buffer.alloc(MIB / 4))
    }
  }))
  const response = await ask()
  response.pause()
  for (let before = -1; before < produced;) {
    before = produced
    await delay(100)
  }
  t.ok(produced < 400, `${produced} of 4096 pieces were made, then nothing: sockets keep some`)
  response.destroy()
  await settled(app)
  t.equal(app.cache.stats().total.stores, 0)
})

t.test('an upgrade never comes near the cache', async (t) => {
  const { app } = await serving(t, () => 'x')
  app.server.on('upgrade', (_request, socket) => {
    socket.end('HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nhello')
  })
  const { port } = app.server.address() as AddressInfo
  const request = httpRequest({ port, host: '127.0.0.1', headers: { connection: 'upgrade', upgrade: 'echo' } }).end()
  const [response, socket, head] = await once(request, 'upgrade') as [IncomingMessage, Duplex, Buffer]
  const rest = await socket.toArray() as Buffer[]
  t.equal(response.statusCode, 101)
  t.equal(String(Buffer.concat([head, ...rest])), 'hello')
  const { hits, misses, bypasses } = app.cache.stats().total
  t.strictSame({ hits, misses, bypasses }, { hits: 0, misses: 0, bypasses: {} })
})
