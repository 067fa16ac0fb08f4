// The faults, by the names that the command line has for them.
import { failover, handover, standstill } from './failover.js'
import { pressure } from './pressure.js'
import { restart } from './restart.js'
import type { Fault } from './scene.js'
import type { FaultName } from './settings.js'
import { untrack } from './untrack.js'

export const FAULT_OF: Record<FaultName, Fault> = {
  none: async () => ({}),
  pressure,
  restart,
  failover,
  handover,
  untrack,
  standstill
}
