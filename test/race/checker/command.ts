// `npm run race -- --seconds 15 --mode all`: see USAGE. Exit code 1: a stale read, or a request that failed.
import { check, type Run } from './checker.js'
import { damageText, elsewhereText, jsonOf, keepIncidents, tableHead, tableLine, totalOf } from './report.js'
import { readSettings, USAGE } from './settings.js'

process.exitCode = await command(process.argv.slice(2))

async function command (args: string[]): Promise<number> {
  const asked = parse(args)
  if (typeof asked === 'number') return asked
  const { settings, json } = asked
  const interrupt = interruption()
  console.log(tableHead())
  const onRun = (run: Run): void => { console.log(tableLine(run.mode, run.target, run)) }
  const runs = await check(settings, { signal: interrupt, onRun })
  if (runs.length > 1) console.log(tableLine('all', settings.target, totalOf(runs)))
  for (const run of runs) {
    if (run.fault !== 'none') console.log(`${run.mode}: ${run.fault}: ${damageText(run)}`)
    if (run.elsewhere !== null) console.log(`${run.mode}: ${elsewhereText(run)}`)
    await explain(run)
  }
  if (json) console.log(jsonOf(runs))
  if (interrupt.aborted) return 130
  return runs.some(({ staleReads, failed }) => staleReads > 0 || failed > 0) ? 1 : 0
}

function parse (args: string[]): ReturnType<typeof readSettings> | number {
  try {
    const asked = readSettings(args)
    if (!asked.help) return asked
    console.log(USAGE)
    return 0
  } catch (error) {
    console.error(`race: ${(error as Error).message}\n\n${USAGE}`)
    return 2
  }
}

/** Ctrl-C ends the run, not this process: what it started is to be ended first. */
function interruption (): AbortSignal {
  const interrupt = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt.abort())
  return interrupt.signal
}

async function explain (run: Run): Promise<void> {
  const { mode, failed, causes } = run
  if (failed > 0) console.log(`\n${mode}: ${failed} requests failed, the first of them:\n  ${causes.join('\n  ')}`)
  if (run.staleReads === 0) return
  const { path, head } = await keepIncidents(run)
  console.log(`\n${run.mode}: the first stale read came after ${run.firstStale} s. ${head.join('\n  ')}\n  ... all: ${path}`)
}
