// Apps that set a serializer for what their handlers send: what is stored has been through it, and is not given to it again.
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, LightMyRequestResponse } from 'fastify'
import { createRequire } from 'node:module'
import t, { type Test } from 'tap'
import { fetch, inBothOrders, othersFields, outcome, sideBySide, type Order } from '../side-by-side/orders.js'

// Without its types, which are those of another package's reply.
const acceptsSerializer = createRequire(import.meta.url)('@fastify/accepts-serializer') as FastifyPluginAsync<Record<string, unknown>>

/** Like many: it expects what the handler gave, and makes something of anything. */
function lines (payload: unknown): string {
  return typeof payload === 'string'
    ? `text: ${payload}`
    : `name: ${String((payload as { name?: unknown }).name)}`
}

/** As msgpack has it: bytes. */
function bytes (payload: unknown): Buffer {
  return Buffer.from([0x81, 0xff, ...Buffer.from(lines(payload))])
}

type Serializer = (payload: unknown) => string
type Setup = (app: FastifyInstance) => unknown

const WITH_PAYLOAD = ['preParsing', 'preSerialization', 'onSend']

function setting (hook: string, serializer: Serializer = lines): Setup {
  const set = (reply: FastifyReply): void => { reply.type('text/yaml').serializer(serializer) }
  if (!WITH_PAYLOAD.includes(hook)) return (app) => app.addHook(hook as 'onRequest', async (_request, reply) => { set(reply) })
  return (app) => app.addHook(hook as 'onSend', async (_request, reply, payload) => {
    set(reply)
    return payload
  })
}

/** Who sets the serializer. */
const SETTERS: Record<string, Setup> = {
  'nobody, but for the whole instance': (app) => app.setReplySerializer((payload) => lines(payload)),
  'nobody, but compilers': (app) => app.setSerializerCompiler(() => (payload) => lines(payload)),
  'an onRequest hook': setting('onRequest'),
  'a preParsing hook': setting('preParsing'),
  'a preValidation hook': setting('preValidation'),
  'a preHandler hook': setting('preHandler'),
  'a preSerialization hook': setting('preSerialization'),
  'an onSend hook': setting('onSend'),
  'a hook, for bytes': setting('onRequest', bytes as unknown as Serializer),
  'a hook, for all that it is given twice': setting('onRequest', (payload) => `<${lines(payload)}>`),
  '@fastify/accepts-serializer': async (app) => await app.register(acceptsSerializer, {
    serializers: [{ regex: /^text\/yaml$/, serializer: lines }], default: 'text/yaml'
  })
}

/** What makes a hit be sent as text, and whether it is through the reply in any case. */
const AROUND: Record<string, Setup> = {
  alone: () => {},
  'with an onSend hook': (app) => app.addHook('onSend', async (_request, _reply, payload) => payload),
  'with an onResponse hook': (app) => app.addHook('onResponse', async () => {})
}

/** What the handler sends. */
const ANSWERS: Record<string, (reply: FastifyReply) => unknown> = {
  'an object': () => ({ name: 'x' }),
  'an object with a header that is not ASCII': (reply) => reply.header('x-name', 'caf\u00e9').send({ name: 'x' }),
  'a string': () => 'x',
  'a string of JSON': (reply) => reply.type('application/json').send('{"name":"x"}'),
  'a string with a header that is not ASCII': (reply) => reply.type('text/plain').header('x-name', 'caf\u00e9').send('x'),
  bytes: (reply) => reply.send(Buffer.from([1, 200, 3])),
  nothing: (reply) => reply.send()
}

const SCHEMA = { response: { 200: { type: 'object', properties: { name: { type: 'string' } } } } }

function pathOf (name: string): string {
  return `/${name.replaceAll(' ', '-')}`
}

async function open (t: Test, order: Order, setups: Setup[]): Promise<FastifyInstance> {
  const app = await sideBySide(t, order, async (app) => { for (const setup of setups) await setup(app) })
  for (const [name, answer] of Object.entries(ANSWERS)) {
    const schema = name.startsWith('an object') ? SCHEMA : {}
    app.get(pathOf(name), { cache: { key: name, shared: true }, schema }, (_request, reply) => {
      const sent = answer(reply)
      if (sent !== reply) reply.send(sent)
    })
  }
  return app
}

function seen (response: LightMyRequestResponse): unknown {
  return { status: response.statusCode, fields: othersFields(response), body: response.rawPayload.toString('latin1') }
}

t.test('a stored body is not serialized again', async (t) => {
  for (const [setter, set] of Object.entries(SETTERS)) {
    for (const [around, setup] of Object.entries(AROUND)) {
      await inBothOrders(t, `set by ${setter}, ${around}`, async (t, order) => {
        const alone = await open(t, 'theirs alone', [set, setup])
        const app = await open(t, order, [set, setup])
        for (const name of Object.keys(ANSWERS)) {
          const url = pathOf(name)
          const expected = seen(await fetch(alone, url))
          for (const did of ['fwd=miss', 'hit', 'hit']) {
            const response = await fetch(app, url)
            t.strictSame([outcome(response), seen(response)], [did, expected], `${name}: ${did}`)
          }
        }
      })
    }
  }
})

t.test('what is sent instead of a hit goes through the serializer that was set', async (t) => {
  for (const order of ['theirs first', 'ours first'] as const) {
    const failing: Setup = (app) => app.addHook('onSend', async (request, reply, payload) => {
      if ('x-fail' in request.headers && reply.statusCode === 200) throw new Error('refused by a hook')
      return payload
    })
    const setups = [SETTERS['an onRequest hook']!, failing]
    const [alone, app] = [await open(t, 'theirs alone', setups), await open(t, order, setups)]
    const asked = { url: pathOf('an object'), headers: { 'x-fail': '1' } }
    const { body } = await fetch(alone, asked)
    await fetch(app, asked.url)
    t.equal(outcome(await fetch(app, asked.url)), 'hit')
    t.strictSame([(await fetch(app, asked)).body, (await fetch(app, asked)).statusCode], [body, 500], order)
  }
})
