// Rows as a Markdown table, and in words what must not be.
import type { Row, Times } from './row.js'

const COLUMNS = ['fault', 'requests', 'failed', 'writes refused', 'cached before', 'during', 'after', 'uncached before', 'during',
  'after', 'hits before', 'after', 'recovery ms', 'stale', 'breaker openings']

export function tableHead (): string {
  return `p50/p99 in ms\n\n${line(COLUMNS)}\n${line(COLUMNS.map((_, i) => i === 0 ? '---' : '---:'))}`
}

export function tableLine (row: Row): string {
  const { before, during, after } = row
  const times = (kind: 'cached' | 'uncached'): string[] => [before, during, after].map((phase) => percentilesText(phase, kind))
  return line([
    row.fault, row.requests, row.failed, sum(row.refusedWrites), ...times('cached'), ...times('uncached'),
    share(before), share(after), row.recovery === null ? 'never' : Math.round(row.recovery), row.stale, row.breakerOpenings
  ])
}

/** What the cache did until hits were back. */
export function recoveryText ({ fault, recovery, meanwhile }: Row): string {
  const counts = Object.entries(meanwhile).sort(([, a], [, b]) => b - a).map(([outcome, count]) => `${count} ${outcome}`)
  return `${fault}: ${recovery === null ? 'never' : `${Math.round(recovery)} ms`}: ${counts.join(', ')}`
}

/** What is wrong with a row, a line each. */
export function complaintsOf (row: Row): string[] {
  const { fault, failed, causes, stale, outdated, incidents, recovery, unhandledRejections } = row
  const complaints: string[] = []
  if (failed > 0) complaints.push(`${fault}: ${failed} requests failed, the first of them: ${causes.join('; ')}`)
  if (stale > 0) complaints.push(`${fault}: ${stale} stale reads${incidentText(incidents[0])}`)
  if (outdated > 0) complaints.push(`${fault}: ${outdated} cached answers stayed older than the database`)
  if (recovery === null) complaints.push(`${fault}: hits did not come back`)
  if (unhandledRejections > 0) complaints.push(`${fault}: ${unhandledRejections} unhandled rejections`)
  return complaints
}

function incidentText (incident: Row['incidents'][number] | undefined): string {
  if (incident === undefined) return ''
  const { row, staleness, read } = incident
  const history = incident.operations.slice(-20).map(({ kind, from, to, version, floor, outcome }) =>
    `  ${from.toFixed(1)} .. ${to.toFixed(1)} ${kind} v${version}${kind === 'read' ? ` (due ${floor})` : ''} ${outcome}`)
  return `, the first of them: row ${row}, version ${read.version} where ${read.floor} was due, ${staleness.toFixed(1)} ms ` +
    `after its write had answered\n${history.join('\n')}`
}

export function line (cells: Array<string | number>): string {
  return `| ${cells.join(' | ')} |`
}

export function percentilesText (times: Times, kind: 'cached' | 'uncached'): string {
  const { p50, p99, count } = times[kind]
  return count === 0 ? '-' : `${p50.toFixed(1)}/${p99.toFixed(1)}`
}

export function share ({ hitRate }: Times): string {
  return `${Math.round(hitRate * 100)} %`
}

export function sum (counts: Record<string, number>): number {
  return Object.values(counts).reduce((so, count) => so + count, 0)
}
