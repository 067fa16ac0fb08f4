// So many runs of the model in one mode, as fast-check draws them. Before tap is loaded: tap follows every promise there is,
// which takes three times as long.
import fc, { type RunDetails, type Scheduler } from 'fast-check'
import type { Mode } from './modes.js'
import { newTally, play, type Broken, type Tally } from './run.js'
import { scenarios, type Scenario } from './scenario.js'

/** What does not change from one time to the next. */
export const SEED = 4

export interface Outcome { details: RunDetails<[Scheduler, Scenario]>, tally: Tally, time: number }

interface Extent { numRuns: number, seed?: number }

/** Ends with the first run that goes wrong. */
export async function explore (mode: Mode, { numRuns, seed }: Extent, broken: Broken = {}): Promise<Outcome> {
  const tally = newTally()
  const began = performance.now()
  const property = fc.asyncProperty(fc.scheduler(), scenarios(mode), async (s, scenario) => {
    await play(s, scenario, { mode, tally, broken })
  })
  const details = await fc.check(property, { numRuns, ...seed === undefined ? {} : { seed }, endOnFailure: true })
  return { details, tally, time: Math.round(performance.now() - began) }
}
