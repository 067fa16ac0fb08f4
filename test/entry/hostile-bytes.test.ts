// Bytes in Redis with a right checksum that this build would never have written: a broken writer's, or a hostile one's.
// Nothing of them is served; they are a miss, counted, and the next fill takes their place.
import { brotliCompressSync, gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { decode, encode, encodeMarker, seal, type Entry, type HeaderField } from '../../plugin/entry/entry.js'
import type { CacheOptions, RouteCacheOptions } from '../../plugin/index.js'
import { ENTRY } from '../../plugin/store/layout.js'
import { startRedis } from '../helpers/redis.js'
import { cachedApp, settled, type CachedApp } from '../helpers/app.js'

const server = await startRedis()
t.teardown(async () => { await server.stop() })
const redis = server.client()
await redis.ping()

const NAME = 'cache:k'
const BODY = 'of the handler'

async function open (t: Test, cache: CacheOptions = {}, options: RouteCacheOptions = {}): Promise<CachedApp> {
  await redis.flushall()
  const app = await cachedApp(t, { redis, ...options })
  app.get('/', { cache: { key: 'k', ttl: 60, ...cache } }, async () => BODY)
  await app.listen({ port: 0, host: '127.0.0.1' })
  await fetch(app.listeningOrigin)
  await settled(app)
  return app
}

/** What the app has stored, changed, under the checksum that is right for it. */
async function put (change: (entry: Entry) => Partial<Entry>, damage: (bytes: Buffer) => void = () => {}): Promise<void> {
  const entry = decode(await redis.getBuffer(NAME) ?? Buffer.alloc(0), 'k')!
  const bytes = encode({ ...entry, ...change(entry) }, 'k')
  damage(bytes)
  await redis.set(NAME, seal(bytes, 'k'), 'PX', 60_000)
}

/** The handler's answer comes, nothing else; then it is a hit, of what the handler sent. */
async function isMiss (t: Test, app: CachedApp, name: string, headers: Record<string, string> = {}): Promise<void> {
  const before = app.cache.stats().total.unreadable
  const first = await fetch(app.listeningOrigin, { headers })
  t.equal(first.status, 200, name)
  t.equal(await first.text(), BODY, name)
  t.match(first.headers.get('cache-status'), /fwd=miss/, name)
  for (const field of ['x-evil', 'set-cookie', 'proxy-authenticate', 'upgrade']) t.notOk(first.headers.has(field), `${name}: ${field}`)
  t.equal(app.cache.stats().total.unreadable, before + 1, `${name}: counted`)
  await settled(app)
  const second = await fetch(app.listeningOrigin, { headers })
  t.equal(await second.text(), BODY, name)
  t.match(second.headers.get('cache-status'), /; hit/, `${name}: overwritten`)
}

const plus = (...fields: HeaderField[]) => ({ headers }: Entry): Partial<Entry> => ({ headers: [...headers, ...fields] })

const CASES: Array<[name: string, change: (entry: Entry) => Partial<Entry>]> = [
  ...['connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'content-length', 'proxy-connection',
    'proxy-authenticate', 'proxy-authorization', 'proxy-authentication-info', 'proxy-status', 'set-cookie', 'Content-Length',
    'Set-Cookie', 'SET-COOKIE', 'Transfer-Encoding', 'X-Upper'
  ].map((name): [string, (entry: Entry) => Partial<Entry>] => [`the field ${name}`, plus([name, name.includes('ength') ? '3' : 'chunked'])]),
  ...[100, 101, 102, 103, 199, 206, 304].map((status): [string, () => Partial<Entry>] => [`the status ${status}`, () => ({ status })]),
  ['a value with the end of a line', plus(['x-evil', 'a\r\nset-cookie: b=c'])],
  ['a value with a lone line feed', plus(['x-evil', 'a\nb'])],
  ['a value with a byte 0', plus(['x-evil', 'a\0b'])],
  ['a value with a control character', plus(['x-evil', 'a\x01b'])],
  ['one of several values', plus(['x-evil', ['a', 'b\r\n']])],
  ['no name', plus(['', 'x'])],
  ['a name with a space', plus(['x evil', 'x'])],
  ['a name with a colon', plus(['x-evil:', 'x'])],
  ['a name with the end of a line', plus(['x-evil\r\nset-cookie', 'x'])],
  ['a name in latin1', plus(['x-é', 'x'])],
  ['a field twice, apart', plus(['x-evil', 'a'], ['x-other', 'b'], ['x-evil', 'c'])],
  ['Vary: *', plus(['vary', '*'])],
  ['a head without end', plus(['x-evil', 'x'.repeat(200_000)])],
  ['50,000 fields', plus(...Array.from({ length: 50_000 }, (_, i): HeaderField => [`x-${i}`, '']))],
  ['a body beyond maxBodyBytes', () => ({ body: Buffer.alloc(1024 * 1024 + 1) })],
  ['a body that is nothing', () => ({ kind: 'none' })],
  ['an instant that is none', () => ({ storedAt: NaN })],
  ['an instant beyond all dates', () => ({ storedAt: 9e15 })],
  ['an instant that is negative', () => ({ storedAt: -1 })],
  ['an end that never comes', () => ({ staleAt: Infinity })],
  ['an end far away', () => ({ staleAt: 1e300 })],
  ['never dead', ({ staleAt }) => ({ staleAt, deadAt: Infinity })],
  ['an end that is none', () => ({ rescueUntil: NaN })],
  ['above each invalidation', () => ({ asOf: Infinity })],
  ['above the clock', () => ({ asOf: 2 ** 60 })],
  ['a clock that is none', () => ({ asOf: NaN })],
  ['an empty tag', () => ({ tags: ['a', ''] })],
  ['encoded, with a Content-Encoding', ({ headers }) => ({ headers: [...headers, ['content-encoding', 'br']], encoded: [gzipped(BODY)] })],
  ['encoded twice', () => ({ encoded: [gzipped(BODY), gzipped(BODY)] })]
]

function gzipped (text: string): Entry['encoded'][number] {
  return { coding: 'gzip', body: gzipSync(text) }
}

t.test('what could not be served', async (t) => {
  for (const memory of [false, {}] as const) {
    const app = await open(t, {}, { memory })
    for (const [name, change] of CASES) {
      await put(change)
      if (memory !== false) await app.cache.inspect('k')
      await isMiss(t, app, name)
    }
    t.equal(app.cache.stats().total.errors, 0)
    t.strictSame(app.lines.filter(({ level }) => Number(level) >= 50), [])
  }
})

t.test('what is unusual and right is served', async (t) => {
  const app = await open(t)
  const good: Array<[string, (entry: Entry) => Partial<Entry>]> = [
    ['several values', plus(['x-many', ['a', 'b']], ['link', '</a>; rel=next'])],
    ['latin1', plus(['x-name', 'Zoë'])],
    ['an end beyond all dates', ({ storedAt }) => ({ rescueUntil: storedAt + 8.64e15 })],
    ['200 without a body', () => ({ body: Buffer.alloc(0), kind: 'none' })],
    ['404', () => ({ status: 404 })]
  ]
  for (const [name, change] of good) {
    await put(change)
    t.match((await fetch(app.listeningOrigin)).headers.get('cache-status'), /; hit/, name)
  }
})

t.test('lengths and counts that are absurd', async (t) => {
  const app = await open(t)
  const damages: Array<[string, (bytes: Buffer) => void]> = [
    ['a header block longer than all', (bytes) => { bytes.writeUInt32BE(0xffffffff, ENTRY.headersSize) }],
    ['a tag block longer than all', (bytes) => { bytes.writeUInt32BE(0xffffffff, ENTRY.tagsSize) }],
    ['255 encoded bodies', (bytes) => { bytes[ENTRY.encodings] = 255 }],
    ['one encoded body, of no coding', (bytes) => { bytes[ENTRY.encodings] = 1 }],
    ['a kind that there is not', (bytes) => { bytes[ENTRY.kind] = 99 }],
    ['a field longer than the block', (bytes) => { bytes.writeUInt32BE(0x7fffffff, ENTRY.headers + 2) }]
  ]
  for (const [name, damage] of damages) {
    await put(() => ({}), damage)
    await isMiss(t, app, name)
  }
})

t.test('tags that are read as others', async (t) => {
  const app = await open(t, { tags: ['users'] })
  const at = (bytes: Buffer): number => ENTRY.headers + bytes.readUInt32BE(ENTRY.headersSize)
  for (const [name, damage] of [
    ['without its end', (bytes: Buffer) => { bytes[at(bytes) + 5] = 0x73 }],
    ['no UTF-8', (bytes: Buffer) => { bytes[at(bytes) + 1] = 0xff }]
  ] as const) {
    await put(() => ({}), damage)
    await isMiss(t, app, name)
  }
})

t.test('encoded bodies that are none, or become too large', async (t) => {
  const bomb = (size: number): Buffer => Buffer.alloc(size)
  const size = (bytes: Buffer, length: number): void => {
    bytes.writeUInt32BE(length, ENTRY.headers + bytes.readUInt32BE(ENTRY.headersSize) + bytes.readUInt32BE(ENTRY.tagsSize))
  }
  const cases: Array<[string, Entry['encoded'], number]> = [
    ['says that it is beyond maxBodyBytes', [{ coding: 'gzip', body: gzipSync(bomb(8 * 1024 * 1024)) }], 8 * 1024 * 1024],
    ['4 GB', [{ coding: 'gzip', body: gzipSync(bomb(1024)) }], 0xffffffff],
    ['becomes longer than it says: gzip', [{ coding: 'gzip', body: gzipSync(bomb(64 * 1024 * 1024)) }], 1000],
    ['becomes longer than it says: br', [{ coding: 'br', body: brotliCompressSync(bomb(16 * 1024 * 1024)) }], 1000],
    ['becomes shorter than it says', [gzipped(BODY)], 1000],
    ['no gzip', [{ coding: 'gzip', body: Buffer.from('not gzip at all') }], 14],
    ['cut off', [{ coding: 'gzip', body: gzipSync(BODY).subarray(0, -5) }], 14],
    ['nothing', [{ coding: 'br', body: Buffer.alloc(0) }], 14]
  ]
  for (const cache of [{}, { staleWhileRevalidate: 60, staleIfError: 60 }, { compress: { threshold: 1 } }]) {
    const app = await open(t, cache)
    for (const [name, encoded, length] of cases) {
      await redis.del(NAME)
      await fetch(app.listeningOrigin)
      await settled(app)
      await put(({ body }) => ({ body: typeof body === 'number' ? Buffer.from(BODY) : body, encoded }), (bytes) => {
        size(bytes, length)
      })
      await isMiss(t, app, name, { 'accept-encoding': 'identity' })
    }
    t.strictSame(app.lines.filter(({ level }) => Number(level) >= 50), [])
  }
})

t.test('it stands in for no error, either', async (t) => {
  await redis.flushall()
  let fails = false
  const app = await cachedApp(t, { redis })
  app.get('/', { cache: { key: 'k', ttl: 60, staleIfError: 600 } }, async () => {
    if (fails) throw new Error('the database is down')
    return BODY
  })
  await app.inject('/')
  await settled(app)
  fails = true
  const old = (entry: Entry): Partial<Entry> => ({ staleAt: 1, deadAt: 1, rescueUntil: entry.storedAt + 600_000 })
  await put((entry) => ({ ...old(entry), encoded: [{ coding: 'gzip', body: gzipSync(Buffer.alloc(1_000_000)) }] }))
  t.equal((await app.inject('/')).statusCode, 500)
  t.equal(app.cache.stats().total.unreadable, 1)
  await settled(app)
  await app.cache.invalidate('k')
  fails = false
  await app.inject('/')
  await settled(app)
  fails = true
  await put((entry) => ({ ...old(entry), encoded: [gzipped(BODY)] }))
  const stale = await app.inject('/')
  t.equal(stale.statusCode, 200)
  t.equal(stale.body, BODY)
})

t.test('an encoded body is decoded off the loop, once for all who wait for it', async (t) => {
  const app = await open(t, { compress: { threshold: 1 } })
  const large = 'x'.repeat(900_000)
  app.cache.stats()
  await put(() => ({ body: Buffer.from(large), encoded: [gzipped(large)] }))
  let turns = 0
  let isOver = false
  const count = (): void => { turns++; if (!isOver) setImmediate(count) }
  setImmediate(count)
  const answers = await Promise.all(Array.from({ length: 5 }, async () => await app.inject('/')))
  isOver = true
  for (const { body, headers } of answers) {
    t.equal(body.length, large.length)
    t.match(headers['cache-status'], /; hit/)
  }
  t.ok(turns > 5)
  t.equal((await app.cache.get('k'))!.body.length, large.length)
})

t.test('markers', async (t) => {
  const epoch = 'twelve-chars'
  const app = await open(t)
  for (const members of [['b', 'a'], ['a', 'a'], ['*'], [''], ['a b'], ['a\r\n'], ['A'], Array<string>(100_000).fill('user-agent')]) {
    await redis.set(NAME, encodeMarker({ members, epoch }), 'PX', 60_000)
    await isMiss(t, app, `members ${members.slice(0, 3).join()}`)
  }
})

t.test('values', async (t) => {
  await redis.flushall()
  const app = await cachedApp(t, { redis })
  const load = async (): Promise<string> => await app.cache.getOrSet('v', {}, () => 'loaded')
  await load()
  await app.cache.settled()
  const name = '{cache:v}:value'
  const entry = decode((await redis.getBuffer(name))!, 'v{value}')!
  t.ok(entry)
  for (const change of [{ encoded: [gzipped('x')] }, { body: Buffer.from('no value') }, { body: Buffer.alloc(2_000_000) }, { status: 101 }]) {
    await redis.set(name, encode({ ...entry, ...change }, 'v{value}'), 'PX', 60_000)
    t.equal(await load(), 'loaded')
    await app.cache.settled()
  }
})
