// What the cache promises, acted out at the press of a button: real requests through this app, to a cached route, and to one
// with a cache by hand as it is first written (look, load, keep; delete after a write). Each run has keys of its own.
import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { fields } from '../fields.js'
import { schema } from '../schema.js'

const CROWD = 50
const PATHS = { cached: '/experiments', byHand: '/experiments/by-hand' } as const
type Kind = keyof typeof PATHS

const selectReport = `
select country, count(*)::integer as cities from ${schema}.cities group by country order by cities desc, country limit 3`
const selectRow = `select name from ${schema}.users where id = 1`
const NAMES = ['Ada Brandt', 'Ada Brandt-Sommer'] as const

interface Row { name: string }

/** One experiment while it lasts. */
interface Run {
  /** How often the handler has read from the database. */
  loads: number
  /** The cache by hand. */
  kept: { value: unknown } | null
  /** Called when the handler has read; it answers when this has resolved. */
  pause: (() => Promise<void>) | null
}

interface Stage { app: FastifyInstance, runs: Map<string, Run> }

export async function experiments (app: FastifyInstance): Promise<void> {
  const stage: Stage = { app, runs: new Map() }
  stageRoute(stage, 'report', selectReport)
  stageRoute(stage, 'row', selectRow)
  app.post('/experiments/crowd', async () => {
    return { requests: CROWD, cached: await crowd(stage, 'cached'), byHand: await crowd(stage, 'byHand') }
  })
  // The row is one for all: one writer after the other.
  let last: Promise<unknown> = Promise.resolve()
  app.post('/experiments/late-reader', async () => {
    const turn = last.then(async () => ({ cached: await lateReader(stage, 'cached'), byHand: await lateReader(stage, 'byHand') }))
    last = turn.catch(() => {})
    return await turn
  })
}

const run = { type: 'string', pattern: '^[\\w-]{1,40}$', description: '1 to 40 letters, digits, _ or -' }

/** Once cached, once with a cache by hand. */
function stageRoute ({ app, runs }: Stage, name: string, query: string): void {
  const querystring = fields({ run })
  const load = async (run: Run | undefined): Promise<unknown> => {
    const { rows } = await app.pg.query(query)
    if (run === undefined) return rows
    run.loads++
    await run.pause?.()
    return rows
  }

  app.get<{ Querystring: { run: string } }>(`${PATHS.cached}/${name}`, {
    schema: { querystring }, cache: { key: `experiment:${name}:{run}`, ttl: '1m' }
  }, async (request) => await load(runs.get(request.query.run)))

  app.get<{ Querystring: { run: string } }>(`${PATHS.byHand}/${name}`, { schema: { querystring } }, async (request) => {
    const run = runs.get(request.query.run)
    if (run?.kept) return run.kept.value
    const value = await load(run)
    if (run !== undefined) run.kept = { value }
    return value
  })
}

/** Many requests at once for what nobody has asked for yet. */
async function crowd ({ app, runs }: Stage, kind: Kind): Promise<{ runs: number, took: number }> {
  const id = randomUUID()
  const run: Run = { loads: 0, kept: null, pause: null }
  runs.set(id, run)
  const startedAt = performance.now()
  await Promise.all(Array.from({ length: CROWD }, async () => await app.inject(`${PATHS[kind]}/report?run=${id}`)))
  runs.delete(id)
  return { runs: run.loads, took: performance.now() - startedAt }
}

interface Told {
  /** By the slow reader, before the write. */
  read: string
  written: string
  /** The slow reader's own answer. */
  late: string
  /** Whether that was kept for others. */
  isKept: boolean
  /** The next reader's answer. */
  next: string
}

/** A reader reads the row and takes its time; a writer commits another one and invalidates; then the reader answers. */
async function lateReader ({ app, runs }: Stage, kind: Kind): Promise<Told> {
  const id = randomUUID()
  const key = app.cache.key('experiment:row:{run}', { run: id })
  const [reading, answering] = [signal(), signal()]
  const run: Run = { loads: 0, kept: null, pause: async () => { reading.give(); await answering.given } }
  runs.set(id, run)
  const ask = async (): Promise<string> => (await app.inject(`${PATHS[kind]}/row?run=${id}`)).json<[Row]>()[0].name
  try {
    const reader = ask()
    await Promise.race([reading.given, reader])
    const { rows: [row] } = await app.pg.query<Row>(selectRow)
    const read = row!.name
    const written = NAMES.find((name) => name !== read)!
    await write(app, written, key)
    run.kept = null
    run.pause = null
    answering.give()
    const late = await reader
    // A response that is stored at all is stored by then.
    await app.cache.settled({ timeout: '1s' }).catch(() => {})
    const isKept = kind === 'byHand' ? run.kept !== null : await app.cache.inspect(key) !== null
    const next = await ask()
    await write(app, read, key)
    return { read, written, late, isKept, next }
  } finally {
    answering.give()
    runs.delete(id)
  }
}

async function write ({ cache, pg }: FastifyInstance, name: string, key: string): Promise<void> {
  await pg.query(`update ${schema}.users set name = $1 where id = 1`, [name])
  await cache.invalidate(['user:1', key])
}

function signal (): { given: Promise<void>, give: () => void } {
  let give = (): void => {}
  const given = new Promise<void>((resolve) => { give = resolve })
  return { given, give }
}
