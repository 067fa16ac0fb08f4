// The tier by itself, against a made-up Redis: what is kept, what drops it, and what spoils what is asked for.
import fc from 'fast-check'
import t from 'tap'
import { Tier } from '../../../plugin/store/tier/tier.js'

const LARGE = 1_000_000
const bytes = (text: string): Buffer => Buffer.from(text)

interface Held {
  tier: Tier
  /** Reads it from Redis, with nothing between question and answer. */
  read: (name: string, value: string | null) => void
  get: (name: string) => string | null
}

function tierOf ({ maxBytes = LARGE, maxAge = 60_000, now = (): number => 0 } = {}): Held {
  const tier = new Tier({ maxBytes, maxAge, now })
  return {
    tier,
    read: (name, value) => tier.answered(tier.sent(), [name], [value === null ? null : bytes(value)]),
    get: (name) => tier.get(name)?.bytes.toString() ?? null
  }
}

t.test('what was read is at hand until it changes', async (t) => {
  const { tier, read, get } = tierOf()
  t.equal(get('a'), null)
  read('a', '1')
  read('b', '1')
  t.strictSame([get('a'), get('b'), tier.entries], ['1', '1', 2])
  tier.change(['a', 'c'])
  t.strictSame([get('a'), get('b')], [null, '1'])
  read('b', null)
  t.strictSame([get('b'), tier.entries, tier.bytes], [null, 0, 0], 'what is not there is not kept')
})

t.test('what changes between question and answer is not kept, whatever else is', async (t) => {
  const { tier, read, get } = tierOf()
  const ticket = tier.sent()
  tier.change(['a'])
  const later = tier.sent()
  tier.answered(ticket, ['a', 'b'], [bytes('old'), bytes('1')])
  t.strictSame([get('a'), get('b')], [null, '1'])
  tier.answered(later, ['a'], [bytes('new')])
  t.equal(get('a'), 'new')
  tier.answered(ticket, ['a'], [bytes('old')])
  t.equal(get('a'), 'new', 'a late answer displaces nothing')
  tier.answered(ticket, ['a'], [null])
  t.equal(get('a'), 'new')

  const before = tier.sent()
  tier.changeAll()
  t.strictSame([tier.entries, tier.bytes], [0, 0])
  tier.answered(before, ['a', 'x'], [bytes('old'), bytes('old')])
  t.strictSame([get('a'), get('x')], [null, null])
  read('a', '2')
  t.equal(get('a'), '2')
})

t.test('all that begin so', async (t) => {
  const { tier, read, get } = tierOf()
  for (const name of ['shop:user:1', '{shop:user:1}:value', 'shop:post:1']) read(name, '1')
  const ticket = tier.sent()
  tier.changePrefixes(['shop:user:', '{shop:user:'])
  tier.answered(ticket, ['shop:user:2', 'shop:post:2'], [bytes('old'), bytes('old')])
  t.strictSame(['shop:user:1', '{shop:user:1}:value', 'shop:post:1', 'shop:user:2', 'shop:post:2'].map(get), [null, null, '1', null, null])
})

t.test('more changes than are remembered spoil what was asked for before them', async (t) => {
  const { tier, get } = tierOf()
  const ticket = tier.sent()
  tier.change(['a'])
  const later = tier.sent()
  for (let i = 0; i < 4_096; i++) tier.change([`${i}`])
  tier.answered(ticket, ['a', 'b'], [bytes('old'), bytes('old')])
  t.strictSame([get('a'), get('b')], [null, null])
  tier.answered(later, ['a', '0'], [bytes('new'), bytes('old')])
  t.strictSame([get('a'), get('0')], ['new', null])
})

t.test('the least recently used go first, and what is too large displaces nothing', async (t) => {
  const { tier, read, get } = tierOf({ maxBytes: 12_000 })
  for (const name of ['a', 'b']) read(name, 'x'.repeat(4_000))
  get('a')
  read('c', 'x'.repeat(4_000))
  t.strictSame(['a', 'b', 'c'].map((name) => get(name) !== null), [true, false, true])
  read('d', 'x'.repeat(12_000))
  t.strictSame(['a', 'c', 'd'].map((name) => get(name) !== null), [true, true, false])
  read('a', 'x'.repeat(12_000))
  t.equal(get('a'), null, 'nor does what it was stay')
  tier.change(['c'])
  t.strictSame([tier.entries, tier.bytes], [0, 0], 'no room was lost')
  const many = tierOf({ maxBytes: 100_000 })
  many.read('hot', 'x')
  for (let i = 0; i < 10_000; i++) {
    many.read(`${i}`, 'x')
    many.get('hot')
  }
  t.ok(many.get('hot') !== null && many.tier.entries < 100, 'what is used all the time stays')
  for (let i = 0; i < 10_000; i++) read(`${i}`, 'x')
  t.ok(tier.bytes <= 12_000 && tier.entries > 9, `${tier.entries} entries, ${tier.bytes} bytes`)
  t.equal(tierOf({ maxBytes: 0 }).tier.entries, 0)
})

