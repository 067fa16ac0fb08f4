// The race against those who invalidate from outside (`npm run race:outside`), shortly; and that plain DEL is found out.
import t from 'tap'
import { extent } from '../helpers/extent.js'
import { raceOutside } from './outside/race.js'

const ROUNDS = extent(20, 1_000)
const TIME = extent(30_000, 240_000)
const FOUR = ['worker', 'command', 'redis-cli', 'python']

for (const target of ['single', 'cluster'] as const) {
  t.test(`${target}: nobody is served the old row`, async (t) => {
    const all = await raceOutside({ target, outsiders: FOUR, rounds: ROUNDS, time: TIME })
    t.strictSame(all.map(({ outsider, stale }) => [outsider, stale]), FOUR.map((name) => [name, []]))
    for (const { outsider, rounds } of all) t.ok(rounds >= 20, `${outsider}: ${rounds} rounds`)
  })
}

t.test('plain DEL of names is found out', async (t) => {
  const [raced] = await raceOutside({ target: 'single', outsiders: ['del'], rounds: 100, time: TIME })
  t.ok(raced!.stale.length > 0, `${raced!.stale.length} of ${raced!.rounds}`)
})
