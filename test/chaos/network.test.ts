// Each fault of the network between app and Redis, shortly, under load: as chaos.test.ts. And apps that are broken: that the
// suite finds what it is there to find.
import t from 'tap'
import { NETWORK_FAULTS } from './faults.js'
import { brokenRow, delayOf, eachFault, SANE } from './run.js'
import { complaintsOf } from './table.js'

t.test('the network', async (t) => { await eachFault(t, 'single', NETWORK_FAULTS) })

t.test('an app whose writers tell the cache nothing gives stale reads', async (t) => {
  const row = await brokenRow(t, 'flushall', 'deaf')
  t.ok(row.stale > 0, `${row.stale} stale reads`)
  t.equal(row.failed, 0)
  t.match(complaintsOf(row), [/stale reads, the first of them: row \d+, version \d+ where \d+ was due/])
})

t.test('a plugin that trusts what a restarted server has gives stale reads', async (t) => {
  const row = await brokenRow(t, 'old-data', 'history')
  t.ok(row.stale > 0, `${row.stale} stale reads`)
  t.equal(row.failed, 0)
})

t.test('an app that lets errors of Redis reach its clients has failed requests', async (t) => {
  const row = await brokenRow(t, 'out-of-memory', 'leaky')
  t.ok(row.failed > 0, `${row.failed} failed`)
  t.match(complaintsOf(row), [/requests failed, the first of them: GET .*: 500/])
})

t.test('an app that waits for Redis is slow', async (t) => {
  const row = await brokenRow(t, 'stopped', 'patient')
  t.ok(delayOf(row) > SANE, `cached routes are ${delayOf(row)} ms slower than uncached ones during the fault`)
})
