// How processes know of each other's numbers: each puts its report into one hash in Redis, under its id, as long as somebody
// looks, and a dashboard reads them all. Times are Redis', so clocks of processes don't matter.
//
//   shop#instances          hash: id -> `<milliseconds of Redis' time>|<report>`
//   shop#instances:watched  there while somebody looks
//
// A process that has ended is left out as soon as its last report is older than `LIFE`, and taken away by who reads.
import type { RedisClient } from '../../index.js'
import type { Milliseconds } from '../../duration.js'
import { within } from '../../store/deadline.js'
import { Script } from '../../store/script.js'
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
local all = redis.call('HGETALL', KEYS[1])
local live = {}
for i = 1, #all, 2 do
  local at, report = string.match(all[i + 1], '^(%d+)|(.*)$')
  if at == nil or math.abs(now - tonumber(at)) > tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[1], all[i])
  else
    live[#live + 1] = string.format('%.0f', now - tonumber(at))
    live[#live + 1] = report
  end
end
return live`)

/** A report, and how old it is. */
export interface Heard { age: Milliseconds, report: Report }

export interface ReportsParts {
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
    await this.#asked(async () => await PUT.run(this.#redis, [this.#name], [report.id, JSON.stringify(report), this.#life]))
  }

  /** All that told lately, and has them go on telling. */
  async read (): Promise<Heard[]> {
    const told = await this.#asked(async () => {
      const [texts] = await Promise.all([
        READ.run(this.#redis, [this.#name], [this.#life]),
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

/** Nothing, where it is of another build, or damaged. */
function heard (age: Milliseconds, text: string): Heard[] {
  try {
    const report: unknown = JSON.parse(text)
    return isReport(report) ? [{ age, report }] : []
  } catch {
    return []
  }
}
