// A whole run: backend and readers once, then the rounds, several side by side on rows of their own.
import pg from 'pg'
import { startBackend, type Backend } from '../checker/backend.js'
import { compileApp, type CompiledApp } from '../checker/compiled-app.js'
import { startFleet } from '../checker/fleet.js'
import { DEFAULTS as CHECKER } from '../checker/settings.js'
import type { AppConfig } from './app.js'
import { emptyTally, type Tally } from './readings.js'
import { play, type Round, type Stage } from './round.js'
import type { Settings } from './settings.js'
import type { Step } from './step.js'

const READERS = 2
/** Above those of the checker. */
const FIRST_ROW = 1_000_000

/** What one step came to. */
export interface Run extends Tally { step: Step, rounds: number }

/** Plays all rounds, or until the signal. Whatever it started has ended when it resolves or rejects. */
export async function kill (settings: Settings, signal = new AbortController().signal): Promise<Run[]> {
  const endings: Array<() => Promise<unknown>> = []
  try {
    const app = await compileApp(undefined, settings.isBroken ? 'quarantine' : undefined)
    endings.unshift(app.remove)
    const backend = await startBackend({ ...CHECKER, target: settings.target, client: settings.client, rows: 2, ballast: 0 })
    endings.unshift(backend.stop)
    const { stage, end } = await stageOf(settings, { app, backend })
    endings.unshift(end)
    return await playAll(settings, stage, signal)
  } finally {
    for (const end of endings) await end()
  }
}

interface Ground { app: CompiledApp, backend: Backend }

async function stageOf (
  { isBroken }: Settings, { app, backend: { postgres, redis, address } }: Ground
): Promise<{ stage: Stage, end: () => Promise<unknown> }> {
  const config: AppConfig = { postgres: postgres.url, connections: 10, redis: address }
  const fleet = await startFleet([app.pathOf('race/kill/reader-process')], READERS, config)
  const database = new pg.Pool({ connectionString: postgres.url, max: 4 })
  const client = redis.client()
  const end = async (): Promise<void> => {
    client.disconnect()
    await Promise.all([fleet.stop(), database.end()])
  }
  const writer = { path: app.pathOf('race/kill/writer-process'), config: { ...config, connections: 1 } }
  return { stage: { fleet, redis: client, database, writer, isBroken }, end }
}

async function playAll ({ steps, times, lanes }: Settings, stage: Stage, signal: AbortSignal): Promise<Run[]> {
  const runs = steps.map((step): Run => ({ step, rounds: 0, ...emptyTally() }))
  const rounds = roundsOf(steps, times)
  const lane = async (): Promise<void> => {
    for (let round = rounds.shift(); round !== undefined && !signal.aborted; round = rounds.shift()) {
      add(runs[steps.indexOf(round.step)]!, await play(stage, round))
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  return runs
}

function roundsOf (steps: readonly Step[], times: number): Round[] {
  return Array.from({ length: times }, (_, i) => steps.map((step, j): Round => ({
    row: FIRST_ROW + i * steps.length + j, step, isCold: i % 2 === 1, isTriedAgain: i % 4 > 1
  }))).flat()
}

function add (run: Run, { reads, checked, hits, stale, failures }: Tally): void {
  run.rounds++
  run.reads += reads
  run.checked += checked
  run.hits += hits
  run.stale.push(...stale)
  run.failures.push(...failures)
}
