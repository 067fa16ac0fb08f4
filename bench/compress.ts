// The costs and savings of `compress`: CPU of the server's process for a hit and for a miss, beside @fastify/compress, which
// compresses each hit, and beside bodies as they are; and what an entry takes in Redis. All in one run, in turns.
//
//   npm run bench:compress -- [rounds]
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Agent, get, type IncomingMessage } from 'node:http'
import { fileURLToPath } from 'node:url'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { startRedis } from '../test/helpers/redis.js'

const [rounds = 7] = process.argv.slice(2).map(Number)
const SIZES = [{ size: 16, hits: 400, misses: 60 }, { size: 256, hits: 100, misses: 20 }]
const AT_ONCE = 8
const WAYS = { plain: 'as it is', each: '@fastify/compress, each hit', stored: 'compress' } as const
type Way = keyof typeof WAYS

interface Answer { status: string, coding: string | undefined, body: Buffer }

const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
const redis = await startRedis()
const env = { ...process.env, REDIS_URL: redis.url }
const app = fileURLToPath(new URL('compress-app.ts', import.meta.url))
const child = fork(app, { execArgv: ['--import=./test/helpers/typescript.mjs'], env })
let misses = 0
try {
  const [{ urls }] = await once(child, 'message') as [{ urls: Record<string, string> }]
  for (const { size, ...counts } of SIZES) await measure(urls, size, counts)
} finally {
  child.kill('SIGKILL')
  agent.destroy()
  await redis.stop()
}

type Counts = Record<'hits' | 'misses', number>

async function measure (urls: Record<string, string>, size: number, counts: Counts): Promise<void> {
  for (const url of Object.values(urls)) await settle(`${url}/${size}`)
  const text = (await ask(`${urls['memory plain']!}/${size}`, 'identity')).body
  console.log(`\n${text.length} bytes of JSON; µs of CPU for each request, the median of ${rounds} rounds (lowest to highest)`)
  for (const store of ['redis', 'memory']) {
    for (const coding of ['br', 'gzip', 'identity']) {
      const time = async (way: Way, count: number, isMiss: boolean): Promise<number> =>
        await cpuOf(urls[`${store} ${way}`]!, { size, coding, count, text, isMiss, way })
      await table(`${store}, hits for ${coding}`, async (way) => await time(way, counts.hits, false))
      if (coding === 'br') await table(`${store}, misses for ${coding}`, async (way) => await time(way, counts.misses, true))
    }
  }
  const client = redis.client()
  for (const way of Object.keys(WAYS) as Way[]) {
    const name = `redis-${way}:${size}:%-`
    const bytes = [await client.strlen(name), await client.call('MEMORY', 'USAGE', name)]
    console.log(`  in Redis, ${WAYS[way]}: ${bytes[0]} bytes stored, ${bytes[1]} bytes of memory`)
  }
  for (const coding of ['br', 'gzip']) {
    const { body } = await ask(`${urls['memory stored']!}/${size}`, coding)
    console.log(`  ${coding}: ${body.length} bytes`)
  }
}

async function table (what: string, time: (way: Way) => Promise<number>): Promise<void> {
  const ways = Object.keys(WAYS) as Way[]
  const times: Record<Way, number[]> = { plain: [], each: [], stored: [] }
  for (const way of ways) await time(way)
  for (let round = 0; round < rounds; round++) for (const way of ways) times[way].push(await time(way))
  console.log(`  ${what}`)
  for (const way of ways) {
    const sorted = times[way].sort((a, b) => a - b)
    const [low, middle, high] = [sorted[0]!, sorted[rounds >> 1]!, sorted.at(-1)!].map((one) => one.toFixed(0))
    console.log(`    ${WAYS[way].padEnd(28)} ${middle!.padStart(6)} (${low} to ${high})`)
  }
}

interface Slice { size: number, coding: string, count: number, text: Buffer, isMiss: boolean, way: Way }

async function cpuOf (url: string, { size, coding, count, text, isMiss, way }: Slice): Promise<number> {
  const before = await cpu()
  let sent = 0
  const one = async (): Promise<void> => {
    while (sent++ < count) {
      const answer = await ask(`${url}/${size}${isMiss ? `?n=${++misses}` : ''}`, coding)
      check(answer, { text, is: isMiss ? 'fwd=miss' : 'hit', coding: coding !== 'identity' && isEncoded(way, isMiss) ? coding : undefined })
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, one))
  // Nobody waits for fills, but they come one after another.
  if (isMiss) await settle(`${url}/${size}?n=${misses}`)
  return (await cpu() - before) / count
}

function isEncoded (way: Way, isMiss: boolean): boolean {
  return way === 'each' || (way === 'stored' && !isMiss)
}

/** Until it is a hit. */
async function settle (url: string): Promise<void> {
  while (!(await ask(url, 'identity')).status.includes('hit')) continue
}

function check ({ status, coding, body }: Answer, expected: { text: Buffer, is: string, coding: string | undefined }): void {
  const isRight = status.includes(expected.is) && coding === expected.coding
  if (!isRight) throw new Error(`${status} in ${coding}, not ${expected.is} in ${expected.coding}`)
  // One of some: the driver's CPU is the machine's, too.
  if (Math.random() > 0.05) return
  const whole = coding === 'br' ? brotliDecompressSync(body) : coding === 'gzip' ? gunzipSync(body) : body
  if (!whole.equals(expected.text)) throw new Error('another body')
}

async function cpu (): Promise<number> {
  child.send('cpu')
  const [{ cpu }] = await once(child, 'message') as [{ cpu: number }]
  return cpu
}

async function ask (url: string, accepted: string): Promise<Answer> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, { agent, headers: { 'accept-encoding': accepted } }, resolve).on('error', reject)
  })
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  const { 'content-encoding': coding, 'cache-status': status } = response.headers
  return { status: String(status), coding, body: Buffer.concat(chunks) }
}
