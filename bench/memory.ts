// `npm run bench -- --memory`: a cached route whose lookup misses all the time, each request another key, a million of them.
// The process' memory, each time after a collection. Its Redis drops what is not used, so it stays small.
import { Load } from './driver/load.js'
import type { Options } from './driver/options.js'
import { Server } from './driver/server.js'
import { OURS_REDIS, SUBJECTS } from './driver/subjects.js'
import { line } from './driver/table.js'

const STEPS = 10
const MB = 2 ** 20

interface Point { keys: number, rss: number, used: number }

/** Resolves to an exit code: 1 where answers were wrong or found in the cache. */
export async function showMemory ({ requests, connections }: Options, signal: AbortSignal): Promise<number> {
  const subject = SUBJECTS.find(({ id }) => id === OURS_REDIS)!
  const redisArgs = ['--maxmemory', '64mb', '--maxmemory-policy', 'allkeys-lru']
  const server = await Server.start(subject, { execArgv: ['--expose-gc'], redisArgs })
  let load: Load | undefined
  try {
    load = await Load.start()
    console.log(`${line(['keys asked for', 'RSS MB', 'heapUsed + external MB', 'requests/s'])}\n${line(Array(4).fill('---:'))}`)
    const points: Point[] = []
    let wrong = 0
    for (let step = 1; step <= STEPS; step++) {
      signal.throwIfAborted()
      const amount = Math.round(requests / STEPS)
      const result = await load.steady({ urls: server.urls, fresh: `m1-${step}-`, connections, seconds: 0, amount })
      wrong += result.wrong + (result.errors ?? 0) + (result.timeouts ?? 0)
      const { rss, heapUsed, external } = await server.memory()
      points.push({ keys: step * amount, rss: rss / MB, used: (heapUsed + external) / MB })
      const { keys, used } = points.at(-1)!
      console.log(line([keys, (rss / MB).toFixed(1), used.toFixed(2), (result.requests / result.took).toFixed(0)]))
    }
    const runs = await server.runs()
    console.log(`\n${runs} runs of the handler, ${wrong} wrong answers. ${growth(points)}`)
    return wrong > 0 || runs < requests ? 1 : 0
  } finally {
    await load?.stop()
    await server.stop()
  }
}

/** From the second point on: the first holds what is compiled and pooled once. */
function growth (points: readonly Point[]): string {
  const [first, last] = [points[1], points.at(-1)]
  if (first === undefined || last === undefined) return ''
  const thousands = (last.keys - first.keys) / 1000
  const per = (name: 'rss' | 'used'): string => `${((last[name] - first[name]) * 1024 / thousands).toFixed(2)} kB`
  return `From ${first.keys} to ${last.keys} keys: RSS by ${(last.rss - first.rss).toFixed(1)} MB, heapUsed + external by ` +
    `${(last.used - first.used).toFixed(2)} MB, so ${per('used')} for 1,000 keys.`
}
