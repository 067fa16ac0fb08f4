// One subject in one round of one workload: the load, and what it cost.
import { setTimeout as delay } from 'node:timers/promises'
import type { Load, LoadResult } from './load.js'
import type { Size, Workload } from './options.js'
import type { Invalidation, Server, Usage } from './server.js'
import { staleAnswers } from './statistics.js'
import { etagOf } from './traits.js'

export interface Figures {
  /** How many requests were answered. */
  answered: number
  /** A second. */
  requests: number
  p50: number
  p99: number
  /** Microseconds of CPU time of the server a request. */
  cpu: number
  redisCpu: number | null
  redisCommands: number | null
  /** Runs of the handler. */
  runs: number
  wrong: number
  example: string | undefined
  stale: number | null
  invalidations: number | null
}

interface Work {
  size: Size
  connections: number
  seconds: number
  /** Unlike any other slice's: what is missed must not have been asked for. */
  serial: string
}

const HOT = 16
const CROWD = 500
const INTERVAL = 50

/** `seconds` of load; of a stampede, one crowd. */
export async function runSlice (workload: Workload, server: Server, load: Load, work: Work): Promise<Figures> {
  if (workload === 'stampede') await connect(server, load)
  const before = await server.usage()
  const { result, invalidations } = await underLoad(workload, server, load, work)
  const after = await server.usage()
  const figures = figuresOf(result, before, after)
  if (invalidations === null) return figures
  return { ...figures, invalidations: invalidations.length, stale: staleAnswers(result.answers!, invalidations) }
}

interface Outcome { result: LoadResult, invalidations: Invalidation[] | null }

async function underLoad (workload: Workload, server: Server, load: Load, work: Work): Promise<Outcome> {
  const { size, serial, ...amount } = work
  const exact = isExact(server)
  const common = { urls: server.urls, exact, ...amount }
  switch (workload) {
    case 'hit': case 'processes':
      return { result: await load.steady({ ...common, ids: hotIds(size) }), invalidations: null }
    case '304': {
      const id = `h${size}-0`
      const headers = { 'if-none-match': await etagOf(server, id) }
      return { result: await load.steady({ ...common, ids: [id], headers, status: 304 }), invalidations: null }
    }
    case 'miss':
      return { result: await load.steady({ ...common, fresh: `m${size}-${serial}-` }), invalidations: null }
    case 'stampede':
      return { result: await load.burst({ urls: server.urls, id: `s${size}-${serial}`, count: CROWD, exact }), invalidations: null }
    case 'invalidation': {
      const id = `v${size}-0`
      const stop = new AbortController()
      const writer = invalidate(server, id, stop.signal)
      try {
        const result = await load.steady({ ...common, ids: [id] })
        stop.abort()
        return { result, invalidations: await writer }
      } finally {
        stop.abort()
      }
    }
  }
}

/** Opens the connections of the crowd, in a wave of hits. */
async function connect (server: Server, load: Load): Promise<void> {
  await load.burst({ urls: server.urls, id: 'h1-0', count: CROWD, exact: isExact(server) })
}

/** What keeps a value may give its members in another order: told as a loss, not counted as a wrong answer. */
function isExact ({ subject }: Server): boolean {
  return subject.keeps !== 'value'
}

async function invalidate (server: Server, id: string, signal: AbortSignal): Promise<Invalidation[]> {
  const done: Invalidation[] = []
  while (!signal.aborted) {
    const next = delay(INTERVAL, undefined, { signal }).catch(() => {})
    done.push(await server.invalidate(id))
    await next
  }
  return done
}

export function hotIds (size: Size): string[] {
  return Array.from({ length: HOT }, (_, i) => `h${size}-${i}`)
}

function figuresOf (result: LoadResult, before: Usage, after: Usage): Figures {
  const { requests, took } = result
  const failed = (result.errors ?? 0) + (result.timeouts ?? 0)
  const redis = before.redis === null || after.redis === null ? null : { before: before.redis, after: after.redis }
  return {
    answered: requests,
    requests: requests / took,
    p50: result.p50,
    p99: result.p99,
    cpu: (after.cpu - before.cpu) * 1e6 / requests,
    redisCpu: redis && (redis.after.cpu - redis.before.cpu) * 1e6 / requests,
    redisCommands: redis && (redis.after.commands - redis.before.commands) / requests,
    runs: after.runs - before.runs,
    wrong: result.wrong + failed,
    example: result.example ?? (failed > 0 ? `${failed} requests got no answer` : undefined),
    stale: null,
    invalidations: null
  }
}
