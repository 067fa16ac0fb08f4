// Entries that are read again and again are decoded once; what is not the very same bytes under the same name is decoded.
import t, { type Test } from 'tap'
import { DecodedEntries, encode, type Entry } from '../../plugin/entry/entry.js'
import { ENTRY } from '../../plugin/store/layout.js'

const NAME = 'user:1'
const LIMITS = { maxBodyBytes: 1_000_000, maxHeaderBytes: 10_000 }

function bytesOf (members: Partial<Entry> = {}, name = NAME): Buffer {
  return encode({
    status: 200,
    headers: [['content-type', 'text/plain']],
    body: Buffer.from('a body'),
    encoded: [],
    kind: 'bytes',
    epoch: '',
    history: 'of-a-history',
    tags: ['users'],
    storedAt: 1,
    softenings: [],
    staleAt: 2,
    deadAt: 4,
    rescueUntil: 7,
    cost: 5,
    asOf: 3,
    isOfFormerBuild: false,
    ...members
  }, name)
}

/** As Redis gives them: other memory each time. */
function read (decoded: DecodedEntries, bytes: Buffer, { name = NAME, isKept = false, isNear = false } = {}): Entry | null {
  return decoded.of({ bytes: Buffer.from(bytes), name, isKept }, isNear)
}

/** Which has decoded these bytes, and keeps that. */
function warm (t: Test, bytes: Buffer): { decoded: DecodedEntries, entry: Entry } {
  const decoded = new DecodedEntries(LIMITS)
  read(decoded, bytes)
  const entry = read(decoded, bytes)
  t.equal(read(decoded, bytes), entry, 'is kept')
  return { decoded, entry: entry! }
}

t.test('bytes that come again are decoded once, from the second time on', async (t) => {
  const decoded = new DecodedEntries(LIMITS)
  const bytes = bytesOf()
  const [first, second, third] = [read(decoded, bytes), read(decoded, bytes), read(decoded, bytes)]
  t.same(first, second)
  t.not(first, second, 'bytes that come once are not kept')
  t.equal(second, third)
  t.equal(third!.body.toString(), 'a body')
})

t.test('the bytes that it was made of may change, the entry does not', async (t) => {
  const decoded = new DecodedEntries(LIMITS)
  const bytes = bytesOf()
  read(decoded, bytes)
  const given = Buffer.from(bytes)
  const entry = decoded.of({ bytes: given, name: NAME }, false)
  given.fill(0)
  t.equal(entry!.body.toString(), 'a body')
  t.equal(read(decoded, bytes), entry)
})

t.test('an entry that was made stale in place, under the same checksum, is another one', async (t) => {
  const { decoded } = warm(t, bytesOf())
  const softened = bytesOf()
  softened.writeDoubleBE(1_234, ENTRY.softenedAt)
  for (let i = 0; i < 3; i++) t.same(read(decoded, softened)!.softenings, [1_234])
  t.same(read(decoded, bytesOf())!.softenings, [])
})

t.test('damaged bytes are none, whichever of them, as often as they come', async (t) => {
  const bytes = bytesOf()
  for (let at = 0; at < bytes.length; at++) {
    // These say since when the entry is stale, and are not in the checksum.
    if (at >= ENTRY.softenedAt && at < ENTRY.staleAt) continue
    const { decoded } = warm(t, bytes)
    const damaged = Buffer.from(bytes)
    damaged[at]! ^= 1
    for (let i = 0; i < 3; i++) t.equal(read(decoded, damaged), null, `byte ${at}`)
    t.not(read(decoded, bytes), null)
  }
})

t.test('under another name the same bytes are none', async (t) => {
  const { decoded } = warm(t, bytesOf())
  for (let i = 0; i < 3; i++) t.equal(read(decoded, bytesOf(), { name: 'user:2' }), null)
})

t.test('bytes that are cut short, empty, or longer are none', async (t) => {
  const bytes = bytesOf()
  const { decoded } = warm(t, bytes)
  for (let i = 0; i < 2; i++) {
    for (let length = 0; length < bytes.length; length++) t.equal(read(decoded, bytes.subarray(0, length)), null)
    t.equal(read(decoded, Buffer.concat([bytes, Buffer.from('x')])), null)
  }
})

t.test('an entry beyond the limits is none', async (t) => {
  const decoded = new DecodedEntries({ ...LIMITS, maxBodyBytes: 5 })
  for (let i = 0; i < 3; i++) t.equal(read(decoded, bytesOf()), null)
})

t.test('a large one is not kept here, but beside its bytes where several are given them', async (t) => {
  const decoded = new DecodedEntries(LIMITS)
  const bytes = bytesOf({ body: Buffer.alloc(8_192) })
  t.not(read(decoded, bytes), read(decoded, bytes))
  t.not(read(decoded, bytes), read(decoded, bytes))
  const stored = { bytes, name: NAME, isKept: true }
  t.equal(decoded.of(stored, false), decoded.of(stored, false))
})

t.test('what lies in this process is decoded beside its bytes', async (t) => {
  const decoded = new DecodedEntries(LIMITS)
  const stored = { bytes: bytesOf(), name: NAME, isKept: true }
  t.equal(decoded.of(stored, true), decoded.of(stored, true))
})

t.test('many entries share the places: each is right, and the memory has a bound', async (t) => {
  const decoded = new DecodedEntries(LIMITS)
  const names = Array.from({ length: 5_000 }, (_, i) => `user:${i}`)
  const stored = names.map((name, i) => ({ name, bytes: bytesOf({ asOf: i }, name) }))
  for (let round = 0; round < 3; round++) {
    for (const [i, { name, bytes }] of stored.entries()) {
      if (read(decoded, bytes, { name })?.asOf !== i) t.fail(`${name} is another entry`)
      read(decoded, bytes, { name })
    }
  }
  const readAll = (): (Entry | null)[] => stored.map(({ name, bytes }) => read(decoded, bytes, { name }))
  const before = readAll()
  const kept = readAll().filter((entry, i) => entry === before[i])
  t.ok(kept.length > 0 && kept.length <= 512, `${kept.length} of 5,000 are kept`)
})
