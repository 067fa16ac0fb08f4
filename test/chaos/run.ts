// A fault, shortly, in a test: what must hold in each.
import type { Test } from 'tap'
import { extent } from '../helpers/extent.js'
import { FAULT_NAMES, stageOf, type FaultName } from './faults.js'
import { runRow, type Row } from './row.js'
import { startStage, type Stage, type StageKind } from './stage.js'
import type { Broken } from './app.js'
import { complaintsOf } from './table.js'

/** Those that `npm test` has: each kind of harm once. The others it leaves to `npm run test:long`. */
const TYPICAL: readonly FaultName[] = [
  'stopped', 'old-data', 'pause', 'out-of-memory', 'blackhole', 'reset', 'cluster-failover', 'cluster-node'
]
const SHORT = { seconds: 2, calm: 1, warmUp: 500, isFitted: true }
/** By how much a cached route may be slower than an uncached one in the same seconds. Milliseconds. */
export const SANE = 500
/** The share of the requests before the fault that are answered during it, at least. */
const LEAST_SHARE = 0.1
const MOST_LINES = 30

/** Faults of such a stage, one after the other, in one app: so each must leave it as it was. */
export async function eachFault (t: Test, kind: StageKind, names: readonly FaultName[] = faultsOn(kind)): Promise<void> {
  const stage = await startStage(kind)
  t.teardown(async () => { await stage.stop() })
  for (const name of extent(names.filter((name) => TYPICAL.includes(name)), names)) {
    await t.test(name, async (t) => { isUnharmed(t, await runRow(stage, name, SHORT)) })
  }
}

export function faultsOn (kind: StageKind): FaultName[] {
  return FAULT_NAMES.filter((name) => stageOf(name) === kind)
}

/** A row of an app that is broken. */
export async function brokenRow (t: Test, fault: FaultName, broken: Broken): Promise<Row> {
  const stage: Stage = await startStage(stageOf(fault), { broken })
  t.teardown(async () => { await stage.stop() })
  return await runRow(stage, fault, SHORT)
}

function isUnharmed (t: Test, row: Row): void {
  t.same(complaintsOf(row), [], 'nothing failed, nothing was stale, hits came back')
  t.ok(row.before.hitRate > 0, `${row.before.hitRate} of the requests were hits before`)
  // On a busy machine each step more takes longer; how much longer, the uncached routes say.
  const bound = SANE + 2 * uncachedTime(row)
  t.ok(delayOf(row) < bound, `cached routes are ${delayOf(row)} ms slower than uncached ones during the fault, ${bound} at most`)
  const [before, during] = [row.before.cached.count / SHORT.calm, row.during.cached.count / SHORT.seconds]
  t.ok(during >= LEAST_SHARE * before, `${during} requests a second during the fault, ${before} before`)
  t.ok(row.logLines <= MOST_LINES, `${row.logLines} lines were logged, not one a request`)
}

/** How much later a cached route answered during the fault than an uncached one; both wait for a busy machine. */
export function delayOf (row: Row): number {
  return row.during.cached.p50 - uncachedTime(row)
}

/** 0 where none was asked for. */
function uncachedTime ({ during: { uncached } }: Row): number {
  return uncached.count === 0 ? 0 : uncached.p50
}
