// Other plugins' onSend hooks see on a hit the kind of payload that they see on a miss: one that pipes has a stream.
import type { FastifyInstance } from 'fastify'
import { PassThrough, Readable, Transform } from 'node:stream'
import { ReadableStream, TransformStream, type TransformStreamDefaultController } from 'node:stream/web'
import t from 'tap'
import { onEachStore, settled } from '../helpers/app.js'

const TEXT = 'a text of some bytes'

async function * parts (): AsyncGenerator<Buffer> {
  yield Buffer.from(TEXT.slice(0, 5))
  yield Buffer.from(TEXT.slice(5))
}

const web = (): ReadableStream => new ReadableStream({
  start (controller) {
    controller.enqueue(new TextEncoder().encode(TEXT))
    controller.close()
  }
})

const PAYLOADS: Record<string, () => unknown> = {
  'a Node stream': () => Readable.from(parts()),
  'a PassThrough': () => new PassThrough().end(TEXT),
  'an empty stream': () => new PassThrough().end(),
  'a web stream': web,
  'an empty web stream': () => new ReadableStream({ start: (controller) => { controller.close() } }),
  'a Response': () => new Response(TEXT),
  'an empty Response': () => new Response(null),
  'a Buffer': () => Buffer.from(TEXT),
  'a string': () => TEXT,
  nothing: () => ''
}

function kindOf (payload: unknown): string {
  if (typeof payload !== 'object' || payload === null) return typeof payload
  return 'pipe' in payload ? 'stream' : 'getReader' in payload ? 'web' : payload.constructor.name
}

const upper = (chunk: unknown): string => Buffer.from(chunk as Uint8Array).toString().toUpperCase()

function piped (payload: unknown): unknown {
  const kind = kindOf(payload)
  if (kind === 'Response') return new Response((piped((payload as Response).body) ?? null) as string | null, payload as Response)
  if (kind === 'stream') {
    return (payload as Readable).pipe(new Transform({ transform: (chunk, _, done) => { done(null, upper(chunk)) } }))
  }
  if (payload === null) return null
  if (kind !== 'web') return String(payload).toUpperCase()
  const transform = (chunk: unknown, controller: TransformStreamDefaultController): void => {
    controller.enqueue(Buffer.from(upper(chunk)))
  }
  return (payload as ReadableStream).pipeThrough(new TransformStream({ transform }))
}

/** What hooks do with the very kind that they are written for. */
const HOOKS: Record<string, (payload: unknown) => unknown> = { looks: (payload) => payload, pipes: piped }

for (const [name, make] of Object.entries(PAYLOADS)) {
  t.test(name, async (t) => {
    await onEachStore(t, async (t, open) => {
      for (const [hook, change] of Object.entries(HOOKS)) {
        const app: FastifyInstance = await open({ prefix: `p-${hook}` })
        const seen: string[] = []
        app.addHook('onSend', async (_request, reply, payload) => {
          seen.push(`${reply.statusCode} ${kindOf(payload)}`)
          return change(payload)
        })
        app.get('/', { cache: { key: 'k' } }, (_, reply) => { reply.send(make()) })
        const miss = await app.inject('/')
        await settled(app)
        for (let i = 0; i < 2; i++) {
          const hit = await app.inject('/')
          t.match(hit.headers['cache-status'], 'hit', hook)
          t.strictSame([hit.statusCode, hit.body], [miss.statusCode, miss.body], hook)
        }
        t.strictSame(new Set(seen).size, 1, String(seen))
      }
    })
  })
}
