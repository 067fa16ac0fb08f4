// The bytes of an entry: what goes in comes out, and what is not an entry is a miss.
import fc from 'fast-check'
import t from 'tap'
import { decode, encode } from '../plugin/codec.js'
import type { Entry } from '../plugin/entry.js'

const RUNS = 50_000

const character = fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code))
const latin1 = fc.string({ unit: character, maxLength: 40 })
const instant = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const entries: fc.Arbitrary<Entry> = fc.record({
  status: fc.integer({ min: 100, max: 599 }),
  headers: fc.uniqueArray(
    fc.tuple(fc.stringMatching(/^[a-z-]{1,20}$/), fc.oneof(latin1, fc.array(latin1, { minLength: 2, maxLength: 4 }))),
    { selector: ([name]) => name, maxLength: 8 }
  ),
  body: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  kind: fc.constantFrom('bytes', 'text', 'none'),
  epoch: fc.constantFrom('', 'twelve-chars'),
  history: fc.constant('of-a-history'),
  tags: fc.array(fc.string({ unit: 'grapheme', minLength: 1 }).filter((tag) => !tag.includes('\0')), { maxLength: 3 }),
  storedAt: instant,
  staleAt: instant,
  deadAt: instant,
  asOf: instant
}).map((entry) => ({
  ...entry,
  staleAt: Math.min(entry.staleAt, entry.deadAt),
  deadAt: Math.max(entry.staleAt, entry.deadAt)
}))

const SMALL: Entry = {
  status: 200,
  headers: [],
  body: Buffer.alloc(0),
  kind: 'bytes',
  epoch: '',
  history: 'of-a-history',
  tags: [],
  storedAt: 1,
  staleAt: 2,
  deadAt: 4,
  asOf: 3
}
const VERSION = encode(SMALL)[0]!
/** Where an entry is made stale, in place. */
const STALE_AT = 15

t.test('an entry survives byte for byte', async (t) => {
  let seen = 0
  fc.assert(fc.property(entries, (entry) => {
    seen++
    const decoded = decode(encode(entry))
    return decoded !== null && JSON.stringify(decoded) === JSON.stringify(entry)
  }), { numRuns: 5_000 })
  t.equal(seen, 5_000)
})

t.test('the body is a view on the bytes, not a copy', async (t) => {
  const bytes = encode({ ...SMALL, body: Buffer.from('body') })
  t.equal(decode(bytes)!.body.buffer, bytes.buffer)
})

t.test('random bytes are a miss and never throw', async (t) => {
  let decoded = 0
  // Half of them start like an entry, so that the decoder doesn't leave at the first byte.
  const random = fc.tuple(fc.boolean(), fc.uint8Array({ maxLength: 200 })).map(([versioned, bytes]) => {
    if (versioned && bytes.length > 0) bytes[0] = VERSION
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
    const { staleAt } = survivor
    return how === 'flip' && place >= STALE_AT && place < STALE_AT + 8 && staleAt >= 0 && staleAt <= entry.deadAt &&
      JSON.stringify({ ...survivor, staleAt: entry.staleAt }) === JSON.stringify(entry)
  }), { numRuns: RUNS })
  t.equal(decoded, RUNS)
})

t.test('an entry is made stale in place, and nothing else of it changes', async (t) => {
  fc.assert(fc.property(entries, (entry) => {
    const bytes = encode(entry)
    const sum = bytes.readUInt32BE(1)
    bytes.fill(0, STALE_AT, STALE_AT + 8)
    return bytes.readUInt32BE(1) === sum && JSON.stringify(decode(bytes)) === JSON.stringify({ ...entry, staleAt: 0 })
  }), { numRuns: 1_000 })
  const bytes = encode(SMALL)
  for (const staleAt of [0, 3.5, 4, 4.5, -1, NaN, Infinity]) {
    bytes.writeDoubleBE(staleAt, STALE_AT)
    t.equal(decode(bytes) !== null, [0, 3.5, 4].includes(staleAt), `staleAt ${staleAt}`)
  }
})

t.test('an entry of another version is a miss', async (t) => {
  const bytes = encode({ ...SMALL, body: Buffer.alloc(0) })
  bytes[0] = VERSION - 1
  t.equal(decode(bytes), null)
})
