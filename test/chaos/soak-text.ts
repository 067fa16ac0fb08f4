// What is said of a soak, and what is wrong with it.
import type { ProcessStats } from './app-config.js'
import type { Soak } from './soak.js'

/** Of what it was after the warm-up. */
const MOST_GROWTH = 0.1

export function soakText (result: Soak): { text: string, complaints: string[] } {
  const { requests, failed, causes, refusedWrites, stale, faults, start, end } = result
  const growth = held(end) / held(start) - 1
  const text = [
    `requests ${requests}, failed ${failed}, stale ${stale}, writes refused ${refusedWrites}`,
    `faults: ${Object.entries(faults).map(([name, times]) => `${times} ${name}`).join(', ')}`,
    `heapUsed + external: ${megabytes(start)} after the warm-up, ${megabytes(end)} at the end (${(growth * 100).toFixed(1)} %)`,
    `handles: ${resourceText(start)} after the warm-up, ${resourceText(end)} at the end`,
    `listeners: ${start.listeners} after the warm-up, ${end.listeners} at the end`,
    `breaker openings ${end.breakerOpenings}, lines logged ${end.logLines}, unhandled rejections ${end.unhandledRejections}`
  ].join('\n')
  const complaints: string[] = []
  if (failed > 0) complaints.push(`${failed} requests failed, the first of them: ${causes.slice(0, 5).join('; ')}`)
  if (stale > 0) complaints.push(`${stale} stale reads`)
  if (end.unhandledRejections > 0) complaints.push(`${end.unhandledRejections} unhandled rejections`)
  if (growth > MOST_GROWTH) complaints.push(`memory has grown by ${(growth * 100).toFixed(1)} %`)
  if (end.listeners > start.listeners) complaints.push(`listeners have grown from ${start.listeners} to ${end.listeners}`)
  for (const [kind, count] of Object.entries(end.resources)) {
    const before = start.resources[kind] ?? 0
    if (count > before) complaints.push(`${kind} has grown from ${before} to ${count}`)
  }
  return { text, complaints }
}

function held ({ memory: { heapUsed, external } }: ProcessStats): number {
  return heapUsed + external
}

function megabytes (stats: ProcessStats): string {
  return `${(held(stats) / 1024 / 1024).toFixed(2)} MiB`
}

function resourceText ({ resources }: ProcessStats): string {
  return Object.entries(resources).map(([kind, count]) => `${count} ${kind}`).join(', ')
}