t.test('nothing is kept for longer than maxAge, by the clock it is given', async (t) => {
  let now = 1_000
  const { tier, read, get } = tierOf({ maxAge: 100, now: () => now })
  read('a', '1')
  now += 99
  t.equal(get('a'), '1')
  read('a', '1')
  now += 99
  t.equal(get('a'), '1', 'read again, it is as young as that')
  now++
  t.strictSame([get('a'), tier.entries, tier.bytes], [null, 0, 0])
  read('a', '1')
  now -= 100
  t.equal(get('a'), null, 'nor where the clock steps back')

  const unbound = tierOf({ maxAge: 0, now: () => now })
  unbound.read('a', '1')
  now += 1e12
  t.equal(unbound.get('a'), '1', '0: no limit')
})

t.test('copies have memory of their own, and are shared', async (t) => {
  const { tier, read } = tierOf()
  const socket = bytes('a reply, and others with it')
  tier.answered(tier.sent(), ['a'], [socket.subarray(0, 7)])
  socket.fill(0)
  const copy = tier.get('a')!
  t.equal(copy.bytes.toString(), 'a reply')
  t.equal(copy.bytes.buffer.byteLength, 7, 'no more than that is held')
  copy.decoded = 'meaning'
  read('a', 'a reply')
  t.equal(tier.get('a'), copy, 'the same bytes read again leave the copy, and what was made of it')
  read('a', 'another')
  t.strictSame([tier.get('a')?.bytes.toString(), tier.get('a')?.decoded], ['another', undefined])
})

t.test('a name that has no UTF-8 is not kept, and changes the one that Redis has for it', async (t) => {
  const { tier, read, get } = tierOf()
  read('tag:\ud800', '1')
  read('tag:\ufffd', '1')
  t.strictSame([get('tag:\ud800'), get('tag:\ufffd')], [null, '1'])
  tier.change(['tag:\ud801'])
  t.equal(get('tag:\ufffd'), null)
})

// A Redis with versions under names, read and written here and elsewhere, whose replies and messages come each in their
// order, but with any delay between the two.
const NAMES = ['a', 'b', 'c']
type Step =
  | { do: 'ask', names: string[] } | { do: 'answer' } | { do: 'hear' }
  | { do: 'write', name: string, isOwn: boolean, gone: boolean } | { do: 'flush', isOwn: boolean } | { do: 'break' }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('ask' as const), names: fc.subarray(NAMES, { minLength: 1 }) }),
  fc.record({ do: fc.constant('answer' as const) }),
  fc.record({ do: fc.constant('hear' as const) }),
  fc.record({ do: fc.constant('write' as const), name: fc.constantFrom(...NAMES), isOwn: fc.boolean(), gone: fc.boolean() }),
  fc.record({ do: fc.constant('flush' as const), isOwn: fc.boolean() }),
  fc.record({ do: fc.constant('break' as const) })
)

class Model {
  readonly #tier = new Tier({ maxBytes: 2_300, maxAge: 0, now: () => 0 })
  readonly #values = new Map<string, Buffer>()
  readonly #replies: Array<{ ticket: number, names: string[], values: Array<Buffer | null> }> = []
  #messages: Array<string[] | null> = []
  #version = 0
  /** The least version that this process may be given, by its own writes. */
  readonly #least = new Map<string, number>()

  run (step: Step): void {
    if (step.do === 'ask') {
      const values = step.names.map((name) => this.#values.get(name) ?? null)
      this.#replies.push({ ticket: this.#tier.sent(), names: step.names, values })
    } else if (step.do === 'answer') {
      const reply = this.#replies.shift()
      if (reply !== undefined) this.#tier.answered(reply.ticket, reply.names, reply.values)
    } else if (step.do === 'hear') {
      this.#hear()
    } else if (step.do === 'write') {
      this.#version++
      if (step.gone) this.#values.delete(step.name)
      else this.#values.set(step.name, bytes(`${this.#version}`))
      this.#messages.push([step.name])
      if (step.isOwn) this.#own([step.name], () => { this.#tier.change([step.name]) })
    } else if (step.do === 'flush') {
      this.#values.clear()
      this.#messages.push(null)
      this.#version++
      if (step.isOwn) this.#own(NAMES, () => { this.#tier.changeAll() })
    } else {
      // The messages under way are lost; what is asked for stays so.
      this.#messages = []
      this.#tier.changeAll()
    }
    this.#check()
  }

  #own (names: string[], change: () => void): void {
    for (const name of names) this.#least.set(name, this.#version)
    change()
  }

  #hear (): void {
    const names = this.#messages.shift()
    if (names === null) this.#tier.changeAll()
    else if (names !== undefined) this.#tier.change(names)
  }

  /** What is at hand is what Redis has, or a message about it is under way; it is never from before an own write. */
  #check (): void {
    for (const name of NAMES) {
      const copy = this.#tier.get(name)
      if (Number(copy?.bytes ?? Infinity) < (this.#least.get(name) ?? 0)) throw new Error(`${name} is from before an own write`)
      if (copy === null || this.#messages.some((names) => names === null || names.includes(name))) continue
      if (this.#values.get(name)?.equals(copy.bytes) !== true) throw new Error(`${name} is ${this.#values.get(name)}, not ${copy.bytes}`)
    }
    if (this.#tier.bytes > 2_300) throw new Error(`${this.#tier.bytes} bytes`)
  }
}

t.test('in any order of questions, answers, changes and messages', async (t) => {
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const model = new Model()
    for (const step of steps) model.run(step)
  }), { numRuns: 5_000 })
  t.pass()
})
