// Exact invalidation as a property, whatever the order of the steps: model/run.ts says what must hold, model/scenario.ts
// what is drawn, model/modes.ts what is invalidated, model/network.ts what a step is. Where it fails, fast-check prints seed
// and path; with them in `fc.check`'s parameters the same run comes again.
//
// It all runs before tap is loaded, see model/explore.ts; model/breaks.test.ts shows that it finds what is broken.
import fc from 'fast-check'
import { extent } from '../helpers/extent.js'
import { explore, SEED, type Outcome } from './model/explore.js'
import { MODES, type Mode } from './model/modes.js'

/** Of each mode, with the same seed always, and with another one each time. */
const RUNS = Number(process.env.MODEL_RUNS ?? extent(60, 200))

/** A run of these takes twice as long as one of the others. */
const runsOf = ({ values }: Mode): number => Math.ceil(values === undefined ? RUNS : RUNS / 2)

const held: Array<{ name: string, mode: Mode, fixed: Outcome, random: Outcome }> = []
for (const [name, mode] of Object.entries(MODES)) {
  const fixed = await explore(mode, { numRuns: runsOf(mode), seed: SEED })
  held.push({ name, mode, fixed, random: await explore(mode, { numRuns: runsOf(mode) }) })
}
const { default: t } = await import('tap')

for (const { name, mode, fixed, random } of held) {
  for (const { details, time } of [fixed, random]) {
    t.notOk(details.failed, `${name}: ${details.numRuns} runs, ${time} ms`, { details: fc.defaultReportMessage(details) })
  }
  const { hits, collapsed, stale, refreshes, stores } = fixed.tally
  // Where there is a stale one, hardly anybody waits.
  t.ok(hits > collapsed && (collapsed > 0 || mode.stale === true) && stores > 0, `${name}: ${JSON.stringify(fixed.tally)}`)
  t.equal(fixed.tally.parts > 0, mode.values !== undefined, 'made of values')
  t.ok(fixed.tally.cuts > 0, 'connections were cut')
  // A response without Vary ends the variant in whose place it is.
  if (mode.gone === true || mode.varies !== true) t.equal(fixed.tally.ends > 0, mode.gone === true, 'entries were ended')
  t.equal(fixed.tally.orphans > 0, mode.mutates === true, 'who died had committed')
  t.equal(stale > refreshes && refreshes > 0, mode.stale === true, 'and those that are stale')
  t.equal(fixed.tally.confirmed > 0, mode.confirms === true, 'and those that handlers found unchanged')
}
t.ok(held.some(({ fixed }) => fixed.tally.refusals > 0), 'fills were refused')
t.ok(held.some(({ fixed }) => fixed.tally.renewals > 0), 'leases were renewed')
const schedules = held.reduce((sum, { fixed, random }) => sum + fixed.details.numRuns + random.details.numRuns, 0)
t.comment(`${schedules} schedules in ${held.length} modes`)
