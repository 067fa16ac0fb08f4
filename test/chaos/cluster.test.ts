// Each fault of a cluster (`npm run chaos`), shortly, under load: as chaos.test.ts.
import t from 'tap'
import { eachFault } from './run.js'

t.test('three primaries with a replica each', async (t) => { await eachFault(t, 'cluster') })
t.test('three primaries without replicas', async (t) => { await eachFault(t, 'bare-cluster') })
