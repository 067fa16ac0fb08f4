// `npm run chaos -- --fault NAME --seconds N`: see USAGE. Exit code 1: a request that failed, a stale read, hits that did
// not come back; and after a soak also what has grown.
import { FAULT_NAMES, stageOf } from './faults.js'
import { runRow, type Row } from './row.js'
import { faultList, readSettings, USAGE, type Settings } from './settings.js'
import { soak } from './soak.js'
import { soakText } from './soak-text.js'
import { startStage } from './stage.js'
import { complaintsOf, recoveryText, tableHead, tableLine } from './table.js'

process.exitCode = await command(process.argv.slice(2))

async function command (args: string[]): Promise<number> {
  const settings = parse(args)
  if (settings === null) return 2
  switch (settings.task) {
    case 'help': return say(USAGE)
    case 'list': return say(faultList())
    case 'rows': return await rows(settings)
    case 'soak': return await soaked(settings)
  }
}

function parse (args: string[]): Settings | null {
  try {
    return readSettings(args)
  } catch (error) {
    console.error(`chaos: ${(error as Error).message}\n\n${USAGE}`)
    return null
  }
}

/** Each fault on a stage of its own. */
async function rows (settings: Settings): Promise<number> {
  const interrupt = interruption()
  const complaints: string[] = []
  const recoveries: string[] = []
  console.log(tableHead())
  for (const fault of settings.faults) {
    if (interrupt.aborted) return 130
    const row = await onStage(fault, settings)
    console.log(tableLine(row))
    recoveries.push(recoveryText(row))
    complaints.push(...complaintsOf(row))
  }
  console.log(`\nWhat the cache did until hits were back:\n${recoveries.join('\n')}`)
  if (complaints.length > 0) console.log(`\n${complaints.join('\n')}`)
  return complaints.length > 0 ? 1 : 0
}

async function onStage (fault: Settings['faults'][number], { seconds, rate, seed, broken, client }: Settings): Promise<Row> {
  const stage = await startStage(stageOf(fault), { broken, client })
  try {
    return await runRow(stage, fault, { seconds, rate, seed })
  } finally {
    await stage.stop()
  }
}

async function soaked ({ seconds, rate, seed, faults, broken, client }: Settings): Promise<number> {
  const interrupt = interruption()
  const stage = await startStage('single', { broken, client })
  try {
    console.log(`seed ${seed}, ${seconds} s, ${faults.length} of ${FAULT_NAMES.length} faults`)
    const result = await soak(stage, { seconds, rate, seed, faults, signal: interrupt })
    const { text, complaints } = soakText(result)
    console.log(text)
    if (complaints.length > 0) console.log(`\n${complaints.join('\n')}`)
    if (interrupt.aborted) return 130
    return complaints.length > 0 ? 1 : 0
  } finally {
    await stage.stop()
  }
}

function say (text: string): number {
  console.log(text)
  return 0
}

/** Ctrl-C ends the run, not this process: what it started is to be ended first. */
function interruption (): AbortSignal {
  const interrupt = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt.abort())
  return interrupt.signal
}
