// How processes share their figures: each writes its report into one hash in Redis, under its id, as long as somebody
// looks, and a dashboard reads them all. Times are Redis', so clocks of processes don't matter.
//
//   shop#instances          hash: id -> `<milliseconds of Redis' time>|<report>`
//   shop#instances:watched  there while somebody looks
//
// A process that has ended is left out as soon as its last report is older than `LIFE`, and removed by the next reader.
import type { RedisClient } from '../../index.js'
import type { Milliseconds } from '../../duration.js'
import { within } from '../../store/wait/deadline.js'
import { Script } from '../../store/redis/script.js'
import type { Report } from './recorder.js'
import { isReport } from './report-shape.js'

/** Nobody waits longer for numbers. */
const DEADLINE: Milliseconds = 1_000

const PUT = new Script(`
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)) .. '|' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`)

const READ = new Script(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[2]) then
  redis.call('DEL', KEYS[1])
  return {}
end
local left = tonumber(ARGV[4])
local live = {}
for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do
  local length = redis.call('HSTRLEN', KEYS[1], id)
  local at, report
  if length <= tonumber(ARGV[3]) and length <= left then
    left = left - length
    at, report = string.match(redis.call('HGET', KEYS[1], id), '^(%d+)|(.*)$')
  end
  if at == nil or math.abs(now - tonumber(at)) > tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[1], id)
  else
    live[#live + 1] = string.format('%.0f', now - tonumber(at))
    live[#live + 1] = report
  end
end
return live`)

/** No process of ours writes more reports, or longer ones. */
const MOST_REPORTS = 1_000
const LONGEST_REPORT = 512 * 1024
/** The limit of all reports that are read at once; a report that is left out comes again. */
const LONGEST_READING = 16 * 1024 * 1024

/** A report, and how old it is. */
export interface Heard { age: Milliseconds, report: Report }

interface ReportsParts {
  redis: RedisClient
  /** The cache's. */
  prefix: string
  /** How often each process tells. */
  interval: Milliseconds
}

export class Reports {
  readonly #redis: RedisClient
  readonly #name: string
  readonly #life: Milliseconds

  constructor ({ redis, prefix, interval }: ReportsParts) {
    this.#redis = redis
    this.#name = `${prefix}#instances`
    this.#life = interval * 3 + DEADLINE * 2
  }

  /** Whether anybody looks. Rejects where Redis does not answer. */
  async isWatched (): Promise<boolean> {
    return await this.#asked(async () => await this.#redis.get(this.#watched)) !== null
  }

  /** Tells the others. */
  async put (report: Report): Promise<void> {
    await this.#asked(async () => await PUT.run(this.#redis, [this.#name], [report.id, textOf(report), this.#life]))
  }

  /** All that told lately, and has them go on telling. */
  async read (): Promise<Heard[]> {
    const told = await this.#asked(async () => {
      const [texts] = await Promise.all([
        READ.run(this.#redis, [this.#name], [this.#life, MOST_REPORTS, LONGEST_REPORT, LONGEST_READING]),
        WATCH.run(this.#redis, [this.#watched], [this.#life])
      ])
      return texts as string[]
    })
    return told.flatMap((text, i) => i % 2 === 0 ? heard(Number(text), told[i + 1]!) : [])
  }

  get #watched (): string {
    return `${this.#name}:watched`
  }

  async #asked<T> (ask: () => Promise<T>): Promise<T> {
    const { status } = this.#redis
    // Otherwise the client would keep the command until it is connected.
    if (status !== 'ready') throw new Error(`Redis is not connected (the client's status is "${status}")`)
    return await within(DEADLINE, ask())
  }
}

const WATCH = new Script("return redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])")

/** For an app with very many routes, only the counters. */
function textOf (report: Report): string {
  const text = JSON.stringify(report)
  if (Buffer.byteLength(text) < LONGEST_REPORT - 100) return text
  const { form, id, process, stats } = report
  const less: Report = { form, id, process, stats, times: {}, past: { routes: [], steps: [] } }
  const short = JSON.stringify(less)
  if (Buffer.byteLength(short) < LONGEST_REPORT - 100) return short
  return JSON.stringify({ ...less, stats: { ...stats, routes: {} } })
}

/** Nothing, where it is of another build, or damaged. */
function heard (age: Milliseconds, text: string): Heard[] {
  try {
    const report: unknown = JSON.parse(text)
    return isReport(report) ? [{ age, report }] : []
  } catch {
    return []
  }
}
