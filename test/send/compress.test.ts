// cache: { compress }: one run, one entry, and each client has the body in the coding that it likes best.
import { randomBytes } from 'node:crypto'
import type { LightMyRequestResponse } from 'fastify'
import { request } from 'node:http'
import { Readable } from 'node:stream'
import { brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib'
import t from 'tap'
import type { CacheOptions, RouteCacheOptions } from '../../plugin/index.js'
import { beyondLookup, cachedApp, onEachStore, settled, type CachedApp } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'
import { breakGzip, holdGzip } from '../helpers/zlib.js'
import { START, outcome, type Send } from '../http/rule.js'

const TEXT = 'Everything that is cached is sent again. '.repeat(100)

type Open = (options?: RouteCacheOptions) => Promise<CachedApp>
type Fields = Record<string, string>

/** An app of its own on the store, with one route; what its handler sends, and how often it ran. */
async function serving (
  open: Open, send: Send = (reply) => reply.type('text/plain').send(TEXT), cache: CacheOptions = {}, options: RouteCacheOptions = {}
): Promise<CachedApp & { runs: () => number }> {
  const app = await open({ prefix: `compress${++apps}`, ...options })
  let runs = 0
  app.get('/', { cache: { key: 'k', compress: true, ...cache } }, async (request, reply) => await send(reply, request, ++runs))
  return Object.assign(app, { runs: () => runs })
}

let apps = 0

async function ask (app: CachedApp, accepted?: string, more: { headers?: Fields, method?: 'HEAD' } = {}): Promise<LightMyRequestResponse> {
  const headers = { ...accepted !== undefined && { 'accept-encoding': accepted }, ...more.headers }
  const response = await app.inject({ method: more.method ?? 'GET', url: '/', headers })
  await settled(app)
  return response
}

function decoded ({ headers, rawPayload }: Pick<LightMyRequestResponse, 'headers' | 'rawPayload'>): string {
  const coding = headers['content-encoding']
  if (coding === 'br') return brotliDecompressSync(rawPayload).toString()
  return (coding === 'gzip' ? gunzipSync(rawPayload) : rawPayload).toString()
}

/** Accept-Encoding, and the coding that such a client gets; that it is parsed right is test/http/encoding.test.ts. */
const CLIENTS: Array<[accepted: string | undefined, coding: 'br' | 'gzip' | undefined]> = [
  ['br', 'br'], ['gzip', 'gzip'], ['gzip, deflate, br', 'br'], ['gzip, br;q=0.5', 'gzip'], ['*', 'br'], ['deflate', undefined],
  ['identity', undefined], ['gzip;q=0', undefined], ['identity;q=0', undefined], ['', undefined], [undefined, undefined]
]

t.test('each client has its coding, with the fields that go with it', async (t) => await onEachStore(t, async (t, open) => {
  const app = await serving(open, (reply) => reply.headers({ 'x-a': 'a', 'accept-ranges': 'bytes' }).type('text/plain').send(TEXT))
  const miss = await ask(app, 'br')
  t.match(miss, { statusCode: 200, body: TEXT, headers: { vary: 'accept-encoding', etag: /^W\/"[\w-]{27}"$/ } }, 'the first as it is')
  t.equal(miss.headers['content-encoding'], undefined)
  const sizes = new Map<unknown, number>()
  for (const [accepted, coding] of CLIENTS) {
    const hit = await ask(app, accepted)
    t.equal(outcome(hit.headers['cache-status']), 'hit')
    t.equal(decoded(hit), TEXT)
    sizes.set(coding, hit.rawPayload.length)
    t.strictSame({
      coding: hit.headers['content-encoding'],
      length: hit.headers['content-length'],
      vary: hit.headers.vary,
      type: hit.headers['content-type'],
      a: hit.headers['x-a'],
      ranges: hit.headers['accept-ranges'],
      etag: hit.headers.etag
    }, {
      coding,
      length: String(hit.rawPayload.length),
      vary: 'accept-encoding',
      type: miss.headers['content-type'],
      a: 'a',
      ranges: coding === undefined ? 'bytes' : undefined,
      etag: coding === undefined ? miss.headers.etag : String(miss.headers.etag).replace(/"$/, `-${coding}"`)
    }, `Accept-Encoding: ${accepted}`)
    const head = await ask(app, accepted, { method: 'HEAD' })
    t.strictSame([head.rawPayload.length, outcome(head.headers['cache-status'])], [0, 'hit'])
    const { date: _, ...same } = hit.headers
    t.match(head.headers, same, 'HEAD as GET')
    t.equal(head.headers['content-encoding'], coding)
  }
  t.ok(sizes.get('br')! < sizes.get('gzip')! && sizes.get('gzip')! < sizes.get(undefined)! / 10)
  t.equal(app.runs(), 1)
}))

const TAGS: Record<string, { given?: string, as: (etag: string, coding: string) => string }> = {
  "a handler's strong tag": { given: '"abc"', as: (_, coding) => `"abc-${coding}"` },
  "a handler's weak tag": { given: 'W/"abc"', as: (_, coding) => `W/"abc-${coding}"` },
  'a generated tag': { as: (etag, coding) => etag.replace(/"$/, `-${coding}"`) }
}

for (const [name, { given, as }] of Object.entries(TAGS)) {
  t.test(`304 for the tag of what would be sent: ${name}`, async (t) => await onEachStore(t, async (t, open) => {
    const app = await serving(open, (reply) => {
      if (given !== undefined) reply.header('etag', given)
      return reply.headers({ 'last-modified': new Date(START).toUTCString() }).send({ text: TEXT })
    })
    const etag = String((await ask(app)).headers.etag)
    if (given !== undefined) t.equal(etag, given)
    const tags: Record<string, string> = { br: as(etag, 'br'), gzip: as(etag, 'gzip'), identity: etag }
    for (const [accepted, own] of Object.entries(tags)) {
      t.equal((await ask(app, accepted)).headers.etag, own)
      const weak = own.startsWith('W/') ? own.slice(2) : `W/${own}`
      for (const field of [own, weak, `"x", ${own}`, '*']) {
        for (const method of [undefined, 'HEAD'] as const) {
          const known = await ask(app, accepted, { headers: { 'if-none-match': field }, ...method !== undefined && { method } })
          t.strictSame([known.statusCode, known.body, known.headers.etag, known.headers.vary], [304, '', own, 'accept-encoding'])
          t.equal(known.headers['content-encoding'], undefined)
        }
      }
      for (const [other, tag] of Object.entries(tags)) {
        if (other === accepted) continue
        const { statusCode, headers } = await ask(app, accepted, { headers: { 'if-none-match': tag } })
        t.strictSame([statusCode, headers.etag], [200, own], `the tag of ${other} is not that of ${accepted}`)
      }
      const { statusCode, headers } = await ask(app, accepted, { headers: { 'if-modified-since': new Date(START).toUTCString() } })
      t.strictSame([statusCode, headers.etag], [304, own])
    }
    t.equal(app.runs(), 1)
  }))
}

const NOISE = randomBytes(3000)

/** What the handler sends, the policy, and whether it says that it varies. */
const AS_THEY_ARE: Record<string, { send: Send, cache?: CacheOptions, status?: number, varies?: boolean }> = {
  'a body in a coding already': {
    send: (reply) => reply.type('text/plain').header('content-encoding', 'gzip').send(gzipSync(TEXT)), varies: true
  },
  'no-transform': { send: (reply) => reply.type('text/plain').header('cache-control', 'max-age=5, no-transform').send(TEXT) },
  "no-transform in the route's cacheControl": {
    send: (reply) => reply.type('text/plain').send(TEXT), cache: { cacheControl: 'public, no-transform' }
  },
  'an image': { send: (reply) => reply.type('image/png').send(Buffer.from(TEXT)) },
  'no type': { send: (reply) => reply.send(Buffer.from(TEXT)) },
  'a digest of the bytes': { send: (reply) => reply.header('repr-digest', 'sha-256=:x:').type('text/plain').send(TEXT) },
  'a head that is not ASCII, before a text': { send: (reply) => reply.header('x-a', 'é').type('text/plain').send(TEXT) },
  'what is shorter than the threshold': { send: (reply) => reply.type('text/plain').send(TEXT.slice(0, 1023)) },
  'what is shorter than a threshold of its own': {
    send: (reply) => reply.type('text/plain').send(TEXT), cache: { compress: { threshold: TEXT.length + 1 } }
  },
  'a stream that turns out to be shorter': {
    send: (reply) => reply.type('text/plain').send(Readable.from([TEXT.slice(0, 1023)])), varies: true
  },
  'a stream that says that it is shorter': {
    send: (reply) => reply.type('text/plain').header('content-length', '1000').send(Readable.from([TEXT.slice(0, 1000)]))
  },
  'what does not get smaller': { send: (reply) => reply.type('text/plain').send(NOISE), varies: true },
  'a status without a body': {
    send: (reply) => reply.code(204).type('text/plain').send(), cache: { statuses: { 204: 60 }, compress: { threshold: 0 } }, status: 204
  },
  'where it is off': { send: (reply) => reply.type('text/plain').send(TEXT), cache: { compress: false } }
}

t.test('stored as they are', async (t) => await onEachStore(t, async (t, open) => {
  for (const [name, { send, cache, status = 200, varies = false }] of Object.entries(AS_THEY_ARE)) {
    const app = await serving(open, send, cache)
    const [miss, hit] = [await ask(app, 'gzip'), await ask(app, 'gzip')]
    t.strictSame([miss.statusCode, outcome(hit.headers['cache-status'])], [status, 'hit'], name)
    t.ok(hit.rawPayload.equals(miss.rawPayload), name)
    for (const field of ['content-encoding', 'vary']) t.equal(hit.headers[field], miss.headers[field], `${name}: ${field}`)
    t.equal(hit.headers.vary, varies ? 'accept-encoding' : undefined, name)
    t.ok(app.cache.stats().total.bytes < hit.rawPayload.length + 500, 'nothing else is stored')
  }
}))

const COMPRESSED: Record<string, { send: Send, cache?: CacheOptions, text?: string, status?: number }> = {
  'an object': { send: () => ({ text: TEXT }), text: JSON.stringify({ text: TEXT }) },
  bytes: { send: (reply) => reply.type('text/plain').send(Buffer.from(TEXT)) },
  'a stream': { send: (reply) => reply.type('text/plain').send(Readable.from([TEXT.slice(0, 50), TEXT.slice(50)])) },
  'a Response': { send: (reply) => reply.send(new Response(TEXT, { headers: { 'content-type': 'text/plain' } })) },
  'just the threshold': { send: (reply) => reply.type('text/plain').send(TEXT.slice(0, 1024)), text: TEXT.slice(0, 1024) },
  'a threshold of its own': {
    send: (reply) => reply.type('text/plain').send(TEXT.slice(0, 200)), cache: { compress: { threshold: 200 } }, text: TEXT.slice(0, 200)
  },
  'any size': { send: (reply) => reply.type('text/plain').send('a'.repeat(60)), cache: { compress: { threshold: 0 } }, text: 'a'.repeat(60) },
  'a threshold that is not said': { send: (reply) => reply.type('text/plain').send(TEXT), cache: { compress: {} } },
  'a status that the route stores': {
    send: (reply) => reply.code(404).type('text/plain').send(TEXT), cache: { statuses: { 404: 60 } }, status: 404
  },
  'bytes, with a head that is not ASCII': { send: (reply) => reply.header('x-a', 'é').type('text/plain').send(Buffer.from(TEXT)) }
}

t.test('whatever is sent', async (t) => await onEachStore(t, async (t, open) => {
  for (const [name, { send, cache, text = TEXT, status = 200 }] of Object.entries(COMPRESSED)) {
    const app = await serving(open, send, cache)
    const miss = await ask(app, 'br')
    t.strictSame([miss.statusCode, miss.body, String(miss.headers.vary), miss.headers['content-encoding']], [status, text, 'accept-encoding', undefined], name)
    for (const coding of ['br', 'gzip']) {
      const hit = await ask(app, coding)
      t.strictSame([hit.statusCode, decoded(hit), hit.headers['content-encoding']], [status, text, coding], name)
      t.equal(hit.headers['content-type'], miss.headers['content-type'])
      t.equal(hit.headers['x-a'], miss.headers['x-a'])
    }
    t.equal((await ask(app)).body, text)
    t.equal(app.runs(), 1)
  }
}))

t.test('only the coding that makes it smaller', async (t) => await onEachStore(t, async (t, open) => {
  const app = await serving(open, (reply) => reply.type('text/plain').send('ab'.repeat(9)), { compress: { threshold: 1 } })
  await ask(app)
  t.equal((await ask(app, 'br')).headers['content-encoding'], 'br')
  t.match(await ask(app, 'gzip'), { body: 'ab'.repeat(9), headers: { vary: 'accept-encoding' } })
  t.equal((await ask(app, 'gzip, br;q=0.1')).headers['content-encoding'], 'br', 'what is there of what it takes')
}))

t.test('Vary is added to what is there, and makes no variants', async (t) => await onEachStore(t, async (t, open) => {
  const languages: Send = (reply, { headers }) => reply.header('vary', 'Accept-Language').type('text/plain').send(`${headers['accept-language']}: ${TEXT}`)
  const app = await serving(open, languages, { vary: ['x-a'] })
  for (const language of ['de', 'en']) {
    for (const [i, coding] of ['br', 'gzip', 'br', 'identity'].entries()) {
      const response = await ask(app, coding, { headers: { 'accept-language': language } })
      t.equal(outcome(response.headers['cache-status']), i === 0 ? 'miss' : 'hit')
      t.equal(decoded(response), `${language}: ${TEXT}`)
      t.equal(String(response.headers.vary).toLowerCase(), 'accept-language, x-a, accept-encoding')
      t.equal(response.headers['content-encoding'], i === 0 || coding === 'identity' ? undefined : coding)
    }
  }
  t.equal(app.runs(), 2)
}))

t.test("a handler's own Vary: Accept-Encoding still makes variants, each compressed", async (t) => await onEachStore(t, async (t, open) => {
  const app = await serving(open, (reply, { headers }) => reply.header('vary', 'Accept-Encoding').type('text/plain').send(`${headers['accept-encoding']}: ${TEXT}`))
  for (const accepted of ['br', 'gzip', 'br', 'gzip']) t.equal(decoded(await ask(app, accepted)), `${accepted}: ${TEXT}`)
  const hit = await ask(app, 'gzip')
  t.strictSame([hit.headers['content-encoding'], hit.headers.vary], ['gzip', 'Accept-Encoding'])
  t.equal(app.runs(), 2)
}))

t.test('what a hook in front has said of Vary is said once', async (t) => await onEachStore(t, async (t, open) => {
  const app = await open({ prefix: `compress${++apps}` })
  app.addHook('onRequest', async (_, reply) => { reply.header('vary', 'origin, Accept-Encoding') })
  app.get('/', { cache: { key: 'k', compress: true } }, async () => ({ text: TEXT }))
  for (const [is, coding] of [['miss', undefined], ['hit', 'br']]) {
    const { headers } = await ask(app, 'br')
    t.strictSame([outcome(headers['cache-status']), headers['content-encoding'], headers.vary], [is, coding, 'origin, Accept-Encoding'])
  }
}))

t.test('a HEAD that is a miss says that the answer varies', async (t) => await onEachStore(t, async (t, open) => {
  const app = await serving(open)
  t.match(await ask(app, 'br', { method: 'HEAD' }), { headers: { vary: 'accept-encoding', 'cache-status': /fwd=miss/ } })
}))

t.test('stale, refreshed, and where the handler fails', async (t) => await onEachStore(t, async (t, open) => {
  let now = START
  const send: Send = (reply, _, run) => {
    if (run > 2) throw new Error('down')
    return reply.type('text/plain').send(`${run}: ${TEXT}`)
  }
  const cache = { ttl: 10, staleWhileRevalidate: 10, staleIfError: 100 }
  const app = await serving(open, send, cache, { now: () => now })
  await ask(app, 'br')
  now += 15_000
  const stale = await ask(app, 'br')
  t.strictSame([decoded(stale), stale.headers['content-encoding']], [`1: ${TEXT}`, 'br'])
  t.match(stale.headers['cache-status'], /hit; ttl=-5/)
  await until(async () => app.cache.stats().total.refreshes === 1, 'there was no refresh')
  await settled(app)
  const fresh = await ask(app, 'gzip')
  t.strictSame([decoded(fresh), fresh.headers['content-encoding']], [`2: ${TEXT}`, 'gzip'], 'a refresh is compressed, too')
  now += 50_000
  const rescued = await ask(app, 'br')
  t.strictSame([rescued.statusCode, decoded(rescued), rescued.headers['content-encoding']], [200, `2: ${TEXT}`, 'br'])
  t.match(rescued.headers, { 'cache-status': /stale-if-error/, etag: /-br"$/, vary: 'accept-encoding' })
  t.equal(rescued.headers['content-length'], String(rescued.rawPayload.length))
  t.match(await ask(app, 'br', { headers: { 'if-none-match': String(rescued.headers.etag) } }), { statusCode: 304, body: '' })
}))

t.test('collapsed requests get their codings', async (t) => await onEachStore(t, async (t, open) => {
  let open1!: () => void
  const opened = new Promise<void>((resolve) => { open1 = resolve })
  const app = await serving(open, async (reply) => {
    await opened
    return reply.type('text/plain').send(TEXT)
  })
  const all = ['br', 'gzip', 'br', 'identity'].map(async (coding) => [coding, await ask(app, coding)] as const)
  await beyondLookup(app)
  open1()
  const answers = await Promise.all(all)
  const hits = answers.filter(([, { headers }]) => /collapsed/.test(String(headers['cache-status'])))
  t.equal(hits.length, 3)
  t.equal(app.runs(), 1)
  for (const [coding, response] of answers) t.equal(decoded(response), TEXT, coding)
  for (const [coding, { headers }] of hits) t.equal(headers['content-encoding'] ?? 'identity', coding)
}))

t.test('cache.set compresses, and cache.get gives the body as it is', async (t) => await onEachStore(t, async (t, open) => {
  const app = await serving(open)
  const value = { text: TEXT }
  await app.cache.set('k', () => value, { route: '/' })
  for (const coding of ['br', 'gzip']) {
    const hit = await ask(app, coding)
    t.strictSame([decoded(hit), hit.headers['content-encoding']], [JSON.stringify(value), coding])
  }
  t.equal(app.runs(), 0)
  const size = JSON.stringify(value).length
  const info = await app.cache.get('k', { 'accept-encoding': 'br' })
  t.match(info, { body: Buffer.from(JSON.stringify(value)), size, headers: { vary: 'accept-encoding', etag: /^W\/"[\w-]{27}"$/ } })
  t.equal(info!.headers['content-encoding'], undefined)
  t.match(await app.cache.inspect('k'), { size })
}))

t.test('made stale in place, an entry keeps its codings', async (t) => await onEachStore(t, async (t, open) => {
  const app = await serving(open, undefined, { staleWhileRevalidate: 100 })
  await ask(app)
  t.equal(await app.cache.invalidate('k', { soft: true }), 1)
  const stale = await ask(app, 'br')
  t.strictSame([decoded(stale), stale.headers['content-encoding']], [TEXT, 'br'])
  t.match(stale.headers['cache-status'], /hit; ttl=(0|-)/)
}))

t.test('bytes that the handler uses again when they are sent', async (t) => await onEachStore(t, async (t, open) => {
  const held = holdGzip(t)
  const bytes = Buffer.from(TEXT)
  const app = await serving(open, (reply) => reply.type('text/plain').send(bytes))
  t.equal((await app.inject('/')).body, TEXT, 'the client does not wait for it')
  await held.reached
  bytes.fill('x')
  held.open()
  await settled(app)
  for (const coding of ['br', 'gzip', 'identity']) t.equal(decoded(await ask(app, coding)), TEXT, coding)
}))

t.test('what is invalidated while it is compressed is not stored', async (t) => await onEachStore(t, async (t, open) => {
  const held = holdGzip(t)
  const app = await serving(open, (reply, _, run) => reply.type('text/plain').send(`${run}: ${TEXT}`), { tags: ['t'] })
  await app.inject('/')
  await held.reached
  const waiting = app.inject({ url: '/', headers: { 'accept-encoding': 'br' } })
  await beyondLookup(app)
  await app.cache.invalidate('k')
  held.open()
  t.equal((await waiting).body, `2: ${TEXT}`, 'nor handed to who waited')
  await settled(app)
  t.match(app.cache.stats().total, { misses: 2, stores: 1, refusals: { lease: 1 } })
  t.equal(decoded(await ask(app, 'gzip')), `2: ${TEXT}`)
}))

for (const when of ['at once', 'on its way'] as const) {
  t.test(`compressing fails ${when}: stored as it is`, async (t) => await onEachStore(t, async (t, open) => {
    breakGzip(t, when)
    const app = await serving(open)
    await ask(app, 'br')
    const hit = await ask(app, 'br')
    t.strictSame([hit.body, outcome(hit.headers['cache-status']), hit.headers['content-encoding']], [TEXT, 'hit', undefined])
    t.equal(hit.headers.vary, 'accept-encoding')
    t.match(app.cache.stats().total, { stores: 1, errors: 0, refusals: {} })
    const lines = app.lines.filter(({ msg }) => msg === 'cache compression failed')
    t.match(lines, [{ level: 20, key: 'k', err: { message: 'no memory for it' } }])
  }))
}

t.test('an app that closes gives up compressing, and stores the body as it is', async (t) => await onEachStore(t, async (t, open) => {
  const held = holdGzip(t)
  const [app, other] = [await serving(open), await serving(open)]
  await app.inject('/')
  await held.reached
  await app.close()
  t.ok(held.streams.every(({ destroyed }) => destroyed), 'nothing is left running')
  t.match(app.cache.stats().total, { stores: 1, errors: 0 })
  await other.close()
}))

t.test("an error that a hook raises behind a hit is not in the entry's coding", async (t) => await onEachStore(t, async (t, open) => {
  let fails = false
  const app = await serving(open)
  app.addHook('onSend', async () => { if (fails) throw new Error('a hook') })
  await ask(app)
  t.equal((await ask(app, 'br')).headers['content-encoding'], 'br')
  fails = true
  const failed = await ask(app, 'br')
  t.match(failed, { statusCode: 500, body: /"message":"a hook"/ })
  t.equal(failed.headers['content-encoding'], undefined)
}))

t.test('the bounds: of a body as it is, of a store all that is in it', async (t) => {
  await onEachStore(t, async (t, open) => {
    const app = await serving(open, undefined, {}, { maxBodyBytes: TEXT.length })
    await ask(app)
    t.equal((await ask(app, 'br')).headers['content-encoding'], 'br')
    const { bytes } = app.cache.stats().total
    const stored = (await ask(app, 'br')).rawPayload.length + (await ask(app, 'gzip')).rawPayload.length
    t.ok(bytes < TEXT.length / 4, 'the body as it is is not stored')
    t.ok(bytes > stored && bytes < stored + 400, `${bytes} bytes: ${stored} of bodies, and a head`)
  })
  await t.test('of the in-process store', async (t) => {
    await onEachStore(t, async (t, open) => {
      const half = randomBytes(2000).toString('hex')
      const app = await serving(open, (reply) => reply.type('text/plain').send(half), {}, { maxStoreBytes: 4500 })
      await ask(app)
      const { store, total } = app.cache.stats()
      t.strictSame(total.refusals, store === 'memory' ? { size: 1 } : {}, 'with its codings it is larger than that')
    })
  })
})

t.test('a process that compresses keeps its lease', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  const held = holdGzip(t)
  const app = await serving(async (options) => await cachedApp(t, { ...options, redis, prefix: 'shop' }))
  await app.inject('/')
  await held.reached
  let last = await redis.pttl('lease:{shop:k}')
  t.ok(last > 0)
  await until(async () => {
    const left = await redis.pttl('lease:{shop:k}')
    const isRenewed = left > last
    last = left
    return isRenewed
  }, 'the lease was not renewed')
  held.open()
  await settled(app)
  t.equal((await ask(app, 'br')).headers['content-encoding'], 'br')
})

interface Wire { status: number, fields: Record<string, unknown>, raw: string[], body: Buffer }

async function fetchRaw (app: CachedApp, headers: Fields, method = 'GET'): Promise<Wire> {
  return await new Promise((resolve, reject) => {
    request(`${app.listeningOrigin}/`, { method, headers, agent: false }, (response) => {
      const { statusCode: status, headers: fields, rawHeaders: raw } = response
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => { chunks.push(chunk) })
      response.on('end', () => { resolve({ status: status!, fields, raw, body: Buffer.concat(chunks) }) })
    }).on('error', reject).end()
  })
}

t.test('over a socket', async (t) => await onEachStore(t, async (t, open) => {
  const app = await serving(open)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const miss = await fetchRaw(app, { 'accept-encoding': 'gzip, br' })
  t.match(miss, { status: 200, fields: { vary: 'accept-encoding', 'content-length': String(TEXT.length) }, body: Buffer.from(TEXT) })
  await settled(app)
  for (const [accepted, coding] of CLIENTS) {
    const asking: Fields = accepted === undefined ? {} : { 'accept-encoding': accepted }
    const { status, fields, raw, body } = await fetchRaw(app, asking)
    t.equal(decoded({ headers: fields as never, rawPayload: body }), TEXT)
    t.strictSame([status, fields['content-encoding'], fields['content-length'], fields['transfer-encoding'], fields.vary],
      [200, coding, String(body.length), undefined, 'accept-encoding'], `Accept-Encoding: ${accepted}`)
    for (const name of ['content-encoding', 'vary', 'etag', 'content-length', 'content-type']) {
      const times = raw.filter((one, i) => i % 2 === 0 && one.toLowerCase() === name).length
      t.equal(times, name === 'content-encoding' && coding === undefined ? 0 : 1, name)
    }
    const head = await fetchRaw(app, asking, 'HEAD')
    t.strictSame([head.status, head.body.length, head.fields['content-encoding'], head.fields['content-length'], head.fields.etag],
      [200, 0, coding, String(body.length), fields.etag])
    const known = await fetchRaw(app, { ...asking, 'if-none-match': String(fields.etag) })
    t.strictSame([known.status, known.body.length, known.fields.etag, known.fields.vary, known.fields['content-encoding']],
      [304, 0, fields.etag, 'accept-encoding', undefined])
  }
  t.equal(app.runs(), 1)
}))
