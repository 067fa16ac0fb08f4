// Streams, and the onSend hooks of others that read them: they are given the very stream that the handler sent, in whatever
// way they read it, and what is stored is what it held.
import type { FastifyInstance, onSendHookHandler } from 'fastify'
import { createHash } from 'node:crypto'
import { Duplex, PassThrough, Readable, Stream, Transform } from 'node:stream'
import { ReadableStream, TransformStream } from 'node:stream/web'
import { gunzipSync, gzipSync } from 'node:zlib'
import t from 'tap'
import routeCache from '../../plugin/index.js'
import { cachedApp, loggingApp, settled } from '../helpers/app.js'

const BYTES = Buffer.from('ein Straßenfest für alle, und mehr')
function chunks (): Buffer[] {
  return Array.from({ length: Math.ceil(BYTES.length / 5) }, (_, i) => BYTES.subarray(i * 5, i * 5 + 5))
}

/** Its `pipe` sends something else than it emits, as with clients that copy the upstream's head. */
class OwnPipe extends Readable {
  constructor () {
    super({ read: () => {} })
    this.push('low')
    this.push(null)
  }

  override pipe<T extends NodeJS.WritableStream> (destination: T): T {
    const upper = new Transform({ transform: (chunk, _, done) => { done(null, String(chunk).toUpperCase()) } })
    return super.pipe(upper).pipe(destination)
  }
}

class Loud extends Readable {
  constructor () {
    super({ read: () => {} })
    this.push('low')
    this.push(null)
  }

  override emit (name: string, ...args: unknown[]): boolean {
    return name === 'data' ? super.emit(name, Buffer.from(String(args[0]).toUpperCase())) : super.emit(name, ...args)
  }
}

function legacy (): Readable {
  const stream = new Stream() as Readable
  setImmediate(() => {
    for (const chunk of chunks()) stream.emit('data', chunk)
    stream.emit('end')
    stream.emit('close')
  })
  return stream
}

const web = (type?: 'bytes'): ReadableStream => new ReadableStream({
  type: type as undefined,
  start (controller) {
    for (const chunk of chunks()) controller.enqueue(new Uint8Array(chunk))
    controller.close()
  }
})

const SOURCES: Record<string, () => unknown> = {
  'a Readable': () => Readable.from(chunks()),
  'a PassThrough': () => new PassThrough().end(BYTES),
  'a Duplex': () => Duplex.from(chunks()),
  'a stream with an encoding': () => Readable.from(chunks()).setEncoding('utf8'),
  'bytes that are no text': () => Readable.from([Buffer.from([0xff, 0xfe, 0x80]), Buffer.from([1, 0xc3])]),
  objects: () => Readable.from([{ a: 1 }, { b: 2 }]),
  'a class with a pipe of its own': () => new OwnPipe(),
  'a class with an emit of its own': () => new Loud(),
  'a web stream': () => web(),
  'a web stream of bytes': () => web('bytes'),
  'a frozen web stream': () => Object.freeze(web())
}

const isNode = (payload: unknown): payload is Readable => payload instanceof Stream
const isWeb = (payload: unknown): payload is ReadableStream => payload instanceof ReadableStream

function bytesOf (chunk: unknown): Buffer {
  return Buffer.from(typeof chunk === 'string' || chunk instanceof Uint8Array ? chunk : JSON.stringify(chunk))
}

async function gathered (payload: AsyncIterable<unknown>): Promise<Buffer> {
  const found: Buffer[] = []
  for await (const chunk of payload) found.push(bytesOf(chunk))
  return Buffer.concat(found)
}

