// The bytes of an entry: what goes in comes out, and what is not an entry is a miss.
import fc from 'fast-check'
import t from 'tap'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { bodyOf, decodedSize, type EncodedBody, type Entry } from '../../plugin/entry/entry.js'
import * as codec from '../../plugin/entry/entry.js'
import { ENTRY, LAYOUT_VERSION } from '../../plugin/store/layout.js'

const RUNS = 50_000

const encode = (entry: Entry): Buffer => codec.encode(entry, 'user:1')
const decode = (bytes: Buffer): Entry | null => codec.decode(bytes, 'user:1')

const character = fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code))
const latin1 = fc.string({ unit: character, maxLength: 40 })
const instant = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const bodies = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes))
const entries: fc.Arbitrary<Entry> = fc.record({
  status: fc.integer({ min: 100, max: 599 }),
  headers: fc.uniqueArray(
    fc.tuple(fc.stringMatching(/^[a-z-]{1,20}$/), fc.oneof(latin1, fc.array(latin1, { minLength: 2, maxLength: 4 }))),
    { selector: ([name]) => name, maxLength: 8 }
  ),
  body: bodies,
  encoded: fc.uniqueArray(fc.record({ coding: fc.constantFrom('br', 'gzip'), body: bodies }), { selector: ({ coding }) => coding }),
  kind: fc.constantFrom('bytes', 'text', 'none'),
  epoch: fc.constantFrom('', 'twelve-chars'),
  history: fc.constant('of-a-history'),
  tags: fc.array(fc.string({ unit: 'grapheme', minLength: 1 }).filter((tag) => !tag.includes('\0')), { maxLength: 3 }),
  storedAt: fc.integer({ min: 0, max: 2 ** 50 }),
  softenings: fc.constant([]),
  staleAt: instant,
  deadAt: instant,
  rescueUntil: instant,
  cost: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  asOf: instant,
  isOfFormerBuild: fc.constant(false)
}).map((entry) => ({
  ...entry,
  staleAt: Math.min(entry.staleAt, entry.deadAt, entry.rescueUntil)
}))

const SMALL: Entry = {
  status: 200,
  headers: [],
  body: Buffer.alloc(0),
  encoded: [],
  kind: 'bytes',
  epoch: '',
  history: 'of-a-history',
  tags: [],
  storedAt: 1,
  softenings: [],
  staleAt: 2,
  deadAt: 4,
  rescueUntil: 7,
  cost: 5,
  asOf: 3,
  isOfFormerBuild: false
}

/** Of a body that is there encoded its size remains. */
function asStored (entry: Entry): string {
  return JSON.stringify(entry.encoded.length === 0 ? entry : { ...entry, body: decodedSize(entry) })
}

t.test('an entry survives byte for byte', async (t) => {
  let seen = 0
  fc.assert(fc.property(entries, (entry) => {
    seen++
    const decoded = decode(encode(entry))
    return decoded !== null && JSON.stringify(decoded) === asStored(entry) && encode(decoded).equals(encode(entry))
  }), { numRuns: 5_000 })
  t.equal(seen, 5_000)
})

t.test('the bodies are views on the bytes, not copies', async (t) => {
  const plain = encode({ ...SMALL, body: Buffer.from('body') })
  t.equal((decode(plain)!.body as Buffer).buffer, plain.buffer)
  const bytes = encode({ ...SMALL, body: Buffer.from('body'), encoded: [{ coding: 'gzip', body: Buffer.from('zip') }] })
  const { body, encoded } = decode(bytes)!
  t.equal(body, 4)
  t.equal(encoded[0]!.body.buffer, bytes.buffer)
})

t.test('a body that is there in codings only is made of one, and of nothing that is larger or smaller', async (t) => {
  const body = Buffer.from('all the same '.repeat(50))
  const [br, gzip] = [brotliCompressSync(body), gzipSync(body)]
  const stored = (...encoded: EncodedBody[]): Entry => decode(encode({ ...SMALL, body, encoded }))!
  for (const entry of [
    stored({ coding: 'br', body: br }), stored({ coding: 'gzip', body: gzip }),
    stored({ coding: 'br', body: Buffer.from('unused') }, { coding: 'gzip', body: gzip })
  ]) {
    t.equal(decodedSize(entry), body.length)
    t.strictSame(bodyOf(entry), body)
    t.equal(bodyOf(entry), bodyOf(entry), 'made once for all who ask now')
  }
  const one = stored({ coding: 'gzip', body: gzip })
  for (const size of [0, body.length - 1, body.length + 1]) {
    t.throws(() => bodyOf({ ...one, body: size, encoded: [...one.encoded] }))
  }
  t.throws(() => bodyOf(stored({ coding: 'gzip', body: Buffer.from('none') })))
  t.strictSame(bodyOf(stored({ coding: 'gzip', body: gzip })), body)
  t.equal(bodyOf({ body, encoded: [] }), body)
})

t.test('for an entry without encoded bodies nothing is made', async (t) => {
  t.equal(decode(encode(SMALL))!.encoded, decode(encode({ ...SMALL, status: 404 }))!.encoded)
})

