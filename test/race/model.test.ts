// P2 as a property, whatever the order of the steps: model/scenario.ts says what is modelled, model/network.ts what a step
// is. Where it fails, fast-check prints seed and path; with them in `fc.check`'s parameters the same run comes again.
//
// It all runs before tap is loaded: tap follows every promise there is, which takes three times as long.
import fc, { type RunDetails, type Scheduler } from 'fast-check'
import { BREAKS } from './model/breaks.js'
import { MODES, type Mode } from './model/modes.js'
import { newTally, play, type Broken, type Tally } from './model/run.js'
import { scenarios, type Scenario } from './model/scenario.js'

/** Of each mode, with the same seed always, and with another one each time. */
const RUNS = Number(process.env.MODEL_RUNS ?? 200)
/** After so many a break must have been found. */
const MOST_RUNS = 6_000
const SEED = 4

interface Outcome { details: RunDetails<[Scheduler, Scenario]>, tally: Tally, time: number }

async function explore (mode: Mode, parameters: { numRuns: number, seed?: number }, broken: Broken = {}): Promise<Outcome> {
  const tally = newTally()
  const began = performance.now()
  const property = fc.asyncProperty(fc.scheduler(), scenarios(mode), async (s, scenario) => {
    await play(s, scenario, { mode, tally, broken })
  })
  const details = await fc.check(property, { ...parameters, endOnFailure: true })
  return { details, tally, time: Math.round(performance.now() - began) }
}

const held: Array<{ name: string, mode: Mode, fixed: Outcome, random: Outcome }> = []
for (const [name, mode] of Object.entries(MODES)) {
  const fixed = await explore(mode, { numRuns: RUNS, seed: SEED })
  held.push({ name, mode, fixed, random: await explore(mode, { numRuns: RUNS }) })
}
const found: Array<[name: string, Outcome]> = []
for (const [name, { modes, broken }] of Object.entries(BREAKS)) {
  for (const mode of modes) {
    found.push([`${name}: ${mode}`, await explore(MODES[mode]!, { numRuns: MOST_RUNS, seed: SEED }, broken)])
  }
}

const { default: t } = await import('tap')

for (const { name, mode, fixed, random } of held) {
  for (const { details, time } of [fixed, random]) {
    t.notOk(details.failed, `${name}: ${details.numRuns} runs, ${time} ms`, { details: fc.defaultReportMessage(details) })
  }
  const { hits, collapsed, stale, refreshes, stores } = fixed.tally
  // Where there is a stale one, hardly anybody waits.
  t.ok(hits > collapsed && (collapsed > 0 || mode.stale === true) && stores > 0, `${name}: ${JSON.stringify(fixed.tally)}`)
  t.equal(fixed.tally.orphans > 0, mode.mutates === true, 'who died had committed')
  t.equal(stale > refreshes && refreshes > 0, mode.stale === true, 'and those that are stale')
}
t.ok(held.some(({ fixed }) => fixed.tally.refusals > 0), 'fills were refused')
for (const [name, { details, time }] of found) t.ok(details.failed, `found, ${name}: after ${details.numRuns} runs, ${time} ms`)
