// What `cache.getOrSet` gives: equal to what was loaded, whatever it is, and nobody else's.
import fc from 'fast-check'
import t from 'tap'
import { inspect } from 'node:util'
import { beyondLookup, gate, onEachStore, settled } from '../helpers/app.js'

const shared = { deep: [1, 2] }
const cyclic: Record<string, unknown> = { name: 'ring' }
cyclic.self = cyclic

const KINDS: Record<string, unknown> = {
  undefined,
  null: null,
  'a boolean': false,
  zero: 0,
  '-0': -0,
  NaN,
  'an empty string': '',
  'a string of all planes': 'a\u0000ä€😀\ud800',
  'a BigInt': 2n ** 70n,
  'a Date': new Date('2026-11-23T05:00:00.123Z'),
  'no Date': new Date(NaN),
  'a Map': new Map<unknown, unknown>([['a', new Map([[1n, new Set(['x'])]])], [new Date(0), undefined]]),
  'a Set': new Set([1, 'a', null]),
  'a RegExp': /a+/gi,
  'an Error': new TypeError('no'),
  'a Buffer': Buffer.from([0, 255, 10]),
  'an empty Buffer': Buffer.alloc(0),
  'a Uint8Array': Uint8Array.of(1, 2, 3),
  'a Float64Array': Float64Array.of(1.5, NaN),
  'a BigInt64Array': BigInt64Array.of(-1n),
  'a part of an ArrayBuffer': new Uint16Array(Uint16Array.of(1, 2, 3, 4).buffer, 2, 2),
  'a DataView': new DataView(Uint8Array.of(1, 2, 3).buffer),
  'an ArrayBuffer': Uint8Array.of(1, 2).buffer,
  'an array with holes': [1, , 3], // eslint-disable-line no-sparse-arrays
  'rows of a database': [{ id: 1n, at: new Date(1), data: Buffer.from('x'), nothing: null, missing: undefined }],
  'the same object twice': [shared, shared],
  'a ring': cyclic
}

/** All there is to see: also what comparisons take for equal, such as -0 and 0, or never do, such as dates that are none. */
const shown = (value: unknown): string => inspect(value, { depth: Infinity, maxArrayLength: null, maxStringLength: null })

await onEachStore(t, async (t, open) => {
  const app = await open()
  let keys = 0

  for (const [name, value] of Object.entries(KINDS)) {
    await t.test(name, async (t) => {
      const key = `kind:${name}`
      const ask = async (): Promise<unknown> => await app.cache.getOrSet(key, {}, () => value)
      t.ok(Object.is(await ask(), value), 'a miss is what was loaded')
      await settled(app)
      const { hits } = app.cache.stats().values
      for (const hit of [await ask(), await ask()]) {
        t.equal(shown(hit), shown(value))
        if (typeof value === 'object' && value !== null) t.not(hit, value, 'but not the same')
        if (ArrayBuffer.isView(hit) && !Buffer.isBuffer(hit)) {
          t.equal(hit.buffer.byteLength, hit.byteLength, 'with memory of its own')
        }
      }
      t.equal(app.cache.stats().values.hits, hits + 2)
    })
  }

  await t.test('anything', async (t) => {
    const anything = fc.anything({
      withBigInt: true, withDate: true, withMap: true, withSet: true, withTypedArray: true, withSparseArray: true
    })
    await fc.assert(fc.asyncProperty(anything, async (value) => {
      const key = `any:${++keys}`
      const load = (): unknown => value
      if (await app.cache.getOrSet(key, {}, load) !== value && !Number.isNaN(value)) throw new Error('a miss is another value')
      await settled(app)
      const hit = await app.cache.getOrSet(key, {}, () => { throw new Error('it was not stored') })
      if (shown(hit) !== shown(structuredClone(value))) throw new Error('a hit is another value')
    }), { numRuns: 100 })
    t.pass('was equal')
  })

  await t.test('nobody gets what somebody else has', async (t) => {
    const list = (): { tags: string[], bytes: Buffer, view: Uint8Array } => ({ tags: ['a'], bytes: Buffer.from('ab'), view: Uint8Array.of(1) })
    const loading = gate()
    const load = async (): Promise<ReturnType<typeof list>> => {
      await loading.wait()
      return list()
    }
    const ask = async (): Promise<ReturnType<typeof list>> => await app.cache.getOrSet('mine', {}, load)
    const asked = [ask()]
    await loading.reached
    for (let i = 0; i < 4; i++) asked.push(ask())
    await beyondLookup(app)
    const { collapsed } = app.cache.stats().values
    loading.open()
    const given = await Promise.all(asked)
    t.equal(app.cache.stats().values.collapsed, collapsed + 4, 'the others waited for the first')
    await settled(app)
    given.push(await ask(), await ask())
    for (const [i, one] of given.entries()) {
      t.strictSame(one, list(), `the ${i}th`)
      one.tags.push('changed')
      one.bytes.fill(0)
      one.view.fill(0)
    }
    t.strictSame(await ask(), list(), 'what is stored stays')
  })

  await t.test('what can not be copied is given to its caller, and not stored', async (t) => {
    for (const value of [() => 1, { method () {} }, [Symbol('x')], Promise, new WeakMap()]) {
      const key = `odd:${++keys}`
      const { refusals: { payload = 0 } } = app.cache.stats().values
      t.equal(await app.cache.getOrSet(key, {}, () => value), value)
      await settled(app)
      t.equal(app.cache.stats().values.refusals.payload, payload + 1)
      t.equal(await app.cache.getOrSet(key, {}, () => 'again'), 'again')
      await settled(app)
    }
    const told = app.lines.filter(({ msg }) => msg === 'a value of cache.getOrSet or cache.put can not be stored')
    t.equal(told.length, 5)
    t.match(told[0], { level: 40, err: { message: /could not be cloned/ } })
  })
})
