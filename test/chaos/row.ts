// One row of the table: load before, during and after one fault, until hits are back.
import { setTimeout as delay } from 'node:timers/promises'
import type { Incident } from '../race/checker/history.js'
import { until } from '../helpers/until.js'
import { faultOf, type FaultName } from './faults.js'
import { Load } from './load.js'
import type { Percentiles, Samples } from './samples.js'
import type { Stage } from './stage.js'

export interface RowOptions {
  /** How long the fault lasts. */
  seconds: number
  /** Seconds of load before it, and at least after it. Default: `seconds`. */
  calm?: number
  rate?: number | undefined
  seed?: number | undefined
  /** On a busy machine, requests come as slowly as they can be answered before the fault. */
  isFitted?: boolean
  /** At least so many milliseconds of load that is not looked at, before all, until there are hits. Default 1000. */
  warmUp?: number
}

export interface Times {
  cached: Percentiles
  uncached: Percentiles
  /** Hits among the requests of cached routes. */
  hitRate: number
}

export interface Row {
  fault: FaultName
  requests: number
  /** Of all GETs, and of writes whatever failed but the cache; must be 0. */
  failed: number
  /** Of those: the ones that nobody answered. */
  hung: number
  causes: string[]
  /** Writes whose invalidation rejected, as it must where Redis can't be told, by code. */
  refusedWrites: Record<string, number>
  before: Times
  during: Times
  after: Times
  /** From the end of the fault until hits were back, in milliseconds; null: not within the limit. */
  recovery: number | null
  /** What the cache did for requests until then. */
  meanwhile: Record<string, number>
  /** Against invalidations that had returned; must be 0. */
  stale: number
  /** Of those: the ones before the fault. */
  staleBefore: number
  /** Cached answers that were older than the database when all was over, also of writes that were refused; must be 0. */
  outdated: number
  incidents: Incident[]
  breakerOpenings: number
  /** What the app has logged. */
  logLines: number
  unhandledRejections: number
}

const WARM_UP = 1_000
/** Hits that are not back by then are not back. */
const RECOVERY_LIMIT = 60_000
const LOOK_EVERY = 50
/** The share of hits of a cache that works. */
const SOME = 0.5

export async function runRow (stage: Stage, fault: FaultName, options: RowOptions): Promise<Row> {
  const { seconds, calm = seconds, rate, seed, warmUp = WARM_UP, isFitted = false } = options
  const time = seconds * 1000
  const statsBefore = await stage.app.stats()
  const load = new Load({ url: stage.app.url, ...rate === undefined ? {} : { rate }, ...seed === undefined ? {} : { seed } })
  load.start()
  try {
    await warmedUp(load, warmUp, isFitted)
    const from = performance.now()
    await delay(calm * 1000)
    const begun = performance.now()
    const rateBefore = load.samples.hitRate(from, begun)
    const staleBefore = load.history.staleReads
    const underWay = await faultOf(fault).begin(stage, time)
    await delay(Math.max(0, begun + time - performance.now()))
    await underWay.end()
    const ended = performance.now()
    const recovery = await recovered(load.samples, ended, { rateBefore, time: calm * 1000 })
    const over = performance.now()
    await underWay.tidy?.()
    await load.stop()
    const stats = await stage.app.settled()
    const outdated = await load.outdated()
    const { failed, hung, causes, refusals, history, samples } = load
    return {
      fault,
      requests: samples.reads + samples.writes,
      failed,
      hung,
      causes,
      refusedWrites: refusals,
      before: timesOf(samples, from, begun),
      during: timesOf(samples, begun, ended),
      after: timesOf(samples, ended, over),
      recovery,
      meanwhile: samples.outcomes(ended, recovery === null ? over : ended + recovery),
      stale: history.staleReads,
      staleBefore,
      outdated,
      incidents: history.incidents,
      breakerOpenings: stats.breakerOpenings - statsBefore.breakerOpenings,
      logLines: stats.logLines - statsBefore.logLines,
      unhandledRejections: stats.unhandledRejections - statsBefore.unhandledRejections
    }
  } finally {
    await load.stop()
  }
}

/** Code is compiled and keys are filled; a busy machine takes its time. */
async function warmedUp (load: Load, least: number, isFitted: boolean): Promise<void> {
  const started = performance.now()
  await delay(least)
  if (isFitted) await load.fit()
  await until(async () => load.samples.recovery(started, SOME) !== null, 'there are hits before the fault', RECOVERY_LIMIT)
}

/** Lets the load go on for this time, and longer until hits are back. */
async function recovered (
  samples: Samples, since: number, { rateBefore, time }: { rateBefore: number, time: number }
): Promise<number | null> {
  for (;;) {
    await delay(LOOK_EVERY)
    const recovery = samples.recovery(since, rateBefore)
    const waited = performance.now() - since
    if ((recovery !== null && waited >= time) || waited > RECOVERY_LIMIT) return recovery
  }
}

function timesOf (samples: Samples, from: number, to: number): Times {
  return {
    cached: samples.percentiles('cached', from, to),
    uncached: samples.percentiles('uncached', from, to),
    hitRate: samples.hitRate(from, to)
  }
}
