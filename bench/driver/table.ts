// Samples of all rounds as a Markdown table for each workload and size: pure.
import type { Spread } from './statistics.js'
import { ratio, spread } from './statistics.js'
import type { Sample } from './side-by-side.js'
import { BARE_STRING, HAND_WRITTEN, UNCACHED } from './subjects.js'
import type { Figures } from './slice.js'

export interface Row {
  subject: string
  name: string
  requests: Spread | null
  p50: Spread | null
  p99: Spread | null
  cpu: Spread | null
  toBare: Spread | null
  toHandWritten: Spread | null
  redisCpu: Spread | null
  redisCommands: Spread | null
  runs: Spread | null
  /** The part of all answers that a run of the handler was for. */
  ran: number
  invalidations: number
  stale: number
  wrong: number
  example: string | undefined
}

/** Of one workload and size, a row a subject, in the order in which they ran. */
export function rows (samples: readonly Sample[], names: ReadonlyMap<string, string>): Row[] {
  const subjects = [...new Set(samples.map(({ subject }) => subject))]
  // Where nothing is prepared, the uncached route stands for the bare one.
  const bare = subjects.includes(BARE_STRING) ? BARE_STRING : UNCACHED
  return subjects.map((subject) => {
    const own = samples.filter((sample) => sample.subject === subject)
    const all = (pick: (figures: Figures) => number | null): Spread | null => spread(own.map(({ figures }) => pick(figures)))
    const sum = (pick: (figures: Figures) => number | null): number =>
      own.reduce((n, { figures }) => n + (pick(figures) ?? 0), 0)
    return {
      subject,
      name: names.get(subject) ?? subject,
      requests: all(({ requests }) => requests),
      p50: all(({ p50 }) => p50),
      p99: all(({ p99 }) => p99),
      cpu: all(({ cpu }) => cpu),
      toBare: cpuRatio(samples, subject, bare),
      toHandWritten: cpuRatio(samples, subject, HAND_WRITTEN),
      redisCpu: all(({ redisCpu }) => redisCpu),
      redisCommands: all(({ redisCommands }) => redisCommands),
      runs: all(({ runs }) => runs),
      ran: sum(({ runs }) => runs) / sum(({ answered }) => answered),
      invalidations: sum(({ invalidations }) => invalidations),
      stale: sum(({ stale }) => stale),
      wrong: sum(({ wrong }) => wrong),
      example: own.find(({ figures }) => figures.example !== undefined)?.figures.example
    }
  })
}

/** Of CPU time a request, within each round. */
export function cpuRatio (samples: readonly Sample[], subject: string, to: string): Spread | null {
  const of = (id: string): Array<{ round: number, value: number }> => samples.filter((sample) => sample.subject === id)
    .map(({ round, figures }) => ({ round, value: figures.cpu }))
  return ratio(of(subject), of(to))
}

export function line (cells: ReadonlyArray<string | number>): string {
  return `| ${cells.join(' | ')} |`
}

/** `median (min-max)`, to so many digits. */
export function text (value: Spread | null, digits: number): string {
  if (value === null) return '-'
  const [median, min, max] = [value.median, value.min, value.max].map((one) => one.toFixed(digits))
  return min === max && min === median ? median! : `${median} (${min}-${max})`
}

interface Column { head: string, cell: (row: Row) => string | number }

const COLUMNS: Record<string, Column> = {
  name: { head: 'subject', cell: ({ name }) => name },
  requests: { head: 'requests/s', cell: ({ requests }) => text(requests, 0) },
  p50: { head: 'p50 ms', cell: ({ p50 }) => text(p50, 1) },
  p99: { head: 'p99 ms', cell: ({ p99 }) => text(p99, 1) },
  cpu: { head: 'CPU µs/request', cell: ({ cpu }) => text(cpu, 1) },
  toBare: { head: '× bare', cell: ({ toBare }) => text(toBare, 2) },
  toHandWritten: { head: '× hand-written', cell: ({ toHandWritten }) => text(toHandWritten, 2) },
  redisCpu: { head: 'Redis CPU µs/request', cell: ({ redisCpu }) => text(redisCpu, 1) },
  redisCommands: { head: 'Redis commands/request', cell: ({ redisCommands }) => redisCommands === null ? '-' : redisCommands.median.toFixed(2) },
  runs: { head: 'runs of the handler/round', cell: ({ runs }) => text(runs, 0) },
  invalidations: { head: 'invalidations', cell: ({ invalidations }) => invalidations },
  stale: { head: 'stale answers', cell: ({ stale }) => stale },
  wrong: { head: 'wrong answers', cell: ({ wrong }) => wrong }
}

const COMMON = ['name', 'requests', 'p50', 'p99', 'cpu', 'toBare', 'toHandWritten', 'redisCpu', 'redisCommands', 'runs']
const OF_WORKLOAD: Record<string, readonly string[]> = {
  stampede: ['name', 'runs', 'p50', 'p99', 'cpu', 'toBare', 'toHandWritten', 'redisCommands', 'wrong'],
  invalidation: [...COMMON, 'invalidations', 'stale', 'wrong']
}

/** `more`: columns that are not of the samples. Those that say nothing of any row are left out. */
export function table (workload: string, list: readonly Row[], more: readonly Column[] = []): string {
  const columns = [...(OF_WORKLOAD[workload] ?? [...COMMON, 'wrong']).map((name) => COLUMNS[name]!), ...more]
    .filter(({ cell }) => list.some((row) => cell(row) !== '-'))
  return [
    line(columns.map(({ head }) => head)),
    line(columns.map((_, i) => i === 0 ? '---' : '---:')),
    ...list.map((row) => line(columns.map(({ cell }) => cell(row))))
  ].join('\n')
}
