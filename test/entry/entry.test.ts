// For how long an entry may be served that was made stale: by its key, by tags, by several of them, by wrong clocks.
import fc from 'fast-check'
import t from 'tap'
import { asSoftened, useOf, type Entry, type Use } from '../../plugin/entry/entry.js'
import { MOST_SKEW } from '../../plugin/store/store.js'

const AS_OF = 1_000_000_000
const MINUTE = 60_000
/** When its handler began: the clock tells the same time, in µs. */
const BEGAN = AS_OF / 1000
/** And when it was stored. */
const STORED = BEGAN + 100

type Instants = Pick<Entry, 'asOf' | 'storedAt' | 'cost' | 'softenings' | 'staleAt' | 'deadAt' | 'rescueUntil'>

function entryOf ({ life, stale, rescue }: { life: number, stale: number, rescue: number }): Entry {
  const staleAt = STORED + life
  const instants: Instants = {
    asOf: AS_OF, storedAt: STORED, cost: 100, softenings: [], staleAt, deadAt: staleAt + stale, rescueUntil: staleAt + rescue
  }
  return instants as Entry
}

const entries = fc.record({ life: fc.nat(MINUTE), stale: fc.nat(MINUTE), rescue: fc.nat(MINUTE) }).map(entryOf)
const instants = fc.integer({ min: BEGAN + 1, max: BEGAN + 4 * MINUTE })
/** By tags: generations that are not above the entry's `asOf` are of before it. */
const clocks = fc.oneof(instants.map((instant) => instant * 1000), fc.constantFrom(0, AS_OF - 5, AS_OF))
const softenings = fc.array(clocks, { maxLength: 5 })

function seen (entry: Entry, softened: readonly number[], now: number): Record<'fresh' | 'alive' | 'rescuable', boolean> {
  const judged = asSoftened(entry, { softened })
  return {
    fresh: useOf(judged, now, {}) !== null,
    alive: useOf(judged, now, { mayBeStale: true }) !== null,
    rescuable: useOf(judged, now, { mayRescue: true }) !== null
  }
}

t.test('what an entry is good for: fresh before stale, stale before a stand-in', async (t) => {
  const entry = { ...entryOf({ life: 1_000, stale: 1_000, rescue: 3_000 }), cost: 10 }
  const all = { mayBeStale: true, mayRescue: true, mayBeEarly: true, chance: () => 0.5, hasFailed: true }
  const uses = (taking: Parameters<typeof useOf>[2]): Use[] =>
    [0, 999, 1_000, 1_999, 2_000, 3_999, 4_000].map((age) => useOf(entry, STORED + age, taking))
  t.strictSame(uses(all), ['fresh', 'early', 'stale', 'stale', 'stand-in', 'stand-in', null])
  t.strictSame(uses({ ...all, hasFailed: () => false }), ['fresh', 'early', 'stale', 'stale', 'spare', 'spare', null])
  t.strictSame(uses({ ...all, mayBeStale: false }), ['fresh', 'early', 'stand-in', 'stand-in', 'stand-in', 'stand-in', null])
  t.strictSame(uses({ ...all, mayRescue: false }), ['fresh', 'early', 'stale', 'stale', null, null, null])
  t.strictSame(uses({ ...all, mayBeEarly: false }), ['fresh', 'fresh', 'stale', 'stale', 'stand-in', 'stand-in', null])
  t.strictSame(uses({}), ['fresh', 'fresh', null, null, null, null, null])
})

t.test('the first of all that have made it stale counts', async () => {
  fc.assert(fc.property(entries, fc.option(instants), softenings, instants, (entry, byKey, byTags, now) => {
    const keys = byKey === null ? [] : [byKey]
    const all = [...keys, ...byTags.filter((clock) => clock > AS_OF).map((clock) => clock / 1000)]
    const { staleAt, deadAt, rescueUntil } = entry
    const first = Math.max(...all) > now + MOST_SKEW ? BEGAN : Math.min(...all)
    const since = Math.min(first, staleAt)
    const { fresh, alive, rescuable } = seen({ ...entry, softenings: keys }, byTags, now)
    return fresh === (all.length === 0 && now < staleAt) && alive === (now < since + (deadAt - staleAt)) &&
      rescuable === (now < since + (rescueUntil - staleAt))
  }), { numRuns: 20_000 })
})

t.test('what makes it stale once more never has it served for longer', async () => {
  fc.assert(fc.property(entries, softenings, instants, instants, (entry, softened, again, now) => {
    const before = seen(entry, softened, now)
    const after = [seen(entry, [...softened, again * 1000], now), seen({ ...entry, softenings: [again] }, softened, now)]
    return after.every(({ fresh, alive, rescuable }) =>
      !fresh && (before.alive || !alive) && (before.rescuable || !rescuable))
  }), { numRuns: 20_000 })
})

t.test('an instant that is still to come has it served for no longer than one at its beginning', async (t) => {
  const entry = entryOf({ life: 10_000, stale: 2_000, rescue: 4_000 })
  for (const ahead of [MOST_SKEW + 1, 8_000, 80_000]) {
    for (const age of [0, 1_999, 2_000, 3_999, 4_000]) {
      const now = BEGAN + age
      const expected = { fresh: false, alive: age < 2_000, rescuable: age < 4_000 }
      const how = `${ahead} ms ahead, ${age} ms after its beginning`
      t.strictSame(seen(entry, [(now + ahead) * 1000], now), expected, `by a tag, ${how}`)
      t.strictSame(seen({ ...entry, softenings: [now + ahead] }, [], now), expected, `by the key, ${how}`)
      const byBoth = seen({ ...entry, softenings: [now] }, [(now + ahead) * 1000], now)
      t.strictSame(byBoth, expected, `by a tag, ${how}, and by the key now`)
    }
  }
  // Hosts' clocks are never quite the same.
  t.match(seen(entry, [(BEGAN + 5_000 + MOST_SKEW) * 1000], BEGAN + 5_000), { alive: true, rescuable: true })
})
