// What every store must do, whatever it is made of. Each case has keys of its own, so that one store serves them all.
import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { decodeMarker, encodeMarker } from '../../plugin/entry/entry.js'
import type { FillResult, Lease, Store, Varied } from '../../plugin/store/store.js'
import { NOTHING_SEEN, leaseOf, plain } from '../helpers/plain-store.js'
import { until } from '../helpers/until.js'
import { jointContract } from './joint-contract.js'
import { quarantineContract } from './quarantine-contract.js'
import { tagContract } from './tag-contract.js'

const LIFE = 60_000

export async function contract (t: Test, contracted: Store): Promise<void> {
  const store = plain(contracted)
  const take = async (key: string): Promise<Lease> => {
    const lease = await store.take(key)
    if (lease === null) throw new Error(`the lease of ${key} is held by somebody else`)
    return lease
  }
  const put = async (key: string, bytes: Buffer = Buffer.from(key)): Promise<void> => {
    const result = await store.fill(key, await take(key), { bytes, life: LIFE })
    if (result !== 'stored') throw new Error(`${key} was not stored: ${result}`)
  }
  const has = async (key: string): Promise<boolean> => await store.read(key) !== null

  await t.test('what was filled is read, byte for byte', async (t) => {
    t.equal(await store.read('bytes:1'), null, 'nothing at first')
    for (const size of [0, 1, 1000, 2_000_000]) {
      const bytes = randomBytes(size)
      await put(`bytes:${size}`, bytes)
      t.ok(bytes.equals((await store.read(`bytes:${size}`))!), `${size} bytes`)
    }
  })

  await t.test('a fill replaces what was there', async (t) => {
    await put('replace', Buffer.from('old'))
    await put('replace', Buffer.from('new'))
    t.equal(String(await store.read('replace')), 'new')
  })

  await t.test('a lease is held by one', async (t) => {
    const lease = await take('lease:one')
    t.equal(await store.take('lease:one'), null, 'while it is held')
    await store.release('lease:one', { ...lease, token: 'another' })
    t.equal(await store.take('lease:one'), null, 'somebody else can not give it back')
    await store.release('lease:one', lease)
    t.not(await store.take('lease:one'), null, 'given back')
  })

  await t.test('a lease has a token of its own, and the clock', async (t) => {
    const lease = await take('lease:token')
    await store.release('lease:token', lease)
    t.not((await take('lease:token')).token, lease.token)
    t.ok(Number.isSafeInteger(lease.asOf) && lease.asOf >= 0, `asOf ${lease.asOf}`)
  })

  await t.test('a lease is not given for what was filled since it was looked for', async (t) => {
    const take = async (bytes: Buffer | null): Promise<unknown> => await contracted.take('seen', null, { tags: [], missing: [], bytes, marker: null })
    const [E, F] = [randomBytes(20), randomBytes(20)]
    await put('seen', E)
    t.equal(await take(null), 'changed', 'there was nothing then')
    const seen = await store.read('seen')
    await put('seen', F)
    t.equal(await take(seen), 'changed', 'there was something else')
    t.match(await take(await store.read('seen')), { isPass: false }, 'it is as it was seen')
  })

  await t.test('only the holder ends what is there, and nobody is to wait for the key then', async (t) => {
    await put('end:1')
    const lease = await take('end:1')
    await contracted.end('end:1', { ...lease, token: 'another' }, '')
    t.equal(await has('end:1'), true, 'somebody else can not')
    await contracted.end('end:1', lease, '')
    t.equal(await has('end:1'), false)
    t.equal(await contracted.holder('end:1', null), 'pass')
    t.equal(await store.fill('end:1', lease, { bytes: Buffer.from('late'), life: LIFE }), 'lost', 'the lease is used up')
    await put('end:2', Buffer.from('old'))
    const old = await take('end:2')
    await store.invalidate({ keys: ['end:2'] })
    await put('end:2', Buffer.from('new'))
    await contracted.end('end:2', old, '')
    t.equal(String(await store.read('end:2')), 'new', 'what was stored since stays')
  })

  await t.test('only the holder fills, and once', async (t) => {
    await put('fill:held', Buffer.from('kept'))
    const lease = await take('fill:held')
    const old = { bytes: Buffer.from('old'), life: LIFE }
    t.equal(await store.fill('fill:held', { ...lease, token: 'another' }, old), 'lost')
    t.equal(await store.fill('fill:never-taken', lease, old), 'lost')
    t.equal(String(await store.read('fill:held')), 'kept')
    t.equal(await store.fill('fill:held', lease, { bytes: Buffer.from('mine'), life: LIFE }), 'stored')
    t.equal(await store.fill('fill:held', lease, old), 'lost', 'the lease is used up')
    t.equal(String(await store.read('fill:held')), 'mine')
    t.not(await store.take('fill:held'), null, 'and free again')
  })

  await t.test('invalidating removes the entries of these keys only, and says how many', async (t) => {
    for (const key of ['inv:1', 'inv:2', 'inv:11']) await put(key)
    t.equal(await store.invalidate({ keys: ['inv:1', 'inv:2', 'inv:3'] }), 2)
    t.equal(await store.invalidate({ keys: ['inv:1', 'inv:2'] }), 0)
    t.strictSame([await has('inv:1'), await has('inv:2'), await has('inv:11')], [false, false, true])
    t.equal(await store.invalidate({ keys: [] }), 0)
  })

  await t.test('a fill that was under way when its key was invalidated is lost', async (t) => {
    const slow = await take('race:key')
    t.equal(await store.invalidate({ keys: ['race:key'] }), 0, 'there was no entry yet')
    t.equal(await store.fill('race:key', slow, { bytes: Buffer.from('old'), life: LIFE }), 'lost')
    t.equal(await has('race:key'), false)
    const next = await take('race:key')
    t.equal(await store.fill('race:key', slow, { bytes: Buffer.from('old'), life: LIFE }), 'lost', 'also under a new lease')
    t.equal(await store.fill('race:key', next, { bytes: Buffer.from('new'), life: LIFE }), 'stored')
  })

  await t.test('invalidating a prefix removes all that begin so, and nothing else', async (t) => {
    for (const key of ['p:a', 'p:a:1', 'p:ab', 'p:b', 'q:a']) await put(key)
    t.equal(await store.invalidate({ prefixes: ['p:a'] }), 3)
    t.strictSame(await Promise.all(['p:a', 'p:a:1', 'p:ab', 'p:b', 'q:a'].map(has)), [false, false, false, true, true])
    t.equal(await store.invalidate({ prefixes: ['p:a'] }), 0)
  })

  await t.test('a prefix is taken literally', async (t) => {
    for (const key of ['g*:1', 'gx:1', 'g[ab]:1', 'ga:1', 'g\\:1', 'g?:1', 'g^-:1', 'gé:1']) await put(key)
    for (const [prefix, removed] of [['g*', 1], ['g[ab]', 1], ['g\\', 1], ['g?', 1], ['g^-', 1], ['gé', 1]] as const) {
      t.equal(await store.invalidate({ prefixes: [prefix] }), removed, prefix)
    }
    t.strictSame([await has('gx:1'), await has('ga:1')], [true, true])
  })

  await t.test('a fill that was under way when its prefix was invalidated is lost', async (t) => {
    const slow = await take('race:prefix:1')
    const other = await take('race:other:1')
    await store.invalidate({ prefixes: ['race:prefix:'] })
    t.equal(await store.fill('race:prefix:1', slow, { bytes: Buffer.from('old'), life: LIFE }), 'lost')
    t.equal(await store.fill('race:other:1', other, { bytes: Buffer.from('new'), life: LIFE }), 'stored')
  })

  await t.test('many keys at once', async (t) => {
    const keys = Array.from({ length: 1_500 }, (_, i) => `many:${i}`)
    // By the hundred: on a busy machine the leases of all would end before their fills.
    for (let i = 0; i < keys.length; i += 100) {
      await Promise.all(keys.slice(i, i + 100).map(async (key) => { await put(key) }))
    }
    t.equal(await store.invalidate({ keys: keys.slice(0, 700) }), 700)
    t.equal(await store.invalidate({ prefixes: ['many:'] }), 800)
    t.equal((await Promise.all(keys.map(has))).filter(Boolean).length, 0)
  })

  await variants(t, contracted)
  await tagContract(t, contracted)
  await quarantineContract(t, contracted)
  await jointContract(t, contracted)
}

