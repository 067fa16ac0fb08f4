// The model finds each protocol that is wrong in one place.
import { BREAKS } from './breaks.js'
import { explore, SEED, type Outcome } from './explore.js'
import { MODES } from './modes.js'

/** After so many it must have been found. */
const MOST_RUNS = 6_000

const found: Array<[name: string, Outcome]> = []
for (const [name, { modes, broken, seed = SEED }] of Object.entries(BREAKS)) {
  for (const mode of modes) found.push([`${name}: ${mode}`, await explore(MODES[mode]!, { numRuns: MOST_RUNS, seed }, broken)])
}

const { default: t } = await import('tap')

for (const [name, { details, time }] of found) t.ok(details.failed, `found, ${name}: after ${details.numRuns} runs, ${time} ms`)
