// What every store must do with a call that names several targets, of all kinds: nothing that began before it returned is
// left of any of them.
import type { Test } from 'tap'
import { encode, NOT_ENCODED } from '../../plugin/entry/entry.js'
import { ENTRY } from '../../plugin/store/layout.js'
import { withValue } from '../../plugin/store/keys.js'
import type { Store, Targets } from '../../plugin/store/store.js'
import { until } from '../helpers/until.js'
import { actors } from './tag-contract.js'

const HOUR = 60 * 60_000

function twice (targets: Partial<Targets>): Partial<Targets> {
  const named = Object.entries(targets as Record<string, string[]>)
  return Object.fromEntries(named.map(([kind, names]) => [kind, [...names, ...names]]))
}

function numbered (at: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${at}:${i + 1}`)
}

export async function jointContract (t: Test, store: Store): Promise<void> {
  const { start, end, isServed } = actors(store)
  const calls: Record<string, (at: string) => Partial<Targets>> = {
    'keys and a tag': (at) => ({ keys: [`${at}:1`, `${at}:2`, `${at}:3`], tags: [`${at}:tag`] }),
    'a key and a prefix': (at) => ({ keys: [`${at}:1`], prefixes: [`${at}:`] }),
    'a tag and a prefix': (at) => ({ tags: [`${at}:tag`], prefixes: [`${at}:`] }),
    'two prefixes': (at) => ({ prefixes: [`${at}:1`, `${at}:`] }),
    'all kinds': (at) => ({ keys: [`${at}:1`], tags: [`${at}:tag`], prefixes: [`${at}:`] }),
    'very many': (at) => ({ keys: [1, 2, 3].map((n) => `${at}:${n}`), tags: [`${at}:tag`, ...Array.from({ length: 600 }, (_, i) => `${at}:${i}`)] }),
    'each named twice': (at) => twice({ keys: [1, 2, 3].map((n) => `${at}:${n}`), tags: [`${at}:tag`] }),
    'very many, each named twice': (at) => twice({ keys: numbered(at, 300), tags: [`${at}:tag`] }),
    'prefixes, named twice': (at) => twice({ keys: [`${at}:1`], prefixes: [`${at}:`] }),
    'a key, and its value alone': (at) => ({ keys: [1, 2, 3].flatMap((n) => withValue(`${at}:${n}`)), tags: [`${at}:tag`] }),
    everything: () => ({ all: true, keys: ['joint:x'], tags: ['joint:x'], prefixes: ['joint:x'] })
  }
  for (const [name, call] of Object.entries(calls)) {
    await t.test(`together: ${name}`, async (t) => {
      const at = `joint:${name}`
      const tags = [`${at}:tag`]
      const [plain, tagged, slow] = [await start(`${at}:1`), await start(`${at}:2`, tags), await start(`${at}:3`, tags)]
      await end(plain)
      await end(tagged)
      t.strictSame([await isServed(plain), await isServed(tagged)], [true, true])
      await store.invalidate(call(at))
      await end(slow)
      t.strictSame([await isServed(plain), await isServed(tagged), await isServed(slow)], [false, false, false])
      for (const key of [1, 2, 3]) {
        const next = await start(`${at}:${key}`, tags)
        t.equal(await end(next), 'stored')
        t.equal(await isServed(next), true, 'what began behind it is served')
      }
      t.equal(await store.holder(`${at}:1`, null), 'none', 'and nothing is held')
    })
  }

  await t.test('of long prefixes nothing goes that only begins like them', async (t) => {
    const each = await Promise.all(['\u{1F600}', ...',@=!# \n*[%;\\'].map(async (letter) => {
      const at = `joint:long:${letter.repeat(200)}`
      const [under, beside] = [await start(`${at}:1`), await start(`${at}+1`)]
      await end(under)
      await end(beside)
      return { letter, prefix: `${at}:`, under, beside }
    }))
    await store.invalidate({ prefixes: each.map(({ prefix }) => prefix), keys: ['joint:other'] })
    for (const { letter, under } of each) t.equal(await isServed(under), false, letter)
    // On a Cluster the floor says so for two seconds more, and has only the heads.
    for (const { letter, beside } of each) await until(async () => await isServed(beside), `${letter} is there`)
  })

  await t.test('softly: by key, by tag, and both', async (t) => {
    for (const [i, [isKey, tags]] of ([[true, []], [false, ['joint:soft']], [true, ['joint:soft', 'joint:other']]] as const).entries()) {
      const key = `joint:soft:${i}`
      const { lease, history } = await start(key, tags)
      const now = Date.now()
      const times = { storedAt: now, staleAt: now + HOUR, deadAt: now + 2 * HOUR, rescueUntil: 0, asOf: lease.asOf }
      const shape = { status: 200, headers: [], body: Buffer.from('x'), encoded: NOT_ENCODED, kind: 'text' as const, epoch: '', cost: 0, softenings: [] }
      const bytes = encode({ ...shape, ...times, history, tags }, key)
      await store.fill(key, lease, { bytes, life: 2 * HOUR, varied: null, tags, unreadTags: [] })
      const state = async (): Promise<object> => {
        const { main, generations, softened } = await store.read({ key, variant: null, tags })
        return {
          isThere: main !== null && generations.every((generation) => generation !== null && generation <= lease.asOf),
          isSoft: main !== null && (main.readDoubleBE(ENTRY.softenedAt) > 0 || softened.some((value) => value > lease.asOf))
        }
      }
      t.strictSame(await state(), { isThere: true, isSoft: false })
      // Each is named twice, as a caller may have put together what several parts of it had to end.
      await store.soften({ keys: isKey ? [key, key] : [], tags: [...tags, ...tags] })
      t.strictSame(await state(), { isThere: true, isSoft: true }, 'it is stale, and there')
      t.equal(await store.holder(key, null), 'none', 'and may be filled again')
    }
  })
}