/** Variants under a marker; see the head of the port. */
async function variants (t: Test, store: Store): Promise<void> {
  const varied = (variant: string, epoch: string, under: string): Varied =>
    ({ variant, marker: encodeMarker({ members: ['accept-language'], epoch }), under, most: 10 })
  const bytes = Buffer.from('bytes')
  const NO_TAGS = { tags: [], unreadTags: [] }
  const varying = async (key: string, variant: string): Promise<Buffer | null> => {
    return (await store.read({ key, variant, tags: [] })).varied
  }
  const take = async (key: string, variant: string | null): Promise<Lease | null> => {
    return leaseOf(await store.take(key, variant, NOTHING_SEEN))
  }
  const epochOf = async (key: string): Promise<string | undefined> => {
    const { main } = await store.read({ key, variant: null, tags: [] })
    return main === null ? undefined : decodeMarker(main)?.epoch
  }
  const put = async (key: string, variant: string, epoch: string, under: string): Promise<FillResult> => {
    const lease = await take(key, under === '' ? null : variant)
    const place = varied(variant, epoch, under)
    return await store.fill(key, lease!, { bytes: Buffer.from(variant), life: LIFE, ...NO_TAGS, varied: place })
  }
  const [E1, E2] = ['epoch-number', 'another-one-']

  await t.test('a variant is stored with its marker, and read with it', async (t) => {
    t.equal(await put('v:read', 'de', E1, ''), 'stored')
    t.equal(await put('v:read', 'en', E1, E1), 'stored')
    t.equal(await epochOf('v:read'), E1)
    t.equal(String(await varying('v:read', 'de')), 'de')
    t.equal(String(await varying('v:read', 'en')), 'en')
    t.equal(await varying('v:read', 'fr'), null)
  })

  await t.test('variants have leases of their own', async (t) => {
    const lease = await take('v:lease', 'de')
    t.equal(await take('v:lease', 'de'), null)
    t.not(await take('v:lease', 'en'), null)
    t.not(await take('v:lease', null), null)
    await store.release('v:lease', lease!)
    t.not(await take('v:lease', 'de'), null)
  })

  await t.test('a variant lands only under the marker that it was missed under', async (t) => {
    await put('v:epoch', 'de', E1, '')
    const slow = await take('v:epoch', 'en')
    t.equal(await store.invalidate({ keys: ['v:epoch'] }), 1)
    t.equal(await store.fill('v:epoch', slow!, { bytes, life: LIFE, ...NO_TAGS, varied: varied('en', E1, E1) }), 'lost', 'no marker')
    const slower = await take('v:epoch', 'fr')
    t.equal(await put('v:epoch', 'de', E2, ''), 'stored')
    t.equal(await store.fill('v:epoch', slower!, { bytes, life: LIFE, ...NO_TAGS, varied: varied('fr', E1, E1) }), 'lost', 'another marker')
    t.equal(await epochOf('v:epoch'), E2)
    t.equal(await varying('v:epoch', 'fr'), null)
    t.strictSame([await store.holder('v:epoch', 'en'), await store.holder('v:epoch', 'fr')], ['none', 'none'], 'nobody waits for them')
  })

  await t.test('a variant ends only under the marker that it was missed under, and no marker ends', async (t) => {
    await put('v:end', 'de', E1, '')
    await put('v:end', 'en', E1, E1)
    await store.end('v:end', (await take('v:end', 'de'))!, E1)
    t.strictSame([await varying('v:end', 'de'), String(await varying('v:end', 'en'))], [null, 'en'])
    const slow = await take('v:end', 'en')
    await store.invalidate({ keys: ['v:end'] })
    t.equal(await put('v:end', 'en', E2, ''), 'stored')
    await store.end('v:end', slow!, E1)
    t.equal(String(await varying('v:end', 'en')), 'en', 'what was stored under another marker stays')
    await store.end('v:end', (await take('v:end', null))!, '')
    t.equal(await epochOf('v:end'), E2)
  })

  await t.test('a new marker replaces the one that it was missed under', async (t) => {
    await put('v:union', 'de', E1, '')
    t.equal(await put('v:union', 'en', E2, E1), 'stored')
    t.equal(await epochOf('v:union'), E2)
  })

  await t.test('of more than there may be, the one goes that was stored longest ago', async (t) => {
    const key = 'v:most'
    const put = async (variant: string, under: string, most: number): Promise<FillResult> => {
      const lease = await take(key, under === '' ? null : variant)
      const place = { ...varied(variant, E1, under), most }
      return await store.fill(key, lease!, { bytes: Buffer.from(variant), life: LIFE, ...NO_TAGS, varied: place })
    }
    const left = async (): Promise<string[]> => {
      const read = await Promise.all(['a', 'b', 'c', 'd'].map(async (variant) => String(await varying(key, variant) ?? '')))
      return read.filter((text) => text !== '')
    }
    t.equal(await put('a', '', 3), 'stored')
    t.equal(await put('b', E1, 3), 'stored')
    t.equal(await put('c', E1, 3), 'stored')
    t.equal(await put('a', E1, 3), 'stored', 'the same one again')
    // Where the script arrives twice, the second time tells no more than that it is stored.
    t.match(await put('d', E1, 3), /^(crowded|stored)$/)
    await until(async () => (await left()).join() === 'a,c,d', 'the oldest goes')
    t.strictSame(await left(), ['a', 'c', 'd'])
    t.match(await put('d', E1, 1), /^(crowded|stored)$/, 'there may be fewer now')
    await until(async () => (await left()).join() === 'd', 'all but one go')
    t.strictSame(await left(), ['d'])
    t.equal(await epochOf(key), E1)
  })

  for (const [what, end] of Object.entries<(key: string) => Promise<unknown>>({
    'invalidating the key': async (key) => await store.invalidate({ keys: [key] }),
    'invalidating it with others': async (key) => await store.invalidate({ keys: ['v:other', key], tags: ['v:tag'] }),
    'invalidating its prefix': async (key) => await store.invalidate({ prefixes: [key.slice(0, -1)] }),
    'making it stale': async (key) => await store.soften({ keys: [key], tags: [] }),
    'making it stale, and a tag': async (key) => await store.soften({ keys: [key], tags: ['v:tag'] }),
    'filling what was seized': async (key) => {
      const { lease } = (await store.seize(key))!
      await store.fill(key, lease, { bytes, life: LIFE, ...NO_TAGS, varied: null })
    },
    quarantine: async (key) => await store.quarantine({ keys: [key], tags: [] }, 'token', 1_000),
    'a marker of other fields': async (key) => await put(key, 'new', E2, E1),
    'a marker after the first was lost': async (key) => await put(key, 'new', E2, '')
  })) {
    await t.test(`variants do not stay: ${what}`, async (t) => {
      const key = `v:${what.replaceAll(' ', '-')}:1`
      await put(key, 'de', E1, '')
      await put(key, 'en', E1, E1)
      await end(key)
      await until(async () => await varying(key, 'de') === null && await varying(key, 'en') === null, 'they go')
      t.strictSame([await varying(key, 'de'), await varying(key, 'en')], [null, null])
    })
  }

  await t.test('invalidating a prefix ends variants and their fills', async (t) => {
    await put('v:prefix:1', 'de', E1, '')
    const slow = await take('v:prefix:1', 'en')
    t.equal(await store.invalidate({ prefixes: ['v:prefix:'] }), 1, 'one key')
    t.equal(await put('v:prefix:1', 'de', E1, ''), 'stored')
    t.equal(await store.fill('v:prefix:1', slow!, { bytes, life: LIFE, ...NO_TAGS, varied: varied('en', E1, E1) }), 'lost')
  })
}
