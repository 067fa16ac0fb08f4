// A whole run: backend and processes once, then each mode in turn.
import type { AppConfig } from './app-process.js'
import { startBackend, type Backend } from './backend.js'
import { compileApp } from './compiled-app.js'
import { Driver, type Tally } from './driver.js'
import { startFleet, type Fleet, type FleetStats } from './fleet.js'
import { FAULT_OF } from './fault.js'
import type { Elsewhere, Incident } from './history.js'
import { Random } from './random.js'
import { Scene } from './scene.js'
import type { Settings } from './settings.js'
import { Workload, type ModeName } from './workload.js'

/** What one mode came to. */
export interface Run extends Tally, FleetStats {
  mode: ModeName
  target: Settings['target']
  processes: number
  /** As asked for, and as it was. */
  seconds: number
  took: number
  seed: number
  operations: number
  staleReads: number
  maxStalenessMs: number
  /** Seconds until the first stale read; null: there was none. */
  firstStale: number | null
  incidents: Incident[]
  fault: Settings['fault']
  /** With tiers, or blind: what processes served that others had replaced. Else null. */
  elsewhere: Elsewhere | null
  /** What the fault did, counted. */
  damage: Record<string, number>
}

export interface Circumstances {
  /** Ends the run early. */
  signal?: AbortSignal
  /** Called after each mode. */
  onRun?: (run: Run) => void
}

/** Runs the modes that the settings name. Whatever it started has ended when it resolves or rejects. */
export async function check (settings: Settings, circumstances: Circumstances = {}): Promise<Run[]> {
  const endings: Array<() => Promise<void>> = []
  try {
    const apps = [await compileApp(settings.plugin, settings.broken)]
    endings.unshift(async () => { await Promise.all(apps.map(async ({ remove }) => await remove())) })
    if (settings.beside !== undefined) apps.push(await compileApp(settings.beside))
    const backend = await startBackend(settings)
    endings.unshift(backend.stop)
    const fleet = await startFleet(apps.map(({ path }) => path), settings.processes, configOf(settings, backend))
    endings.unshift(async () => await fleet.stop())
    return await checkModes(settings, { ...circumstances, backend, fleet })
  } finally {
    for (const end of endings) await end()
  }
}

function configOf ({ modes, processes, fault, memory }: Settings, { postgres, address }: Backend): Omit<AppConfig, 'process'> {
  // Of Postgres' 50, some of which it keeps for itself.
  const connections = Math.max(1, Math.min(10, Math.floor(40 / processes)))
  return { modes, connections, postgres: postgres.url, redis: address, isTroubled: fault !== 'none', memory }
}

type Stage = Circumstances & { backend: Backend, fleet: Fleet }

async function checkModes (settings: Settings, stage: Stage): Promise<Run[]> {
  const runs: Run[] = []
  for (const mode of settings.modes) {
    if (stage.signal?.aborted === true) break
    const run = await checkMode(mode, settings, stage)
    stage.onRun?.(run)
    runs.push(run)
  }
  return runs
}

async function checkMode (mode: ModeName, settings: Settings, {
  backend, fleet, signal = new AbortController().signal
}: Stage): Promise<Run> {
  const { target, processes, seconds, seed, fault } = settings
  const driver = new Driver(fleet, new Workload(mode, settings.rows), { settings, signal })
  const scene = new Scene({ backend, history: driver.history, random: new Random(seed), seconds, signal })
  const before = await fleet.stats()
  const start = performance.now()
  const [damage] = await Promise.all([FAULT_OF[fault](scene), driver.run()])
  const took = (performance.now() - start) / 1000
  const after = await fleet.stats()
  const { staleReads, maxStaleness, firstStale, incidents } = driver.history
  return {
    mode,
    target,
    processes,
    seconds,
    took,
    seed,
    operations: driver.tally.reads + driver.tally.writes,
    ...driver.tally,
    fills: after.fills - before.fills,
    refused: after.refused - before.refused,
    outdated: after.outdated - before.outdated,
    tierHits: after.tierHits - before.tierHits,
    drops: after.drops - before.drops,
    delayMs: after.delayMs,
    staleReads,
    maxStalenessMs: Math.round(maxStaleness * 10) / 10,
    firstStale: firstStale === null ? null : Math.round(firstStale) / 1000,
    incidents,
    fault,
    elsewhere: settings.memory || settings.blind ? driver.history.elsewhere : null,
    damage
  }
}
