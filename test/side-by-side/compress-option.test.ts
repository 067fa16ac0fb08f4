// `cache: { compress }` beside plugins that compress, or make tags: they leave what is compressed already alone.
import compress from '@fastify/compress'
import etag from '@fastify/etag'
import type { LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib'
import { fetch, inBothOrders, membersOf, outcome, sideBySide, type Order, type Theirs } from './orders.js'

const TEXT = 'Everything that is cached is sent again. '.repeat(100)
const DECODERS = { br: brotliDecompressSync, gzip: gunzipSync, deflate: inflateSync }

function decoded ({ headers, rawPayload }: LightMyRequestResponse): string {
  const coding = headers['content-encoding'] as keyof typeof DECODERS | undefined
  return (coding === undefined ? rawPayload : DECODERS[coding](rawPayload)).toString()
}

type Ask = (accepted: string | undefined, more?: Record<string, string>) => Promise<LightMyRequestResponse>

async function serving (t: Test, order: Order, theirs: Theirs): Promise<{ ask: Ask, runs: () => number }> {
  const app = await sideBySide(t, order, theirs)
  let runs = 0
  app.get('/', { cache: { key: 'k', compress: true } }, async (_, reply) => {
    runs++
    return await reply.type('text/plain').header('etag', '"own"').send(TEXT)
  })
  const ask: Ask = async (accepted, more) => {
    return await fetch(app, { url: '/', headers: { ...accepted !== undefined && { 'accept-encoding': accepted }, ...more } })
  }
  return { ask, runs: () => runs }
}

/** Accept-Encoding, the coding of a miss, of a hit, and the hit's tag: what we don't store they make. */
const CLIENTS = [
  ['br', 'br', 'br', '"own-br"'], ['gzip', 'gzip', 'gzip', '"own-gzip"'], ['gzip, deflate, br', 'br', 'br', '"own-br"'],
  ['deflate', 'deflate', 'deflate', '"own"'], ['identity', undefined, undefined, '"own"'], [undefined, undefined, undefined, '"own"']
] as const

for (const syncThreshold of [0, 65_536]) {
  for (const [first, coding] of CLIENTS) {
    const name = `@fastify/compress (syncThreshold ${syncThreshold}), asked for ${first ?? 'nothing'} first`
    await inBothOrders(t, name, async (t, order) => {
      const { ask, runs } = await serving(t, order, async (app) => await app.register(compress, { syncThreshold }))
      const miss = await ask(first)
      t.strictSame([outcome(miss), miss.headers['content-encoding'], decoded(miss)], ['fwd=miss', coding, TEXT])
      t.strictSame(membersOf(miss.headers.vary), ['accept-encoding'])
      for (const [accepted, , stored, tag] of CLIENTS) {
        const hit = await ask(accepted)
        t.strictSame([outcome(hit), hit.headers['content-encoding'], decoded(hit), hit.headers.etag], ['hit', stored, TEXT, tag])
        t.strictSame(membersOf(hit.headers.vary), ['accept-encoding'])
        const length = hit.headers['content-length']
        t.ok(length === undefined || Number(length) === hit.rawPayload.length)
        const known = await ask(accepted, { 'if-none-match': tag })
        t.strictSame([known.statusCode, known.body, known.headers.etag], [304, '', tag])
        t.strictSame([membersOf(known.headers.vary), known.headers['content-encoding']], [['accept-encoding'], undefined])
      }
      t.equal(runs(), 1)
    })
  }
}

await inBothOrders(t, '@fastify/etag', async (t, order) => {
  const { ask, runs } = await serving(t, order, async (app) => await app.register(etag))
  for (const tag of ['"own"', '"own-br"', '"own-br"']) {
    const response = await ask('br')
    t.strictSame([decoded(response), response.headers.etag], [TEXT, tag])
  }
  t.equal((await ask('br', { 'if-none-match': '"own-br"' })).statusCode, 304)
  t.equal((await ask('br', { 'if-none-match': '"own"' })).statusCode, 200)
  t.equal(runs(), 1)
})

const CHANGES_REQUEST = 'a hook that changes the request\'s Accept-Encoding on the way out changes no hit'
await inBothOrders(t, CHANGES_REQUEST, async (t, order) => {
  const { ask } = await serving(t, order, async (app) => {
    app.addHook('onSend', async ({ headers }) => {
      headers['accept-encoding'] = headers['accept-encoding'] === undefined ? 'gzip' : 'identity'
    })
  })
  for (const accepted of [undefined, 'gzip', undefined, 'gzip']) {
    const response = await ask(accepted)
    t.equal(response.headers['content-encoding'], outcome(response) === 'hit' ? accepted : undefined)
    t.equal(decoded(response), TEXT)
  }
})
