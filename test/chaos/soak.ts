// One app for a long time, with a random fault every few seconds: what it holds at the end that it did not hold after its
// warm-up, what failed, and what was stale.
import { setTimeout as delay } from 'node:timers/promises'
import type { Incident } from '../race/checker/history.js'
import { Random } from '../race/checker/random.js'
import type { ProcessStats } from './app-config.js'
import { faultOf, type FaultName } from './faults.js'
import { Load } from './load.js'
import type { Stage } from './stage.js'

export interface SoakOptions {
  seconds: number
  rate: number
  seed: number
  /** Those to choose from, all for a server that stands alone. */
  faults: readonly FaultName[]
  /** Told what happens. */
  onFault?: (fault: FaultName, at: number) => void
  signal?: AbortSignal
}

export interface Soak {
  requests: number
  failed: number
  causes: string[]
  refusedWrites: number
  stale: number
  incidents: Incident[]
  /** How often each fault was. */
  faults: Partial<Record<FaultName, number>>
  start: ProcessStats
  end: ProcessStats
}

const EVERY = 5_000
/** How long a fault lasts, in milliseconds. */
const LEAST = 500
const MOST = 3_000
/** The share of the time after which what the app holds is looked at first; at least one of each fault was by then. */
const WARM_UP = 0.2

export async function soak (stage: Stage, options: SoakOptions): Promise<Soak> {
  const { seconds, rate, seed, faults, signal = new AbortController().signal } = options
  const random = new Random(seed)
  const done: Partial<Record<FaultName, number>> = {}
  const total = { requests: 0, failed: 0, causes: [] as string[], refusedWrites: 0, stale: 0, incidents: [] as Incident[] }
  const started = performance.now()
  /** A load of its own, so that the process is idle when it is looked at. */
  const span = async (time: number, offset: number): Promise<ProcessStats> => {
    const load = new Load({ url: stage.app.url, rate, seed: seed + offset })
    const until = performance.now() + time
    load.start()
    try {
      while (performance.now() < until && !signal.aborted) {
        const next = performance.now() + EVERY
        const fault = random.pick(faults)
        options.onFault?.(fault, performance.now() - started)
        done[fault] = (done[fault] ?? 0) + 1
        const lasts = LEAST + random.below(MOST - LEAST)
        const begun = performance.now()
        const underWay = await faultOf(fault).begin(stage, lasts)
        await delay(Math.max(0, begun + lasts - performance.now()))
        await underWay.end()
        await underWay.tidy?.()
        await delay(Math.max(0, next - performance.now()))
      }
    } finally {
      await load.stop()
    }
    const { samples, history, failed, causes, refusals } = load
    total.requests += samples.reads + samples.writes
    total.failed += failed
    total.causes.push(...causes)
    total.refusedWrites += Object.values(refusals).reduce((sum, count) => sum + count, 0)
    total.stale += history.staleReads
    total.incidents.push(...history.incidents)
    return await atRest(stage)
  }
  const warmUp = seconds * 1000 * WARM_UP
  const start = await span(warmUp, 0)
  const end = await span(seconds * 1000 - warmUp, 1)
  return { ...total, faults: done, start, end }
}

/** Longer than a lease, a deadline or a pause of the plugin's lasts. */
const REST = 3_000

async function atRest ({ app }: Stage): Promise<ProcessStats> {
  await app.settled()
  await delay(REST)
  return await app.stats()
}
