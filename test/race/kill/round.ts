// One round: readers all the time, a writer that is killed at a step, and what is read when its quarantine has run out.
//
//   1.    both routes have hits; in every second round the entries are evicted then, so that handlers with a lease run
//   2. W  mutate: quarantine; at each step it waits until all have been answered once more
//   3. F  slow handlers read the old version; they end behind 6
//   4. W  is killed; Postgres ends its transaction
//   5.    in every second round somebody tries again what was not written, in another process
//   6.    the quarantine runs out; the database is asked for the version, which is final
//   7. R  whatever is read from here on must give it: until all of 3 have ended, and then until there are hits everywhere
import type { Cluster, Redis } from 'ioredis'
import type pg from 'pg'
import type { Fleet } from '../checker/fleet.js'
import { Random } from '../checker/random.js'
import { until } from '../../helpers/until.js'
import { QUARANTINE_TIME, type AppConfig } from './app.js'
import { Readings, type Tally } from './readings.js'
import type { Step } from './step.js'
import { Writer } from './writer.js'

/** Milliseconds, for a busy machine. */
const DEADLINE = 60_000
/** So long that a handler which begins before the kill ends behind the quarantine. */
const SLEEP = QUARANTINE_TIME * 1000 + 300
const CHECKS = 20

export interface Stage {
  fleet: Fleet
  redis: Redis | Cluster
  database: pg.Pool
  /** The module of the writer, and what it is told besides its row. */
  writer: { path: string, config: AppConfig }
  /** Whether the quarantine does not occupy the lease's name. */
  isBroken: boolean
}

export interface Round { row: number, step: Step, isCold: boolean, isTriedAgain: boolean }

export async function play (stage: Stage, round: Round): Promise<Tally> {
  await stage.database.query('insert into rows values ($1, 1)', [round.row])
  const writer = new Writer(stage.writer.path, { ...stage.writer.config, row: round.row })
  const readings = new Readings(stage.fleet, round.row, new Random(round.row))
  try {
    await killed(stage, round, { writer, readings })
    await checked(stage, round, readings)
  } catch (error) {
    readings.tally.failures.push(`row ${round.row}, ${round.step}: ${(error as Error).message}`)
  } finally {
    await writer.kill()
    await readings.end()
  }
  return readings.tally
}

interface Actors { writer: Writer, readings: Readings }

/** Up to 5. */
async function killed (
  stage: Stage, { row, step, isCold, isTriedAgain }: Round, { writer, readings }: Actors
): Promise<void> {
  await until(async () => readings.hasHits(), 'hits of both routes in each process', DEADLINE)
  if (isCold) {
    await Promise.all([`cache:row:${row}`, `cache:tagged:${row}`].map(async (name) => await stage.redis.unlink(name)))
    readings.readSlowly(SLEEP * 1.5)
  }
  const between = async (): Promise<void> => {
    readings.begin(null)
    readings.readSlowly(SLEEP)
    await until(async () => readings.hasAnswers(), 'answers while the writer is at work', DEADLINE)
  }
  await writer.reach(step, between)
  await until(async () => await isQuarantined(stage, row), `a quarantine of row ${row}`, DEADLINE)
  if (step !== 'after commit') await between()
  await writer.kill()
  const version = await settledVersion(stage, row)
  const expected = step === 'after commit' ? 2 : 1
  if (version !== expected) throw new Error(`the database has version ${version}, not ${expected}`)
  if (isTriedAgain && step !== 'after commit') await tryAgain(stage, row)
}

/** From 6 on. */
async function checked (stage: Stage, { row }: Round, readings: Readings): Promise<void> {
  await until(async () => !(await inQuarantine(stage, row)).includes(true), 'the end of the quarantine', DEADLINE)
  const truth = await settledVersion(stage, row)
  readings.begin(truth)
  await until(async () => readings.hasLeftBehind(), 'the end of what began before', DEADLINE)
  readings.begin(truth)
  await until(async () => readings.hasHits(CHECKS), 'hits again', DEADLINE)
}

async function tryAgain ({ fleet }: Stage, row: number): Promise<void> {
  const { status, body } = await fleet.ask(row % fleet.size, { path: `/write/${row}`, json: {} })
  if (status !== 200) throw new Error(`the second write: status ${status}: ${body}`)
}

async function isQuarantined (stage: Stage, row: number): Promise<boolean> {
  const [lease, tag] = await inQuarantine(stage, row)
  return tag === true && (lease === true || stage.isBroken)
}

/** Of the lease's name, and of the tag's generation. */
async function inQuarantine ({ redis }: Stage, row: number): Promise<boolean[]> {
  const names = [`lease:{cache:row:${row}}`, `cache#tag:group:${row}`]
  return await Promise.all(names.map(async (name) => (await redis.get(name))?.startsWith('!') === true))
}

/** Behind the lock of a transaction that is still to be rolled back. */
async function settledVersion ({ database }: Stage, row: number): Promise<number> {
  const { rows: [found] } = await database.query<{ version: number }>('select version from rows where id = $1 for update', [row])
  return found!.version
}
