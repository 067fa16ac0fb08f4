// What of a request's values has a key: any two that are different have two, and what can't be told apart has none.
import fc from 'fast-check'
import { isDeepStrictEqual } from 'node:util'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { buildKey, defaultKey, escapeValue, copyPlain } from '../../plugin/key/key.js'

/** What makes names and texts that are hard to tell apart. */
const texts = fc.oneof(
  fc.constantFrom('', '1', '1n', '-0', 'NaN', 'null', 'undefined', 'true', '__proto__', 'constructor', 'toJSON', ',', '%-', '%n', '%[%]', '{', '}', '"'),
  fc.string({ unit: 'binary', maxLength: 3 })
)
const scalars = fc.oneof(
  texts, fc.double(), fc.bigInt({ min: -9n, max: 9n }),
  fc.constantFrom(null, undefined, true, false, 0, -0, 1, 1n, 0n, NaN, Infinity, -Infinity)
)
const dates = fc.constantFrom(0, -0, 1, NaN).map((time) => new Date(time))
const values: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof({ maxDepth: 4 }, scalars, dates, tie('list'), tie('object')),
  list: fc.array(tie('value'), { maxLength: 3 }),
  object: fc.array(fc.tuple(texts, tie('value')), { maxLength: 3 }).map((pairs) => Object.fromEntries(pairs))
})).value

/** A number, a boolean or a bigint is its text, and a list of such: the route's schema says which of them it is. */
const asText = (value: unknown): unknown => {
  const isFinite = typeof value === 'number' && Number.isFinite(value)
  if (isFinite) return Object.is(value, -0) ? '-0' : String(value)
  return typeof value === 'boolean' || typeof value === 'bigint' ? String(value) : value
}
const seen = (value: unknown): unknown => {
  const isFlat = Array.isArray(value) && value.every((one) => typeof one !== 'object' || one === null)
  return isFlat ? value.map(asText) : asText(value)
}
/** Two invalid dates are the same, too. */
const dated = (value: unknown): unknown => {
  if (value instanceof Date) return { date: value.getTime() }
  if (Array.isArray(value)) return value.map(dated)
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, dated(one)])) : value
}
/** -0 is not 0 for it, and NaN is NaN. */
const isSame = (one: unknown, other: unknown): boolean => isDeepStrictEqual(dated(one), dated(other))

t.test('any two different values, two keys', async (t) => {
  let compared = 0
  fc.assert(fc.property(values, values, (one, other) => {
    const isOne = escapeValue(one) === escapeValue(other)
    if (!isSame(seen(one), seen(other))) compared++
    return isOne === isSame(seen(one), seen(other))
  }), { numRuns: 50_000 })
  t.ok(compared > 30_000, `${compared} pairs compared`)
})

t.test('any two different queries, two default keys', async () => {
  type Query = Record<string, unknown>
  const pairs = fc.array(fc.tuple(texts, values), { maxLength: 2 })
  const query: fc.Arbitrary<Query> = pairs.map((pairs) => Object.fromEntries(pairs))
  const seenIn = (query: Query): object =>
    Object.fromEntries(Object.entries(query).map(([name, value]) => [name, seen(value)]))
  fc.assert(fc.property(query, query, (one, other) => {
    return (defaultKey('/', { query: one }) === defaultKey('/', { query: other })) === isSame(seenIn(one), seenIn(other))
  }), { numRuns: 30_000 })
})

t.test('pairs that were one', async (t) => {
  const pairs: [string, unknown, unknown][] = [
    ['nested NaN and null', { a: NaN }, { a: null }],
    ['Infinity and null', [{ a: Infinity }], [{ a: null }]],
    ['a bigint and its text', { a: 1n }, { a: '1n' }],
    ['a bigint and a number', { a: 1n }, { a: 1 }],
    ['-0 and 0', { a: -0 }, { a: 0 }],
    ['-0 and 0 alone', -0, 0],
    ['a member that is undefined, and none', { a: undefined }, {}],
    ['null and nothing', null, undefined],
    ['null and nothing in a list', [null], [undefined]],
    ['a date and its text', { a: new Date(0) }, { a: new Date(0).toJSON() }],
    ['an invalid date and null', { a: new Date(NaN) }, { a: null }],
    ['undefined in a list and null', [['x'], undefined], [['x'], null]],
    ['NaN and its text', NaN, 'NaN'],
    ['a member named __proto__, and none', JSON.parse('{"__proto__":{"a":1}}'), {}]
  ]
  for (const [name, one, other] of pairs) t.not(escapeValue(one), escapeValue(other), name)
})

