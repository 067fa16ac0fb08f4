// The model finds each protocol that is wrong in one place; in `npm test`, those that show within some hundred runs.
import { IS_LONG } from '../../helpers/extent.js'
import { BREAKS } from './breaks.js'
import { explore, SEED, type Outcome } from './explore.js'
import { MODES } from './modes.js'

/** After so many it must have been found. */
const MOST_RUNS = 6_000

/** They take thousands of runs, some seconds each. */
const RARE = [
  'what is confirmed is filled whatever lies there', 'an end does not look at its lease', 'a variant lands under any marker',
  'SOFTEN that arrives twice does not know itself', 'the end of a variant does not look at its marker', 'a generation can shrink',
  'a call is done target by target', 'a hold forgets the values of others', 'a variant does not look at its lease'
]
const found: Array<[name: string, Outcome]> = []
for (const [name, { modes, broken, seed = SEED }] of Object.entries(BREAKS)) {
  if (!IS_LONG && RARE.includes(name)) continue
  for (const mode of modes) found.push([`${name}: ${mode}`, await explore(MODES[mode]!, { numRuns: MOST_RUNS, seed }, broken)])
}

const { default: t } = await import('tap')

t.strictSame(RARE.filter((name) => !(name in BREAKS)), [])
for (const [name, { details, time }] of found) t.ok(details.failed, `found, ${name}: after ${details.numRuns} runs, ${time} ms`)
