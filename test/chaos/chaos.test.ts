// Each fault of a single server and of a cluster (`npm run chaos`), shortly, under load: no request fails, no read is stale,
// hits come back. Those of the network stand in network.test.ts.
import t from 'tap'
import { eachFault, faultsOn } from './run.js'
import { NETWORK_FAULTS } from './faults.js'

t.test('one server', async (t) => {
  await eachFault(t, 'single', faultsOn('single').filter((name) => !NETWORK_FAULTS.includes(name)))
})
t.test('a cluster', async (t) => { await eachFault(t, 'cluster') })
t.test('a cluster without replicas', async (t) => { await eachFault(t, 'bare-cluster') })
