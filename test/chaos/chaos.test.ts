// Each fault of a single server (`npm run chaos`), shortly, under load: no request fails, no read is stale, hits come back.
// Those of the network stand in network.test.ts, those of a cluster in cluster.test.ts.
import t from 'tap'
import { NETWORK_FAULTS } from './faults.js'
import { eachFault, faultsOn } from './run.js'

t.test('one server', async (t) => {
  await eachFault(t, 'single', faultsOn('single').filter((name) => !NETWORK_FAULTS.includes(name)))
})
