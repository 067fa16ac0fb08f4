// Which subject takes part in what, in which order, and how long that will take.
import { SUBJECTS, type Subject } from './subjects.js'
import type { Options, Size, Workload } from './options.js'

export interface Phase { workload: Workload, size: Size, subjects: readonly Subject[] }

/** Beside the load itself, seconds: what is read before and after, connections. */
const AROUND = 0.25
const START = 0.7

export function chosen ({ only, quick }: Options): readonly Subject[] {
  if (only !== undefined) return SUBJECTS.filter(({ id }) => only.includes(id))
  return quick ? SUBJECTS.filter((subject) => subject.quick === true) : SUBJECTS
}

/** Workload by workload; hits in each size, the others in the smallest. Those with no subject are left out. */
export function phases ({ workloads, sizes }: Options, subjects: readonly Subject[]): Phase[] {
  return workloads.flatMap((workload) => (workload === 'hit' ? sizes : sizes.slice(0, 1))
    .map((size) => ({ workload, size, subjects: subjects.filter((subject) => takesPart(subject, workload, size)) })))
    .filter(({ subjects }) => subjects.length > 0)
}

function takesPart ({ keeps, workloads, sizes }: Subject, workload: Workload, size: Size): boolean {
  if (sizes !== undefined && !sizes.includes(size)) return false
  if (workloads !== undefined) return workloads.includes(workload)
  return workload !== '304' || keeps === 'response'
}

/** Seconds. */
export function estimate (plan: readonly Phase[], { rounds, seconds, processes }: Options): number {
  const started = new Set(plan.flatMap(({ subjects }) => subjects)).size
  return started * (START + warmUp(seconds, true)) + plan.reduce((sum, { workload, subjects }) => {
    const load = workload === 'stampede' ? 0.8 : seconds
    const extra = workload === 'processes' ? processes * START : 0
    return sum + subjects.length * (rounds * (load + AROUND) + warmUp(seconds, false) + extra)
  }, 0)
}

/** Seconds of load before the first round of a workload; longer for a process that has answered nothing yet. */
export function warmUp (seconds: number, isNew: boolean): number {
  return isNew ? Math.min(2, 2.5 * seconds) : Math.min(0.6, seconds)
}