/** What a hook does that is written for streams; others pass. */
const WAYS: Record<string, (payload: unknown) => unknown> = {
  'passes it on': (payload) => payload,
  'iterates over it': async (payload) => isNode(payload) || isWeb(payload) ? await gathered(payload) : payload,
  'reads it as hexadecimal text': (payload) => isNode(payload) ? payload.setEncoding('hex') : payload,
  'reads it as UTF-8': async (payload) => isNode(payload) ? await gathered(payload.setEncoding('utf8')) : payload,
  'has a look and gives it back': async (payload) => {
    if (!isNode(payload)) return payload
    await new Promise((resolve) => payload.once('readable', resolve))
    const chunk: unknown = payload.read()
    if (chunk !== null) payload.unshift(chunk)
    return payload
  },
  'makes text of objects': (payload) => isNode(payload)
    ? payload.pipe(new Transform({ writableObjectMode: true, transform (chunk, _, done) { done(null, bytesOf(chunk)) } }))
    : payload,
  'takes a part': async (payload) => {
    if (isNode(payload)) return bytesOf((await payload.iterator().next()).value)
    if (!isWeb(payload)) return payload
    const reader = payload.getReader()
    const { value } = await reader.read()
    await reader.cancel()
    return bytesOf(value)
  },
  'reads on behind another reader': async (payload) => {
    if (!isWeb(payload)) return payload
    const reader = payload.getReader()
    const { value } = await reader.read()
    reader.releaseLock()
    return Buffer.concat([bytesOf(value), await gathered(payload)])
  },
  'tees it': (payload) => isWeb(payload) ? payload.tee()[0] : payload,
  'pipes it through': (payload) => isWeb(payload) ? payload.pipeThrough(new TransformStream()) : payload,
  'pipes it to': async (payload) => {
    if (!isWeb(payload)) return payload
    const { readable, writable } = new TransformStream(undefined, { highWaterMark: 99 }, { highWaterMark: 99 })
    await payload.pipeTo(writable)
    return readable
  },
  'makes a Node stream of it': (payload) => isWeb(payload) ? Readable.fromWeb(payload) : payload,
  'makes a web stream of it': (payload) => isNode(payload) && !(payload instanceof Duplex) ? Readable.toWeb(payload) : payload
}

for (const [name, make] of Object.entries(SOURCES)) {
  t.test(name, async (t) => {
    // Chunks of a type that Node can't send: the twin's process has an uncaught error.
    const ways = Object.keys(WAYS).filter((way) => name !== 'objects' || /iterates|makes text/.test(way))
    const [plain, cached] = [await answersOf(loggingApp(t).app, make, ways), await answersOf(await cachedApp(t), make, ways)]
    for (const [i, way] of ways.entries()) {
      t.strictSame(cached[i]!.bodies, plain[i]!.bodies, `${way}: bytes of a miss and of those that follow`)
      t.equal(cached[i]!.isSame, true, `${way}: the handler's own stream`)
    }
  })
}

interface Answers { bodies: string[], isSame: boolean }

/** Of a route for each of the ways, whose hook reads so. */
async function answersOf (app: FastifyInstance, make: () => unknown, ways: readonly string[]): Promise<Answers[]> {
  const answers = ways.map((): Answers => ({ bodies: [], isSame: false }))
  for (const [i, way] of ways.entries()) {
    let sent: unknown
    const onSend: onSendHookHandler = (_request, _reply, payload, done) => {
      answers[i]!.isSame ||= payload === sent
      Promise.resolve(WAYS[way]!(payload)).then((changed) => { done(null, changed) }, done)
    }
    app.get(`/${i}`, { onSend, cache: { key: way } }, (_, reply) => { reply.send(sent = make()) })
  }
  for (const [i, { bodies }] of answers.entries()) {
    for (let n = 0; n < 3; n++) {
      bodies.push((await app.inject(`/${i}`)).rawPayload.toString('latin1'))
      if (app.hasDecorator('cache')) await settled(app)
    }
  }
  return answers
}

t.test('what is stored, and what is not', async (t) => {
  const storedOf = async (make: () => unknown, ways: readonly string[] = ['passes it on']): Promise<string[]> => {
    const app = await cachedApp(t)
    await answersOf(app, make, ways)
    const found = await Promise.all(ways.map(async (way) => await app.cache.inspect(way)))
    return ways.filter((_, i) => found[i] !== null)
  }
  const { 'a Readable': node, 'a web stream': ofWeb, objects, 'a class with a pipe of its own': own } = SOURCES
  // Not: where it is not read to its end, or its end is that of a cancelled one; and where bytes came twice.
  const refused = ['takes a part', 'has a look and gives it back']
  t.strictSame(await storedOf(node!, Object.keys(WAYS)), Object.keys(WAYS).filter((way) => !refused.includes(way)))
  t.strictSame(await storedOf(ofWeb!, Object.keys(WAYS)), Object.keys(WAYS).filter((way) => way !== refused[0]))
  t.strictSame(await storedOf(legacy), ['passes it on'], 'a stream of Node\'s first years')
  t.strictSame(await storedOf(objects!, ['iterates over it']), [], 'no bytes')
  t.strictSame(await storedOf(own!), [], 'it may send something else than it emits')
})

