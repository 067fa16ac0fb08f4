// The arithmetic of `npm run bench`: spreads, ratios within rounds, and which answers count as stale.
import t from 'tap'
import { ratio, spread, staleAnswers } from '../../bench/driver/statistics.js'

t.test('the median and the ends, of what is a number', async (t) => {
  t.same(spread([5, 1, 3]), { median: 3, min: 1, max: 5, count: 3 })
  t.same(spread([4, 1, 3, 2]), { median: 2.5, min: 1, max: 4, count: 4 }, 'between the two in the middle')
  t.same(spread([10, 9, null, 100]), { median: 10, min: 9, max: 100, count: 3 }, 'sorted as numbers, null left out')
  t.same(spread([NaN, 7, Infinity]), { median: 7, min: 7, max: 7, count: 1 }, 'what was divided by nothing left out')
  t.equal(spread([null]), null)
  t.equal(spread([]), null)
})

t.test('ratios are made within each round', async (t) => {
  const values = [{ round: 1, value: 20 }, { round: 2, value: 200 }, { round: 3, value: 6 }]
  const to = [{ round: 3, value: 3 }, { round: 1, value: 10 }, { round: 2, value: 50 }]
  t.same(ratio(values, to), { median: 2, min: 2, max: 4, count: 3 }, 'whatever the order, and however slow one round was')
  t.same(ratio(values, to.slice(0, 1)), { median: 2, min: 2, max: 2, count: 1 }, 'only rounds that both have')
  t.equal(ratio(values, [{ round: 1, value: 0 }, { round: 2, value: null }]), null, 'not by nothing')
  t.equal(ratio(values, []), null)
})

t.test('stale is what is older than the last invalidation that had returned before the request began', async (t) => {
  const invalidations = [{ version: 1, at: 100 }, { version: 2, at: 200 }, { version: 3, at: 300 }]
  const stale = (began: number, version: number): number =>
    staleAnswers({ began: [began], versions: [version] }, invalidations)
  t.equal(stale(50, 0), 0, 'before the first')
  t.equal(stale(100, 0), 0, 'at the very instant is not before')
  t.equal(stale(101, 0), 1)
  t.equal(stale(101, 1), 0)
  t.equal(stale(250, 1), 1, 'of two, the later counts')
  t.equal(stale(250, 2), 0)
  t.equal(stale(250, 3), 0, 'newer than it must be')
  t.equal(stale(1000, 2), 1, 'after the last')
  t.equal(staleAnswers({ began: [101, 250, 301, 400], versions: [1, 0, 2, 3] }, invalidations), 2, 'each is counted')
  t.equal(staleAnswers({ began: [101], versions: [0] }, []), 0)
})
