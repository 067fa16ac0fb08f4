// What every store must do with generations, histories, and leases that nobody is to wait for. The part of the contract that
// store.ts' head tells in its third interleaving.
import type { Test } from 'tap'
import { encodeMarker, isValid, type Entry } from '../../plugin/entry/entry.js'
import type { Fill, FillResult, Lease, Reading, Store, Taken } from '../../plugin/store/store.js'
import { NOTHING_SEEN, leaseOf } from '../helpers/plain-store.js'

const LIFE = 60_000
const BYTES = Buffer.from('bytes')

/** What a handler started under: its lease, and what was read before that. */
interface Started { key: string, lease: Lease, history: string, tags: readonly string[] }

/** A store as a miss and a hit use it, one step at a time. */
export function actors (store: Store): {
  /** `between`: what happens when it has read, and has no lease yet. */
  start: (key: string, tags?: readonly string[], between?: () => Promise<void>) => Promise<Started>
  end: (started: Started, unreadTags?: readonly string[]) => Promise<FillResult>
  isServed: (started: Started, unreadTags?: readonly string[]) => Promise<boolean>
} {
  return {
    start: async (key, tags = [], between = async () => {}) => {
      const { history, generations } = await store.read({ key, variant: null, tags })
      await between()
      const missing = tags.filter((_, i) => generations[i] === null)
      const lease = leaseOf(await store.take(key, null, { ...NOTHING_SEEN, missing }))
      if (lease === null) throw new Error(`the lease of ${key} is held by somebody else`)
      return { key, lease, history, tags }
    },
    end: async ({ key, lease, tags }, unreadTags = []) =>
      await store.fill(key, lease, { bytes: BYTES, life: LIFE, varied: null, tags: [...tags, ...unreadTags], unreadTags }),
    isServed: async ({ key, lease, history, tags: known }, unreadTags = []) => {
      const tags = [...known, ...unreadTags]
      const { main, ...validity } = await store.read({ key, variant: null, tags })
      return main !== null && isValid({ history, asOf: lease.asOf } as Entry, { ...validity, tags })
    }
  }
}