/** Hooks that stand ahead of ours; what they make of what the handler sent is what is stored. */
const AHEAD: Record<string, (payload: string, reply: { header: (name: string, value: string) => unknown }) => unknown> = {
  'a text': (payload) => `${payload}!`,
  bytes: (payload) => Buffer.from(`${payload}!`),
  'a stream': (payload) => Readable.from([payload, '!']),
  'a web stream': (payload) => new Response(`${payload}!`).body,
  'a coding': (payload, reply) => {
    reply.header('content-encoding', 'gzip')
    return gzipSync(payload)
  },
  'a digest': (payload, reply) => {
    reply.header('digest', createHash('md5').update(`${payload}!`).digest('base64'))
    return `${payload}!`
  },
  'a type': (payload, reply) => {
    reply.header('content-type', payload.startsWith('<') ? 'text/x-twice' : 'text/x-once')
    return `<${payload}>`
  }
}

for (const [name, change] of Object.entries(AHEAD)) {
  t.test(`a hook ahead of ours makes ${name} of the answer, once`, async (t) => {
    for (const make of [() => 'a text', () => Buffer.from('bytes'), () => Readable.from(['a ', 'stream']), web]) {
      const { app } = loggingApp(t)
      let n = 0
      app.addHook('onSend', async (_request, reply, payload) => {
        reply.header('x-nth', String(++n))
        const text = typeof payload === 'string' || Buffer.isBuffer(payload)
          ? String(payload)
          : String(await gathered(payload as AsyncIterable<unknown>))
        return change(text, reply)
      })
      await app.register(routeCache, { deadline: 30 })
      app.get('/', { cache: true }, async () => make())
      const miss = await app.inject('/')
      await settled(app)
      for (const nth of ['2', '3']) {
        const hit = await app.inject('/')
        t.match(hit.headers['cache-status'], 'hit')
        t.strictSame(hit.rawPayload, miss.rawPayload)
        t.equal(hit.headers['x-nth'], nth, 'what it says of this request')
        const fields = ['content-type', 'content-encoding', 'digest']
        t.strictSame(fields.map((field) => hit.headers[field]), fields.map((field) => miss.headers[field]))
        if (name === 'a coding') t.equal(gunzipSync(hit.rawPayload).length < 100, true)
      }
    }
  })
}

t.test('a hook ahead of ours that answers by itself, fails, or only looks', async (t) => {
  const { app } = loggingApp(t)
  let tapped = ''
  app.addHook('onSend', async (request, reply, payload) => {
    if (request.headers['x-do'] === 'refuse') reply.code(403)
    if (request.headers['x-do'] === 'refuse') return 'refused'
    if (request.headers['x-do'] === 'fail' && reply.statusCode === 200) throw new Error('it fails')
    if (isNode(payload)) payload.on('data', (chunk) => { tapped += String(chunk) })
    return payload
  })
  await app.register(routeCache, { deadline: 30 })
  app.get('/', { cache: true }, async () => Readable.from(['a ', 'stream']))
  const asked = async (what?: string): Promise<[number, string]> => {
    const { statusCode, body } = await app.inject({ url: '/', headers: what === undefined ? {} : { 'x-do': what } })
    await settled(app)
    return [statusCode, body]
  }
  t.strictSame(await asked(), [200, 'a stream'])
  t.strictSame(await asked('refuse'), [403, 'refused'])
  const [status, body] = await asked('fail')
  t.strictSame([status, JSON.parse(body).message], [500, 'it fails'])
  t.strictSame(await asked(), [200, 'a stream'])
  t.equal(tapped, 'a streama stream')
})

t.test('the length that a handler says is seen by hooks, on hits too', async (t) => {
  const app = await cachedApp(t)
  const seen: unknown[] = []
  app.addHook('onSend', async (_request, reply, payload) => {
    seen.push(reply.getHeader('content-length'))
    return payload
  })
  app.get('/said/:kind', { cache: true }, async (request, reply) => {
    const { kind } = request.params as { kind: string }
    reply.header('content-length', '3')
    return kind === 'text' ? 'abc' : kind === 'bytes' ? Buffer.from('abc') : Readable.from(['abc'])
  })
  app.get('/unsaid', { cache: true }, async () => 'abc')
  for (const url of ['/said/text', '/said/bytes', '/said/stream', '/unsaid']) {
    for (let i = 0; i < 2; i++) {
      t.equal((await app.inject(url)).body, 'abc')
      await settled(app)
    }
  }
  t.strictSame(seen.map(String), [...Array.from({ length: 6 }, () => '3'), 'undefined', 'undefined'])
})
