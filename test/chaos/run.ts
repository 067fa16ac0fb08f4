// A fault, shortly, in a test: what must hold in each.
import type { Test } from 'tap'
import { FAULT_NAMES, stageOf, type FaultName } from './faults.js'
import { runRow, type Row } from './row.js'
import { startStage, type Stage, type StageKind } from './stage.js'
import type { Broken } from './app.js'
import { complaintsOf } from './table.js'

const SHORT = { seconds: 2, calm: 1, warmUp: 500 }
const LEAST_RATE = 200
/** Of an app that waits for no Redis, also where this machine is very busy. Milliseconds. */
export const SANE = 500
const MOST_LINES = 30

/** All faults of such a stage, one after the other, in one app: so each must leave it as it was. */
export async function eachFault (t: Test, kind: StageKind, names: readonly FaultName[] = faultsOn(kind)): Promise<void> {
  const stage = await startStage(kind)
  t.teardown(async () => { await stage.stop() })
  for (const name of names) await t.test(name, async (t) => { isUnharmed(t, await runRow(stage, name, SHORT)) })
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
  t.ok(row.during.cached.p50 < SANE, `p50 during the fault is ${row.during.cached.p50} ms`)
  t.ok(row.requests >= LEAST_RATE * (2 * SHORT.calm + SHORT.seconds), `${row.requests} requests`)
  t.ok(row.logLines <= MOST_LINES, `${row.logLines} lines were logged, not one a request`)
}