t.test('a table that is none is a miss, though its checksum is right', async (t) => {
  const bytes = encode({ ...SMALL, body: Buffer.from('body'), encoded: [{ coding: 'gzip', body: Buffer.from('zip') }] })
  const [count, table] = [ENTRY.encodings, ENTRY.headers]
  const wrong: Array<[what: string, at: number, byte: number]> = [
    ['a coding that is not known', table + 4, 2], ['a body that is longer than all', table + 7, 1], ['one that is shorter', table + 8, 2],
    ['more than there are', count, 2],
    ['many more than fit', count, 255]
  ]
  t.not(decode(bytes), null)
  for (const [what, at, byte] of wrong) {
    const other = Buffer.from(bytes)
    other[at] = byte
    t.equal(decode(codec.seal(other, 'user:1')), null, what)
  }
})

t.test('random bytes are a miss and never throw', async (t) => {
  let decoded = 0
  // Half of them start like an entry, so that the decoder doesn't leave at the first byte.
  const random = fc.tuple(fc.boolean(), fc.uint8Array({ maxLength: 200 })).map(([versioned, bytes]) => {
    if (versioned && bytes.length > 0) bytes[0] = LAYOUT_VERSION
    return Buffer.from(bytes)
  })
  fc.assert(fc.property(random, (bytes) => {
    decoded++
    return decode(bytes) === null
  }), { numRuns: RUNS })
  t.equal(decoded, RUNS)
})

/** Bytes flipped, cut off, inserted or appended: each gives other bytes than the whole entry's. */
const damages = fc.oneof(
  fc.record({ how: fc.constant('flip' as const), at: fc.nat(), bits: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ how: fc.constant('cut' as const), at: fc.nat(), bits: fc.constant(0) }),
  fc.record({ how: fc.constant('insert' as const), at: fc.nat(), bits: fc.integer({ min: 0, max: 255 }) })
)

t.test('a damaged entry is a miss and never throws, or is served no longer than it was to be', async (t) => {
  let decoded = 0
  fc.assert(fc.property(entries, damages, (entry, { how, at, bits }) => {
    decoded++
    const bytes = encode(entry)
    const place = at % bytes.length
    if (how === 'flip') bytes[place]! ^= bits
    const damaged = how === 'flip'
      ? bytes
      : how === 'cut' ? bytes.subarray(0, place) : Buffer.concat([bytes.subarray(0, place), Buffer.of(bits), bytes.subarray(place)])
    const survivor = decode(damaged)
    if (survivor === null) return true
    const { softenings } = survivor
    // Minus zero is no instant either.
    if (place === ENTRY.softenedAt && bits === 128) return JSON.stringify(survivor) === asStored(entry)
    // What may follow from another instant there: entry.test.ts.
    return how === 'flip' && place >= ENTRY.softenedAt && place < ENTRY.softenedAt + 8 && softenings.length === 1 && softenings[0]! > 0 &&
      asStored({ ...entry, softenings }) === JSON.stringify(survivor)
  }), { numRuns: RUNS })
  t.equal(decoded, RUNS)
})

t.test('an entry is made stale in place, and nothing else of it changes', async (t) => {
  const instants = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
  fc.assert(fc.property(entries, instants, (entry, since) => {
    const bytes = encode(entry)
    const sum = bytes.readUInt32BE(ENTRY.checksum)
    bytes.writeDoubleBE(since, ENTRY.softenedAt)
    return bytes.readUInt32BE(ENTRY.checksum) === sum &&
      JSON.stringify(decode(bytes)) === asStored({ ...entry, softenings: [since] })
  }), { numRuns: 1_000 })
  const bytes = encode(SMALL)
  for (const since of [0, 3.5, 8, -1, NaN, Infinity, -Infinity]) {
    bytes.writeDoubleBE(since, ENTRY.softenedAt)
    t.equal(decode(bytes) !== null, [0, 3.5, 8].includes(since), `made stale at ${since}`)
  }
})

t.test('a handler that takes more than seven weeks counts as one that takes that', async (t) => {
  t.equal(decode(encode({ ...SMALL, cost: 2 ** 40 }))!.cost, 2 ** 32 - 1)
})

t.test('what the last layout had at these places is a miss', async (t) => {
  // Layout 4, as it was written: the same head, but the headers, or here the body, from 92 on.
  const old = encode(SMALL)
  old[0] = 4
  t.equal(decode(codec.seal(old, 'user:1')), null)
})

t.test('under another name it is no entry', async (t) => {
  const bytes = encode(SMALL)
  t.equal(codec.decode(bytes, 'user:2'), null)
  t.equal(codec.decode(bytes, codec.ownName('user:1', { variant: 'x' })), null)
  t.not(codec.decode(bytes, codec.ownName('user:1', null)), null)
})

t.test('an entry of another version is a miss', async (t) => {
  const bytes = encode({ ...SMALL, body: Buffer.alloc(0) })
  bytes[0] = LAYOUT_VERSION - 1
  t.equal(decode(bytes), null)
})
