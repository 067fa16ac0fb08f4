// The table of `npm run chaos` for other caches and ours: the same driver, faults, routes and database, each cache in a
// process, with a Redis and behind a proxy of its own, one after another for each fault.
//
//   npm run bench:chaos-peers -- [--fault NAME,…] [--seconds N] [--rate N] [--seed S]
//
// A hit is an answer with the run of the handler that another answer had, also where both waited for one run in the process.
// A write that is refused (503) is expected of no read; what is still old when all is over counts as "old at the end", of
// 40 entries: until their ttl is over.
// Only faults of a single server: async-cache-dedupe's storage does not do Cluster (pipelines over several slots). Exit code
// 1: a row could not be measured; what a cache did wrong is only told.
import { loadavg } from 'node:os'
import { stageOf, type FaultName } from '../../test/chaos/faults.js'
import { runRow, type Row } from '../../test/chaos/row.js'
import { readSettings, type Settings } from '../../test/chaos/settings.js'
import { startStage } from '../../test/chaos/stage.js'
import { complaintsOf, line, percentilesText, recoveryText, share, sum } from '../../test/chaos/table.js'

const CACHES: Record<string, { subject?: string }> = {
  'fastify-route-cache': {},
  'Nest CacheInterceptor': { subject: new URL('nest-app.js', import.meta.url).href },
  'the same, throwOnErrors': { subject: new URL('nest-app.js?throwOnErrors', import.meta.url).href },
  'async-cache-dedupe': { subject: new URL('dedupe-app.js', import.meta.url).href }
}
const COLUMNS = ['fault', 'cache', 'requests', 'failed', 'of them hung', 'writes refused', 'cached before', 'during', 'after',
  'uncached before', 'during', 'after', 'hits before', 'during', 'after', 'recovery ms', 'stale', 'of them before',
  'old at the end', 'unhandled rejections', 'load']

const interrupt = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt.abort())
process.exitCode = await command(process.argv.slice(2))

async function command (args: string[]): Promise<number> {
  try {
    const settings = readSettings(args)
    if (settings.task === 'rows' && settings.broken === undefined) return await rows(settings)
    throw new Error('there are --fault, --seconds, --rate and --seed, as npm run chaos has them')
  } catch (error) {
    console.error(`chaos-peers: ${(error as Error).message}`)
    return 2
  }
}

async function rows (settings: Settings): Promise<number> {
  const faults = settings.faults.filter((name) => stageOf(name) === 'single')
  if (faults.length === 0) throw new Error('only faults of a single server are for all of them')
  const notes: string[] = []
  let unmeasured = 0
  console.log(`${settings.seconds} s each before, during and after, ${settings.rate} requests a second; p50/p99 in ms, what ` +
    `failed included\n\n${line(COLUMNS)}\n${line(COLUMNS.map((_, i) => i < 2 ? '---' : '---:'))}`)
  for (const fault of faults) {
    for (const name of Object.keys(CACHES)) {
      if (interrupt.signal.aborted) return 130
      try {
        const { text, more } = await measured(fault, name, settings)
        console.log(text)
        notes.push(...more.map((note) => `${name}: ${note}`))
      } catch (error) {
        unmeasured++
        console.log(line([fault, name, `not measured: ${(error as Error).message}`]))
      }
    }
  }
  console.log(`\nWhat they did until hits were back, and what must not be:\n${notes.join('\n')}`)
  return unmeasured > 0 ? 1 : 0
}

async function measured (
  fault: FaultName, name: string, { seconds, rate, seed }: Settings
): Promise<{ text: string, more: string[] }> {
  const stage = await startStage('single', CACHES[name])
  try {
    const row = await runRow(stage, fault, { seconds, rate, seed })
    // Without the history of a stale read, of which some caches have many.
    return { text: rowText(name, row), more: [recoveryText(row), ...complaintsOf(row).map((text) => text.split('\n')[0]!)] }
  } finally {
    await stage.stop()
  }
}

function rowText (name: string, row: Row): string {
  const phases = [row.before, row.during, row.after]
  const times = (kind: 'cached' | 'uncached'): string[] => phases.map((phase) => percentilesText(phase, kind))
  return line([
    row.fault, name, row.requests, row.failed, row.hung, sum(row.refusedWrites), ...times('cached'), ...times('uncached'),
    ...phases.map(share), row.recovery === null ? 'never' : Math.round(row.recovery), row.stale, row.staleBefore,
    row.outdated, row.unhandledRejections, loadavg()[0]!.toFixed(1)
  ])
}
