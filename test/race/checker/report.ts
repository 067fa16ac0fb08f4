// What is said of a run: a line of the table, the totals, and the history around a stale read as a file.
import { mkdir, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Run } from './checker.js'
import type { Incident, Operation } from './history.js'

const folder = fileURLToPath(new URL('../../../build/race/', import.meta.url))
const COUNTS = ['operations', 'reads', 'writes', 'hits', 'collapsed', 'bypasses', 'retries', 'fills', 'refused', 'outdated', 'staleReads',
  'maxStalenessMs', 'slowestMs', 'failed'] as const
const HEADINGS: Partial<Record<Count, string>> = { staleReads: 'stale', maxStalenessMs: 'for ms', slowestMs: 'slowest ms' }
const WIDTH = 10
const HEAD_LINES = 12

type Count = typeof COUNTS[number]
type Counts = Record<Count, number>

export function tableHead (): string {
  return ['mode'.padEnd(13), 'target'.padEnd(10), ...COUNTS.map((name) => (HEADINGS[name] ?? name).padStart(widthOf(name))),
    'per s'.padStart(8)].join(' ')
}

export function tableLine (mode: string, target: string, { took, ...run }: Counts & { took: number }): string {
  return [mode.padEnd(13), target.padEnd(10), ...COUNTS.map((name) => `${run[name]}`.padStart(widthOf(name))),
    `${Math.round(run.operations / took)}`.padStart(8)].join(' ')
}

/** What the fault did. */
export function damageText ({ damage }: Run): string {
  return Object.entries(damage).map(([what, times]) => `${times} ${what}`).join(', ')
}

/** What tiers did. */
export function elsewhereText ({ elsewhere, tierHits, drops, delayMs, processes }: Run): string {
  const { invalidations, oldForMs, reads, readMs } = elsewhere!
  const times = ({ p50, p99, max }: { p50: number, p99: number, max: number }): string => `p50 ${p50}, p99 ${p99}, max ${max} ms`
  const tiers = delayMs === null ? '' : `${tierHits} hits of ${processes} tiers, dropped ${drops} times; messages took ${times(delayMs)}; `
  return tiers + `of ${invalidations} invalidations, what was replaced was served by other processes for ${times(oldForMs)}; ` +
    `in ${reads} reads, for ${times(readMs)}`
}

/** All modes together; of times, the longest of all. */
export function totalOf (runs: readonly Run[]): Counts & { took: number } {
  const sum = (name: Count | 'took'): number => runs.reduce((so, run) => so + run[name], 0)
  const counts = Object.fromEntries(COUNTS.map((name) => [name, sum(name)])) as Counts
  const most = (name: Count): number => Math.max(0, ...runs.map((run) => run[name]))
  return { ...counts, maxStalenessMs: most('maxStalenessMs'), slowestMs: most('slowestMs'), took: sum('took') }
}

/** One mode: its figures. Several: the totals, and each in `runs`. */
export function jsonOf (runs: readonly Run[]): string {
  const figures = runs.map(({ incidents, took, ...run }) => run)
  const [first] = figures
  if (figures.length === 1 || first === undefined) return JSON.stringify(first ?? {})
  const { took, ...total } = totalOf(runs)
  const { target, processes, seconds, seed } = first
  return JSON.stringify({ mode: figures.map(({ mode }) => mode).join(','), target, processes, seconds, seed, ...total, runs: figures })
}

/** Writes the history around each stale read that was kept; gives the file's path and the lines around the first. */
export async function keepIncidents ({ mode, target, incidents, seed }: Run): Promise<{ path: string, head: string[] }> {
  const path = `${folder}${mode}-${target}-seed-${seed}-${process.pid}.txt`
  const blocks = incidents.map((incident) =>
    [title(incident), ...incident.operations.map((operation) => line(operation, incident))])
  await mkdir(folder, { recursive: true })
  await writeFile(path, `${blocks.map((block) => block.join('\n')).join('\n\n')}\n`)
  const [incident] = incidents
  const [block = []] = blocks
  const at = incident === undefined ? 0 : incident.operations.indexOf(incident.read) + 1
  return { path, head: [block[0] ?? '', ...block.slice(Math.max(1, at - HEAD_LINES + 2), at + 2)] }
}

function title ({ row, read, staleness }: Incident): string {
  return `row ${row}: version ${read.version} was given ${staleness.toFixed(1)} ms after a write had answered that ` +
    `replaced it; at least ${read.floor} was due`
}

function line (operation: Operation, { read }: Incident): string {
  const { kind, from, to, process, outcome, version, floor } = operation
  const times = `${from.toFixed(2).padStart(10)} .. ${to.toFixed(2).padStart(10)}`
  if (kind === 'fault') return `${times} ${outcome}`
  const due = kind === 'read' ? ` (due ${floor})` : ''
  return `${times} p${process} v${version}${due} ${outcome}${operation === read ? '   <-- stale' : ''}`
}

function widthOf (name: Count): number {
  return Math.max(WIDTH, (HEADINGS[name] ?? name).length)
}
