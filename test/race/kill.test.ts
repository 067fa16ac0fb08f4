// Writers that are killed in the middle of `mutate` (`npm run race:kill`), shortly; and that a quarantine which does not
// keep handlers from filling is caught.
import t from 'tap'
import { extent } from '../helpers/extent.js'
import { kill } from './kill/kill.js'
import { DEFAULTS, readSettings } from './kill/settings.js'
import { STEPS } from './kill/step.js'

/** At each step. */
const TIMES = extent(1, 4)

t.test('killed at any step: nothing stale when the quarantine has run out', async (t) => {
  const runs = await kill({ ...DEFAULTS, times: TIMES, lanes: 12 })
  t.strictSame(runs.map(({ step }) => step), STEPS)
  for (const { step, rounds, checked, hits, stale, failures } of runs) {
    t.match({ step, rounds, stale, failures }, { step, rounds: TIMES, stale: [], failures: [] })
    t.ok(checked >= rounds * 20 && hits > 0, `${step}: ${checked} reads checked, ${hits} hits`)
  }
})

t.test('a quarantine that leaves the lease\'s name free is caught', async (t) => {
  const [run] = await kill({ ...DEFAULTS, steps: ['after commit'], times: 4, isBroken: true })
  t.ok(run?.stale.length, `${run?.stale.length} stale reads in ${run?.rounds} rounds`)
  t.strictSame(run?.failures, [])
  t.match(run?.stale[0], { route: 'row', version: 1, truth: 2 })
})

t.test('settings that make no sense are refused', async (t) => {
  t.match(readSettings(['--times', '7', '--target', 'cluster', '--broken', 'quarantine']),
    { ...DEFAULTS, times: 7, target: 'cluster', isBroken: true })
  t.equal(readSettings(['--help']), null)
  for (const args of [['--times', '0'], ['--target', 'x'], ['--step', 'later'], ['--broken', 'lease'], ['--x']]) {
    t.throws(() => readSettings(args), Error, args.join(' '))
  }
})
