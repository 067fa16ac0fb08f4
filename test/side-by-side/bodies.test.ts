// Plugins that change what is sent: what the handler sent is stored, and theirs is done anew for each client.
import compress, { type FastifyCompressOptions } from '@fastify/compress'
import etag, { type FastifyEtagOptions } from '@fastify/etag'
import type { FastifyInstance, FastifyReply, LightMyRequestResponse } from 'fastify'
import { Readable } from 'node:stream'
import { brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { fetch, inBothOrders, othersFields, outcome, sideBySide, type Order } from './orders.js'

const TEXT = 'Everything that is cached is sent again. '.repeat(100)

/** Accept-Encoding, and the coding that such a client gets. */
const CLIENTS = [
  ['gzip', 'gzip'], ['br', 'br'], ['gzip, deflate, br', 'br'], ['identity', undefined], [undefined, undefined]
] as const
type Client = typeof CLIENTS[number]

const DECODERS = { gzip: gunzipSync, br: brotliDecompressSync } as const

function decoded ({ headers, rawPayload }: LightMyRequestResponse): string {
  const coding = headers['content-encoding'] as keyof typeof DECODERS | undefined
  return (coding === undefined ? rawPayload : DECODERS[coding](rawPayload)).toString()
}

function asking ([accepted]: Client): { url: string, headers: Record<string, string> } {
  return { url: '/', headers: accepted === undefined ? {} : { 'accept-encoding': accepted } }
}

interface Sending {
  options?: FastifyCompressOptions
  send: (reply: FastifyReply) => unknown
}

const SENDINGS: Record<string, Sending> = {
  'a string, compressed at once': { send: (reply) => reply.type('text/plain').send(TEXT) },
  'a string, compressed as a stream': {
    options: { syncThreshold: 0 }, send: (reply) => reply.type('text/plain').send(TEXT)
  },
  bytes: { send: (reply) => reply.type('text/plain').send(Buffer.from(TEXT)) },
  'an object': { send: () => ({ text: TEXT }) },
  'a stream': { send: (reply) => reply.type('text/plain').send(Readable.from([TEXT, TEXT])) },
  'a body below the threshold': { send: (reply) => reply.type('text/plain').send('short') }
}

t.test('@fastify/compress', async (t) => {
  for (const [name, sending] of Object.entries(SENDINGS)) {
    for (const first of CLIENTS.filter(([accepted]) => accepted !== 'gzip, deflate, br')) {
      await inBothOrders(t, `${name}: one run for all, asked for ${first[0] ?? 'nothing'} first`, async (t, order) => {
        await oneRun(t, order, { sending, clients: [first, ...CLIENTS] })
      })
    }
  }
  await inBothOrders(t, 'a body that the handler compressed itself', ownCoding)
  await inBothOrders(t, 'reply.compress() in the handler: each coding for those who take it', byHandler)
  await inBothOrders(t, 'reply.compress() in the handler: bytes are stored by coding, with its Vary', compressedBytes)
  await inBothOrders(t, 'reply.compress() in the handler: a stream of its making, too', compressedStream)
  await inBothOrders(t, 'reply.compress() in the handler: plain text that is stored first goes to all', plainFirst)
  await inBothOrders(t, '304 for each coding', notModified)
})

async function compressing (t: Test, order: Order, { options, send }: Sending): Promise<FastifyInstance> {
  const app = await sideBySide(t, order, async (app) => await app.register(compress, options ?? {}))
  app.get('/', { cache: { key: 'k' } }, async (_, reply) => await send(reply))
  return app
}

async function oneRun (
  t: Test, order: Order, { sending, clients }: { sending: Sending, clients: readonly Client[] }
): Promise<void> {
  const alone = await compressing(t, 'theirs alone', sending)
  const app = await compressing(t, order, sending)
  for (const [i, client] of clients.entries()) {
    const expected = await fetch(alone, asking(client))
    const response = await fetch(app, asking(client))
    t.equal(outcome(response), i === 0 ? 'fwd=miss' : 'hit')
    t.equal(decoded(response), decoded(expected))
    const coding = decoded(expected) === 'short' ? undefined : client[1]
    t.equal(response.headers['content-encoding'], coding, `Accept-Encoding: ${client[0]}`)
    t.strictSame(fieldsButFraming(response), fieldsButFraming(expected))
  }
}

/** Of a stream the length is not known, of its entry it is; compression at once or in pieces may differ by some bytes. */
function fieldsButFraming (response: LightMyRequestResponse): Record<string, unknown> {
  const { 'content-length': _, 'transfer-encoding': __, ...others } = othersFields(response)
  return others
}

async function ownCoding (t: Test, order: Order): Promise<void> {
  const app = await compressing(t, order, {
    send: (reply) => reply.type('text/plain').header('content-encoding', 'gzip').send(gzipSync(TEXT))
  })
  for (const client of CLIENTS) {
    for (const is of ['fwd=miss', 'hit']) {
      const response = await fetch(app, asking(client))
      t.strictSame([outcome(response), decoded(response)], [is, TEXT], 'nobody gets it who does not take the same codings')
      t.equal(response.headers['content-encoding'], 'gzip')
      t.equal(response.headers.vary, 'accept-encoding')
    }
  }
}

async function byHandler (t: Test, order: Order): Promise<void> {
  for (const clients of [CLIENTS, CLIENTS.toReversed()]) {
    const app = await compressing(t, order, {
      options: { global: false }, send: (reply) => reply.type('text/plain').compress(TEXT)
    })
    for (const client of [...clients, ...clients]) {
      const response = await fetch(app, asking(client))
      t.equal(decoded(response), TEXT)
      // To those who take no coding it sends none, and says nothing of Vary: the answer is then one for all.
      const coding = response.headers['content-encoding']
      t.ok(coding === undefined || coding === client[1], `${coding} for Accept-Encoding: ${client[0]}`)
      if (coding !== undefined) t.equal(response.headers.vary, 'accept-encoding')
    }
    t.ok(app.cache.stats().total.hits >= clients.length - 2)
  }
}

/** A route that compresses by itself, and how it answers these clients in turn: what the cache did, coding, Vary. */
async function compressesItself (
  t: Test, order: Order, { syncThreshold, accepted }: { syncThreshold: number, accepted: readonly string[] }
): Promise<{ seen: unknown[], refusals: unknown }> {
  const app = await compressing(t, order, {
    options: { global: false, syncThreshold }, send: (reply) => reply.type('text/plain').compress(TEXT)
  })
  const seen: unknown[] = []
  for (const coding of accepted) {
    const response = await fetch(app, asking([coding === 'none' ? undefined : coding] as unknown as Client))
    t.equal(decoded(response), TEXT)
    seen.push([coding, outcome(response), response.headers['content-encoding'], response.headers.vary])
  }
  return { seen, refusals: app.cache.stats().total.refusals }
}

async function compressedBytes (t: Test, order: Order): Promise<void> {
  const accepted = ['gzip', 'gzip', 'br', 'br', 'none', 'none', 'gzip']
  t.strictSame(await compressesItself(t, order, { syncThreshold: 65_536, accepted }), {
    seen: [
      ['gzip', 'fwd=miss', 'gzip', 'accept-encoding'], ['gzip', 'hit', 'gzip', 'accept-encoding'],
      ['br', 'fwd=miss', 'br', 'accept-encoding'], ['br', 'hit', 'br', 'accept-encoding'],
      // It has no Vary, so it would stand for the others.
      ['none', 'fwd=miss', undefined, undefined], ['none', 'fwd=miss', undefined, undefined],
      ['gzip', 'hit', 'gzip', 'accept-encoding']
    ],
    refusals: { vary: 2 }
  })
}

async function compressedStream (t: Test, order: Order): Promise<void> {
  t.strictSame(await compressesItself(t, order, { syncThreshold: 0, accepted: ['gzip', 'gzip'] }), {
    seen: [['gzip', 'fwd=miss', 'gzip', 'accept-encoding'], ['gzip', 'hit', 'gzip', 'accept-encoding']],
    refusals: {}
  })
}

async function plainFirst (t: Test, order: Order): Promise<void> {
  for (const syncThreshold of [0, 65_536]) {
    t.strictSame(await compressesItself(t, order, { syncThreshold, accepted: ['none', 'gzip', 'br'] }), {
      seen: [['none', 'fwd=miss', undefined, undefined], ['gzip', 'hit', undefined, undefined], ['br', 'hit', undefined, undefined]],
      refusals: {}
    })
  }
}

async function notModified (t: Test, order: Order): Promise<void> {
  const app = await compressing(t, order, SENDINGS['a string, compressed at once']!)
  const { etag } = (await fetch(app)).headers
  for (const client of CLIENTS) {
    const { url, headers } = asking(client)
    const response = await fetch(app, { url, headers: { ...headers, 'if-none-match': String(etag) } })
    t.strictSame([response.statusCode, response.body, response.headers.etag], [304, '', etag])
    t.equal(response.headers['content-encoding'], undefined)
    t.equal((await fetch(app, asking(client))).headers.etag, etag, 'weak: it is of the text, in whatever coding')
  }
}

interface Tagging {
  options?: FastifyEtagOptions
  send: (reply: FastifyReply) => unknown
}

const TAGGINGS: Record<string, Tagging> = {
  'a string': { send: () => TEXT },
  bytes: { send: () => Buffer.from(TEXT) },
  'an object': { send: () => ({ text: TEXT }) },
  'weak tags': { options: { weak: true }, send: () => TEXT },
  "the handler's own tag": { send: (reply) => reply.header('etag', '"own"').send(TEXT) },
  'tags without their 304': { options: { replyWith304: false }, send: () => TEXT }
}

t.test('@fastify/etag', async (t) => {
  for (const [name, tagging] of Object.entries(TAGGINGS)) {
    await inBothOrders(t, `${name}: the same tag on miss and hit, and 304`, (t, order) => tagged(t, order, tagging))
  }
  // Theirs first, there is nothing left to store once they have made it a 304.
  await t.test('for who always revalidates the handler runs once, ours first', revalidating)
})

async function tagging (t: Test, order: Order, { options, send }: Tagging): Promise<FastifyInstance> {
  const app = await sideBySide(t, order, async (app) => await app.register(etag, options ?? {}))
  app.get('/', { cache: { key: 'k' } }, async (_, reply) => await send(reply))
  return app
}

async function tagged (t: Test, order: Order, kind: Tagging): Promise<void> {
  const alone = await fetch(await tagging(t, 'theirs alone', kind))
  const app = await tagging(t, order, kind)
  const [miss, hit] = [await fetch(app), await fetch(app)]
  t.strictSame([outcome(miss), outcome(hit)], ['fwd=miss', 'hit'])
  t.strictSame([miss.body, hit.body], [alone.body, alone.body])
  const tag = String(miss.headers.etag)
  t.equal(hit.headers.etag, tag)
  // Whose hook is first makes the tag.
  if (order === 'theirs first' || alone.headers.etag === '"own"') t.equal(tag, alone.headers.etag)
  for (const [name, field, status] of [
    ['the tag', tag, 304], ['weakly', `W/${tag.replace(/^W\//, '')}`, 304],
    ['another', '"other"', 200], ['one of a list', `"a", ${tag}`, 304]
  ] as const) {
    const response = await fetch(app, { url: '/', headers: { 'if-none-match': field } })
    const body = status === 304 ? '' : alone.body
    t.strictSame([response.statusCode, response.body, outcome(response)], [status, body, 'hit'], name)
    t.equal(response.headers.etag, tag)
  }
  await app.cache.invalidate('k')
  const revalidated = await fetch(app, { url: '/', headers: { 'if-none-match': tag } })
  // A hook ahead of ours makes the 304 itself, and that is not stored.
  t.match([revalidated.statusCode, outcome(revalidated)], [304, /^fwd=miss(?:; detail=status)?$/], '304, of what the handler said now')
  const next = await fetch(app)
  t.strictSame([next.statusCode, next.body, next.headers.etag], [200, alone.body, tag])
}

async function revalidating (t: Test): Promise<void> {
  const app = await tagging(t, 'ours first', { send: () => TEXT })
  const tag = String((await fetch(app)).headers.etag)
  await app.cache.invalidate('k')
  for (const status of ['fwd=miss', 'hit', 'hit']) {
    const response = await fetch(app, { url: '/', headers: { 'if-none-match': tag } })
    t.strictSame([response.statusCode, outcome(response)], [304, status])
  }
  t.match(await fetch(app), { statusCode: 200, body: TEXT, headers: { etag: tag } }, 'what was stored is the whole answer')
}