export async function tagContract (t: Test, store: Store): Promise<void> {
  const { start, end, isServed } = actors(store)
  const generationOf = async (tag: string): Promise<number | null> => (await store.generations([tag])).generations[0]!

  await t.test('a generation that is missing is created above every asOf before, and not above that of its lease', async (t) => {
    const before = await start('tag:created:1')
    const { lease } = await start('tag:created:2', ['tag-created'])
    const generation = await generationOf('tag-created')
    t.type(generation, 'number')
    t.ok(generation! <= lease.asOf, `${generation} is not above ${lease.asOf}`)
    // A store that loses no generation needs to create none.
    if (store.kind === 'redis') t.ok(generation! > before.lease.asOf, `${generation} is above ${before.lease.asOf}`)
    await start('tag:created:3', ['tag-created'])
    t.equal(await generationOf('tag-created'), generation, 'what is there stays')
  })

  await t.test('an entry is valid until its tag is invalidated', async (t) => {
    const old = await start('tag:valid:1', ['tag-a', 'tag-b'])
    t.equal(await end(old), 'stored')
    t.equal(await isServed(old), true)
    await store.invalidate({ tags: ['tag-b'] })
    t.equal(await isServed(old), false, 'one of its tags is enough')
    const next = await start('tag:valid:1', ['tag-a', 'tag-b'])
    t.equal(await end(next), 'stored')
    t.equal(await isServed(next), true, 'one that was begun after it is valid')
    await store.invalidate({ tags: ['tag-c'] })
    t.equal(await isServed(next), true, 'another tag is none of its business')
    await store.invalidate({ tags: ['tag-c', 'tag-a'] })
    t.equal(await isServed(next), false, 'one of several invalidated together')
  })

  await t.test('what began before its tag was invalidated is not valid, however late it is filled', async (t) => {
    const slow = await start('tag:slow:1', ['tag-slow'])
    await store.invalidate({ tags: ['tag-slow'] })
    t.equal(await end(slow), 'stored', 'the lease is held')
    t.equal(await isServed(slow), false)
  })

  await t.test('a generation is raised above every asOf before, and never shrinks', async (t) => {
    const { lease } = await start('tag:raised:1', ['tag-raised'])
    let last = (await generationOf('tag-raised'))!
    for (let i = 0; i < 5; i++) {
      await store.invalidate({ tags: ['tag-raised'] })
      const generation = (await generationOf('tag-raised'))!
      t.ok(generation > last, `${generation} is above ${last}`)
      last = generation
    }
    t.ok(last > lease.asOf)
    const numbers = Array.from({ length: 20 }, (_, i) => i)
    const { lease: before } = await start('tag:raised:2', ['tag-raised-too'])
    await Promise.all(numbers.map(async () => { await store.invalidate({ tags: ['tag-raised', 'tag-raised-too'] }) }))
    const { generations: [one, other] } = await store.generations(['tag-raised', 'tag-raised-too'])
    t.ok(one! > before.asOf && other === one, 'many at once end at the last of them')
  })

  await t.test('a tag that only the response named and nobody knows counts as any tag\'s last invalidation', async (t) => {
    await store.invalidate({ tags: ['tag-any'] })
    const late = await start('tag:late:1')
    t.equal(await end(late, ['tag-late']), 'stored', 'nothing was invalidated since')
    t.equal(await isServed(late, ['tag-late']), true)
    t.ok((await generationOf('tag-late'))! <= late.lease.asOf)

    const other = await start('tag:late:2')
    await store.invalidate({ tags: ['tag-any'] })
    // Exactly known where no generation is ever lost; else it may have been this one.
    t.equal(await end(other, ['tag-late-2']), store.kind === 'redis' ? 'outdated' : 'stored')
    t.not(await store.take('tag:late:2', null, NOTHING_SEEN), 'held', 'its lease was given back')
  })

  await t.test('a response whose own tag was invalidated since is outdated, and its lease given back', async (t) => {
    const first = await start('tag:own:1')
    await end(first, ['tag-own'])
    const slow = await start('tag:own:1')
    await store.invalidate({ tags: ['tag-own'] })
    t.equal(await end(slow, ['tag-fine', 'tag-own']), 'outdated')
    t.equal(await isServed(slow, ['tag-own']), false)
    t.equal(await store.holder('tag:own:1', null), 'none')
    const next = await start('tag:own:1')
    t.equal(await end(next, ['tag-own']), 'stored')
    t.equal(await isServed(next, ['tag-own']), true)
  })

  await t.test('an own tag of a lost lease changes nothing', async (t) => {
    const slow = await start('tag:lost:1')
    await store.invalidate({ keys: ['tag:lost:1'] })
    t.not(await end(slow, ['tag-of-lost']), 'stored')
    t.equal(await isServed(slow, ['tag-of-lost']), false)
  })

  await t.test('everything is invalidated at once by another history', async (t) => {
    const [old, slow] = [await start('all:1', ['tag-all']), await start('all:2')]
    await end(old)
    t.equal(await isServed(old), true)
    await store.invalidate({ all: true })
    t.equal(await isServed(old), false)
    await end(slow)
    t.equal(await isServed(slow), false, 'what was under way is of the old one')
    const next = await start('all:1', ['tag-all'])
    t.not(next.history, old.history)
    t.equal(next.history.length, old.history.length)
    await end(next)
    t.equal(await isServed(next), true)
  })

  await t.test('very many tags at once', async (t) => {
    const started = await start('tag:many', ['many:1'])
    t.equal(await end(started), 'stored')
    await store.invalidate({ tags: Array.from({ length: 20_000 }, (_, i) => `many:${i}`) })
    t.equal(await isServed(started), false)
  })

  await t.test('a variant has a lease of its own from the beginning, under a marker that is put there first', async (t) => {
    const marker = encodeMarker({ members: ['accept-language'], epoch: 'epoch-number' })
    const other = encodeMarker({ members: ['accept-language'], epoch: 'another-one-' })
    const take = async (variant: string, bytes: Buffer | null, first: Buffer | null): Promise<Taken> =>
      await store.take('first:1', variant, { tags: [], missing: [], bytes, marker: first })
    const read = async (variant: string): Promise<Reading> => await store.read({ key: 'first:1', variant, tags: [] })
    const put = (variant: string, under: Buffer): Fill =>
      ({ bytes: BYTES, life: LIFE, tags: [], unreadTags: [], varied: { variant, marker: under, under: under.toString('latin1', 5, 17), most: 10 } })

    const de = leaseOf(await take('de', null, marker))
    t.equal(await take('en', null, other), 'changed', 'somebody has put one there')
    const { main } = await read('en')
    t.ok(main?.equals(marker))
    const en = leaseOf(await take('en', null, null))
    t.equal(await store.fill('first:1', de!, put('de', marker)), 'stored')
    await store.invalidate({ keys: ['first:1'] })
    t.equal(await store.fill('first:1', en!, put('en', marker)), 'lost', 'its marker has gone')

    const doomed = leaseOf(await take('fr', null, marker))
    await store.invalidate({ keys: ['first:1'] })
    const next = leaseOf(await take('fr', null, other))
    t.not(next, null, 'nobody waits for a lease under a marker that has gone')
    t.equal(await store.fill('first:1', doomed!, put('fr', marker)), 'lost')
    t.equal(await store.fill('first:1', next!, put('fr', other)), 'stored')
    t.ok((await read('fr')).varied?.equals(BYTES))
  })

  await t.test('a lease may be renewed as one that nobody is to wait for, and still fills', async (t) => {
    const started = await start('renew:pass')
    t.equal(await store.holder('renew:pass', null), 'held')
    t.equal(await store.renew('renew:pass', started.lease, true), true)
    t.equal(await store.holder('renew:pass', null), 'pass')
    t.equal(await store.take('renew:pass', null, NOTHING_SEEN), 'pass')
    t.equal(await store.renew('renew:pass', started.lease, true), true, 'again')
    t.equal(await end(started), 'stored')
  })

  await t.test('a lease lasts while it is renewed, and is lost for good', async (t) => {
    const { lease } = await start('renew:1')
    t.equal(await store.renew('renew:1', lease), true)
    t.equal(await store.renew('renew:1', { ...lease, token: 'another' }), false)
    await store.invalidate({ keys: ['renew:1'] })
    t.equal(await store.renew('renew:1', lease), false)
    const { lease: next } = await start('renew:1')
    t.equal(await store.renew('renew:1', lease), false, 'also where another has it')
    t.equal(await store.renew('renew:1', next), true)
    t.equal(await store.renew('renew:1', { ...next, variant: 'de' }), false, 'a variant\'s is another')
  })

  await t.test('a lease\'s name says whether somebody fills', async (t) => {
    t.equal(await store.holder('holder:1', null), 'none')
    const { lease } = await start('holder:1')
    t.equal(await store.holder('holder:1', null), 'held')
    t.equal(await store.holder('holder:1', 'de'), 'none')
    await store.release('holder:1', lease)
    t.equal(await store.holder('holder:1', null), 'none')
    const next = await start('holder:1')
    await end(next)
    t.equal(await store.holder('holder:1', null), 'none', 'a fill uses it up')
  })

  await t.test('a key that is marked pass is filled by one, and nobody waits for it', async (t) => {
    const first = await start('pass:1')
    await store.release('pass:1', { ...first.lease, token: 'another' }, true)
    t.equal(await store.holder('pass:1', null), 'held', 'somebody else can not mark it')
    t.equal(first.lease.isPass, false)
    await store.release('pass:1', first.lease, true)
    t.equal(await store.holder('pass:1', null), 'pass')
    t.not(await end(first), 'stored', 'its lease is given back')

    const { lease } = await start('pass:1')
    t.equal(lease.isPass, true)
    t.equal(await store.take('pass:1', null, NOTHING_SEEN), 'pass', 'a second one has neither the lease nor to wait')
    t.equal(await store.holder('pass:1', null), 'pass')
    t.equal(await store.renew('pass:1', lease), true)
    t.equal(await end({ ...first, lease }), 'stored')
    t.equal(await store.holder('pass:1', null), 'none', 'a response that could be shared ends it')
  })

  await t.test('a pass ends with its key', async (t) => {
    for (const invalidate of [
      async () => { await store.invalidate({ keys: ['pass:2'] }) },
      async () => { await store.invalidate({ prefixes: ['pass:'] }) }
    ]) {
      const { lease } = await start('pass:2')
      t.equal(lease.isPass, false)
      await store.release('pass:2', lease, true)
      await invalidate()
      t.equal(await store.holder('pass:2', null), 'none')
    }
  })

  await t.test('a variant is marked by itself', async (t) => {
    const lease = leaseOf(await store.take('pass:3', 'de', NOTHING_SEEN))
    await store.release('pass:3', lease!, true)
    t.strictSame(
      await Promise.all(['de', 'en', null].map(async (variant) => await store.holder('pass:3', variant))), ['pass', 'none', 'none']
    )
  })
}
