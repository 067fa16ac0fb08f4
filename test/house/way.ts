// The way of one request: the files of plugin/ whose functions it runs, from the hook to the store. For a hit, and for a
// miss with its fill, on a Redis of its own. A file that is loaded, and of which nothing runs, does not count.
//
//   npm run way
import fastify from 'fastify'
import { Session, type Profiler } from 'node:inspector/promises'
import { get } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import routeCache from '../../plugin/index.js'
import { startRedis } from '../helpers/redis.js'
import { root } from './source-tree.js'

/** Both have run, and been optimised or not, before they are measured. */
const WARM_UP = 20
/** What ran in each of these is of the request; what ran in one of them may be of a timer. */
const ROUNDS = 5
/** Long enough for a fill on a server of this machine. `settled()` would be counted itself. */
const FILL_TIME = 30
/** Functions of whoever strips the types, and of V8: no reader meets them. */
const NOT_WRITTEN = ['__name', '<instance_members_initializer>']
/** In the order of a request. */
const ROOMS = [
  'fastify', 'request', 'users', 'route', 'key', 'http', 'cache', 'store', 'store/redis', 'store/server', 'store/wait', 'entry', 'send',
  'response', 'calls', 'telling', '.'
]

/** By the file's path below plugin/, the functions in the order in which they stand there. */
type Way = Map<string, string[]>

const redis = await startRedis()
const app = fastify()
const session = new Session()
session.connect()
try {
  const client = redis.client()
  await client.ping()
  await app.register(routeCache, { redis: client, prefix: 'way' })
  app.get('/users/:id', { cache: { key: 'user:{id}', ttl: 600, tags: ['users'] } }, async ({ params }) => ({ ...params as object }))
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  let id = 0
  for (let i = 0; i < WARM_UP; i++) {
    await ask(`${url}/users/0`)
    await ask(`${url}/users/${++id}`)
  }
  await session.post('Profiler.enable')
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
  print('hit', await measured(async () => await ask(`${url}/users/0`), 'hit'))
  print('miss, with its fill', await measured(async () => await ask(`${url}/users/${++id}`), 'fwd=miss'))
} finally {
  await app.close()
  await redis.stop()
}

async function ask (url: string): Promise<string> {
  const answer = await new Promise<string>((resolve, reject) => {
    get(url, (response) => {
      response.resume().on('end', () => { resolve(String(response.headers['cache-status'])) })
    }).on('error', reject)
  })
  await delay(FILL_TIME)
  return answer
}

/** What runs each time. */
async function measured (run: () => Promise<string>, expected: string): Promise<Way> {
  let way: Way | null = null
  for (let i = 0; i < ROUNDS; i++) {
    await session.post('Profiler.takePreciseCoverage')
    const answer = await run()
    const { result } = await session.post('Profiler.takePreciseCoverage')
    if (!answer.includes(expected)) throw new Error(`a ${expected} was to be measured: ${answer}`)
    const ran = wayOf(result)
    way = way === null ? ran : common(way, ran)
  }
  return way!
}

function wayOf (scripts: Profiler.ScriptCoverage[]): Way {
  const way: Way = new Map()
  for (const { url, functions } of scripts) {
    const [, path] = url.split('/plugin/')
    if (path === undefined || !url.includes(root)) continue
    const ran = functions.filter(({ functionName: name, ranges }) => ranges[0]!.count > 0 && !NOT_WRITTEN.includes(name))
    if (ran.length > 0) way.set(path, ran.map(({ functionName: name }) => name || '(anonymous)'))
  }
  return way
}

function common (one: Way, other: Way): Way {
  const both = Array.from(one, ([path, names]): [string, string[]] => [
    path, names.filter((name) => other.get(path)?.includes(name))
  ])
  return new Map(both.filter(([, names]) => names.length > 0))
}

function print (what: string, way: Way): void {
  const paths = [...way.keys()].sort((a, b) => placeOf(a) - placeOf(b) || a.localeCompare(b))
  const functions = [...way.values()].reduce((sum, names) => sum + names.length, 0)
  console.log(`\n${what}: ${paths.length} files, ${functions} functions`)
  for (const path of paths) console.log(`  ${path.padEnd(34)} ${way.get(path)!.join(', ')}`)
}

function placeOf (path: string): number {
  return ROOMS.indexOf(path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '.')
}
