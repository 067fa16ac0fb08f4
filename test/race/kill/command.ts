// `npm run race:kill -- --times 50`: see USAGE. Exit code 1: a stale read, or something that failed.
import { kill, type Run } from './kill.js'
import { readSettings, USAGE, type Settings } from './settings.js'

const SHOWN = 10
const COLUMNS = ['step', 'rounds', 'reads', 'checked', 'hits', 'stale', 'in rounds', 'failed']

process.exitCode = await command(process.argv.slice(2))

async function command (args: string[]): Promise<number> {
  let settings: Settings | null
  try {
    settings = readSettings(args)
  } catch (error) {
    console.error(`race:kill: ${(error as Error).message}\n\n${USAGE}`)
    return 2
  }
  if (settings === null) {
    console.log(USAGE)
    return 0
  }
  return await run(settings)
}

async function run (settings: Settings): Promise<number> {
  // Ctrl-C ends the run, not this process: what it started is to be ended first.
  const interrupt = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt.abort())
  const start = performance.now()
  const runs = await kill(settings, interrupt.signal)
  const took = ((performance.now() - start) / 1000).toFixed(0)
  console.log(`${settings.target}${settings.isBroken ? ', broken: quarantine' : ''}, ${took} s\n`)
  console.log([COLUMNS, ...runs.map(cells)].map(line).join('\n'))
  for (const { step, stale, failures } of runs) explain(step, stale.map((read) => JSON.stringify(read)), failures)
  if (interrupt.signal.aborted) return 130
  return runs.some(({ stale, failures }) => stale.length > 0 || failures.length > 0) ? 1 : 0
}

function cells ({ step, rounds, reads, checked, hits, stale, failures }: Run): string[] {
  const rows = new Set(stale.map(({ row }) => row))
  return [step, ...[rounds, reads, checked, hits, stale.length, rows.size, failures.length].map(String)]
}

function line ([step, ...numbers]: string[]): string {
  return [step!.padEnd(20), ...numbers.map((number) => number.padStart(10))].join('')
}

function explain (step: string, stale: string[], failures: string[]): void {
  for (const [what, all] of [['stale', stale], ['failed', failures]] as const) {
    if (all.length > 0) console.log(`\n${step}, ${what}, the first of ${all.length}:\n  ${all.slice(0, SHOWN).join('\n  ')}`)
  }
}
