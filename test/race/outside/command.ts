// `npm run race:outside -- --target cluster`: see USAGE. Exit code 1: a stale read, or something that failed.
import { parseArgs } from 'node:util'
import { OUTSIDERS } from './outsiders.js'
import { raceOutside, type Raced, type RaceSettings } from './race.js'

const USAGE = `npm run race:outside -- [options]: outsiders invalidate while a slow handler runs in an app's process
  --target single|cluster   default: single
  --by NAME                 worker, command, redis-cli, python; repeatable; default: all four. del is broken: it is to be found
  --rounds N                of each; default: 1000
  --seconds N               for each, at most; default: 240
The command is the built one: npm run build.`

try {
  process.exitCode = await race(process.argv.slice(2))
} catch (error) {
  console.error(`race:outside: ${(error as Error).message}`)
  process.exitCode = 1
}

async function race (args: string[]): Promise<number> {
  const settings = read(args)
  if (settings === null) {
    console.log(USAGE)
    return 2
  }
  console.log(`${settings.target}: rounds, stale, seconds`)
  const all = await raceOutside(settings, tell)
  return all.some(({ stale }) => stale.length > 0) ? 1 : 0
}

function tell ({ outsider, rounds, stale, took }: Raced): void {
  console.log(`${outsider.padEnd(12)}${String(rounds).padStart(6)}${String(stale.length).padStart(6)}${(took / 1000).toFixed(0).padStart(6)}`)
}

/** Null: they make no sense. */
function read (args: string[]): RaceSettings | null {
  const options = { target: { type: 'string' }, by: { type: 'string', multiple: true }, rounds: { type: 'string' }, seconds: { type: 'string' } } as const
  try {
    const { target = 'single', by, rounds = '1000', seconds = '240' } = parseArgs({ args, options }).values
    const outsiders = by ?? Object.keys(OUTSIDERS).filter((name) => name !== 'del')
    const isRight = (target === 'single' || target === 'cluster') && outsiders.every((name) => Object.hasOwn(OUTSIDERS, name)) &&
      Number(rounds) > 0 && Number(seconds) > 0
    return isRight ? { target, outsiders, rounds: Number(rounds), time: Number(seconds) * 1_000 } : null
  } catch {
    return null
  }
}
