// What the live processes have counted, by the reports that their dashboards share.
import { setTimeout as pause } from 'node:timers/promises'
import { Reports, type Heard } from '../dashboard/reports.js'
import type { CacheStats, RouteStats } from '../../telling/stats.js'
import type { CommandTold, CommandWork } from './words.js'

/** Processes tell while somebody looks: who has just begun to look waits for them. */
const INTERVAL = 1_000
const LONGEST = 3 * INTERVAL

type Row = Pick<RouteStats, 'hits' | 'misses' | 'hitRate' | 'stale' | 'errors'> & Pick<CacheStats, 'journal' | 'breaker'> & { process: string }

export async function statsOfProcesses ({ connection: { client, prefix, limit } }: CommandWork): Promise<CommandTold> {
  const reports = new Reports({ redis: client, prefix, interval: INTERVAL })
  let heard: Heard[] = []
  let before = -1
  const until = performance.now() + Math.min(LONGEST, limit.share)
  for (; performance.now() < until; await pause(INTERVAL / 2)) {
    heard = await reports.read()
    if (heard.length > 0 && heard.length === before) break
    before = heard.length
  }
  const processes = heard.map(({ report: { process, stats } }): Row => {
    const { hits, misses, hitRate, stale, errors } = stats.total
    return { process, hits, misses, hitRate, stale, errors, journal: stats.journal, breaker: stats.breaker }
  }).sort((a, b) => a.process < b.process ? -1 : 1)
  const lines = processes.map(({ process, hitRate, ...row }) =>
    [process, `hitRate ${hitRate.toFixed(3)}`, ...Object.entries(row).map(([name, value]) => `${name} ${value}`)].join('\t'))
  const none = `no process under the prefix "${prefix}" tells its figures: those with the dashboard (fastify-route-cache/dashboard) do`
  return { text: lines.length === 0 ? none : lines.join('\n'), data: { processes }, code: lines.length === 0 ? 1 : 0 }
}
