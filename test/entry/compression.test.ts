// Bodies are compressed one after another, as many as there is time for, and what is given up ends.
import { randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import t from 'tap'
import { Compressor } from '../../plugin/entry/compression.js'
import { breakGzip, holdGzip } from '../helpers/zlib.js'

const TEXT = Buffer.from('Everything that is cached is sent again. '.repeat(1000))

t.test('in both codings, each of which gives the body again', async (t) => {
  const [br, gzip, ...others] = await new Compressor().run(TEXT)
  t.strictSame([br!.coding, gzip!.coding, others.length], ['br', 'gzip', 0])
  t.ok(brotliDecompressSync(br!.body).equals(TEXT))
  t.ok(gunzipSync(gzip!.body).equals(TEXT))
})

t.test('what is longer than one piece', async (t) => {
  const long = Buffer.from(randomBytes(1024 * 1024).toString('hex'))
  const [br, gzip] = await new Compressor().run(long)
  t.ok(brotliDecompressSync(br!.body).equals(long))
  t.ok(gunzipSync(gzip!.body).equals(long))
})

t.test('not in a coding that does not make it smaller', async (t) => {
  t.strictSame(await new Compressor().run(randomBytes(2000)), [])
  t.strictSame(await new Compressor().run(Buffer.alloc(0)), [])
  // gzip has 18 bytes around it, brotli a few.
  const codings = (await new Compressor().run(Buffer.from('ababababababababab'))).map(({ coding }) => coding)
  t.strictSame(codings, ['br'])
})

t.test('one body at a time, in their order', async (t) => {
  const held = holdGzip(t)
  const compressor = new Compressor()
  const order: number[] = []
  const all = [1, 2, 3].map(async (n) => {
    const encoded = await compressor.run(TEXT)
    order.push(n)
    t.equal(encoded.length, 2)
  })
  await held.reached
  for (let i = 0; i < 10; i++) await turn()
  t.equal(held.streams.length, 1, 'the others wait')
  // Those that come when some have gone wait, too.
  const later = all[0]!.then(async () => await compressor.run(TEXT))
  held.open()
  await Promise.all([...all, later])
  t.strictSame(order, [1, 2, 3])
  t.strictSame([held.streams.length, held.mostAtOnce()], [4, 1])
  t.equal((await compressor.run(TEXT)).length, 2, 'nothing is held when all have gone')
})

t.test('what is too much to wait is not compressed, and does not keep later ones from it', async (t) => {
  const held = holdGzip(t)
  const compressor = new Compressor()
  const first = compressor.run(TEXT)
  await held.reached
  const large = Buffer.alloc(5 * 1024 * 1024, 'x')
  const second = compressor.run(large)
  t.strictSame(await compressor.run(large), [], '10 MiB would wait')
  const third = compressor.run(TEXT)
  held.open()
  for (const waited of [first, second, third]) t.equal((await waited).length, 2)
  const again = [compressor.run(TEXT), compressor.run(large), compressor.run(TEXT)]
  for (const waited of again) t.equal((await waited).length, 2, 'what has waited is not counted any more')
})

t.test('nor are more small ones than there is time for', async (t) => {
  const held = holdGzip(t)
  const compressor = new Compressor()
  const first = compressor.run(TEXT)
  await held.reached
  const small = TEXT.subarray(0, 1024)
  const waiting = Array.from({ length: 512 }, async () => await compressor.run(small))
  t.strictSame(await compressor.run(small), [], 'the 513th')
  held.open()
  for (const encoded of await Promise.all([first, ...waiting])) if (encoded.length !== 2) t.fail('it waited, and was not compressed')
  t.equal((await compressor.run(small)).length, 2)
})

for (const when of ['at once', 'on its way'] as const) {
  t.test(`a coding that fails ${when}: it rejects, and the next has its turn`, async (t) => {
    const compressor = new Compressor()
    await t.test('failing', async (t) => {
      breakGzip(t, when)
      const both = [compressor.run(TEXT), compressor.run(TEXT)]
      for (const one of both) await t.rejects(one, { message: 'no memory for it' })
    })
    t.equal((await compressor.run(TEXT)).length, 2)
  })
}

t.test('closed: what is under way is given up, what waits is left, and nothing begins', async (t) => {
  const held = holdGzip(t)
  const compressor = new Compressor()
  const [running, waiting] = [compressor.run(TEXT), compressor.run(TEXT)]
  const failing = t.rejects(running, { message: /given up/ })
  await held.reached
  compressor.close()
  await failing
  t.strictSame(await waiting, [])
  t.strictSame(await compressor.run(TEXT), [])
  t.strictSame(held.streams.map(({ destroyed }) => destroyed), [true])
})