class Secret {
  #value: number
  constructor (value: number) { this.#value = value }
  get value (): number { return this.#value }
}

const ring: { self?: unknown } = {}
ring.self = ring
let doubled: unknown = {}
for (let i = 0; i < 60; i++) doubled = { x: doubled, y: doubled }

/** What has no key, and what it is called. */
const keyless: [unknown, RegExp][] = [
  [new Set([1]), /a Set/],
  [new Map([[1, 2]]), /a Map/],
  [new WeakMap(), /a WeakMap/],
  [new URLSearchParams('a=1'), /a URLSearchParams/],
  [new URL('http://localhost'), /a URL/],
  [/x/, /a RegExp/],
  [Promise.resolve(1), /a Promise/],
  [new Error('x'), /an? Error/],
  [Buffer.from('x'), /a Buffer/],
  [new Uint8Array(2), /a Uint8Array/],
  [new ArrayBuffer(2), /a ArrayBuffer/],
  [new Secret(1), /a Secret/],
  [Object.create({ inherited: 1 }), /a Object|an object of a class/],
  [new (class extends Array {})(), /a list|a |an object/],
  [new (class Late extends Date {})(), /a Late/],
  [Object.assign(new Date(0), { zone: 'x' }), /a Date/],
  [Object(1), /a Number/],
  [Object('x'), /a String/],
  [Object(true), /a Boolean/],
  [Object(1n), /a BigInt/],
  [Symbol('x'), /a symbol/],
  [() => 1, /a function/],
  [{ toJSON: () => 1 }, /a function/],
  [{ [Symbol('x')]: 1 }, /symbols/],
  [Object.defineProperty({}, 'x', { value: 1 }), /hidden/],
  [{ get x () { return Math.random() } }, /a getter/],
  [Object.defineProperty(['a'], 0, { get: () => Math.random(), enumerable: true }), /a getter/],
  [new Array(3), /holes/],
  [new Array(2 ** 32 - 1), /holes/],
  [Object.assign(['a'], { index: 1 }), /properties/],
  [Object.assign(new Array(1), { index: 1 }), /holes/],
  [(function (..._: unknown[]) { return arguments })(1), /symbols/],
  [ring, /deeper/],
  [doubled, /more than 100000 values/],
  [new Array(100_001).fill({}), /more than 100000 values/]
]

t.test('what can not be told apart has no key, at any depth', async (t) => {
  for (const [value, name] of keyless) {
    for (const outer of [value, [value], { a: value }, [[{ a: [value] }]]]) {
      t.throws(() => escapeValue(outer), { message: name })
    }
  }
})

t.test('an error names the place', async (t) => {
  const ids = new Set([1])
  t.throws(() => buildKey('x:{ids}', { ids }), { code: 'FRC_KEY', message: /^ids is a Set, and a key can't be built from that: only plain objects/ })
  t.throws(() => buildKey('x:{query.ids}', { ids }), { message: /^query\.ids is a Set/ })
  t.throws(() => defaultKey('/', { query: { f: { list: ['a', { ids }] } } }), { message: /^query\.f\.list\[1\]\.ids is a Set/ })
  t.throws(() => defaultKey('/', { query: new URLSearchParams('a=1') }), { message: /^query is a URLSearchParams/ })
  t.throws(() => defaultKey('/', { query: 'a=1' }), { message: /^query is a string/ })
  t.throws(() => defaultKey('/', { query: ['a'] }), { message: /^query is a Array/ })
  t.throws(() => defaultKey('/', { params: { ['x'.repeat(5_000)]: ids } }), { message: /^params\.x{80,100}\.\.\. is a Set/ })
})

t.test('objects of another realm are as plain as ours, as under jest', async (t) => {
  const foreign: unknown = runInNewContext('({ a: [1, { b: new Date(5) }], c: "x" })')
  t.equal(escapeValue(foreign), escapeValue({ a: [1, { b: new Date(5) }], c: 'x' }))
  t.throws(() => escapeValue(runInNewContext('new Set([1])')))
  t.throws(() => escapeValue(runInNewContext('new (class Object { #a = 1 })()')))
})

t.test('a copy is as plain as what it was made of', async (t) => {
  fc.assert(fc.property(values, (value) => {
    const copy = copyPlain(value)
    return isSame(copy, value) && (typeof value !== 'object' || value === null || value instanceof Date || copy !== value)
  }))
  for (const [value] of keyless) {
    if (value === ring || value === doubled || (Array.isArray(value) && value.length > 100_000)) continue
    if (typeof value === 'object' && value !== null && 'toJSON' in value && !(value instanceof URL) && !(value instanceof Date)) continue
    t.equal(copyPlain({ value }).value, value, 'what is not, is left where it is')
  }
  const copy = copyPlain(ring)
  t.equal(copy.self, copy)
  t.not(copy, ring)
  let deep: unknown = 1
  for (let i = 0; i < 100_000; i++) deep = [deep]
  t.doesNotThrow(() => copyPlain(deep))
})
