// Tries Redis as the cache uses it: what is found, what that means for this cache, and what to do.
import { randomUUID } from 'node:crypto'
import { put } from '../../calls/put.js'
import { getOrSet } from '../../calls/value.js'
import type { Milliseconds } from '../../duration.js'
import { RouteCacheError } from '../../errors.js'
import { MOST_SKEW } from '../../store/store.js'
import type { RedisClient } from '../../store/server/redis-client.js'
import { Keys } from '../../store/keys.js'
import { causeOf, ROOM } from '../../store/server/causes.js'
import { addressOf, primariesOf } from '../../store/server/topology.js'
import { isLate, wallClock, within } from '../../store/wait/deadline.js'
import type { CommandWork } from './words.js'
import type { CommandConnection } from './connection.js'
import type { Finding } from './finding.js'
import { unansweredOf } from './limit.js'
import { tryRights } from './rights.js'
import { trackingOf } from './tracking-trial.js'

const PINGS = 20
/** The plugin's default `deadline`. */
const DEADLINE: Milliseconds = 50

export async function examineServers ({ connection }: CommandWork): Promise<{ text: string, data: unknown, code: 0 | 1 }> {
  const servers = primariesOf(connection.client)
  const findings: Finding[] = []
  for (const server of servers) {
    const where = servers.length > 1 ? `${addressOf(server)}: ` : ''
    const found = await examineServer(server, connection)
    findings.push(...found.map((one) => ({ ...one, text: where + one.text })))
  }
  // What is no primary, or is to be asked otherwise, refuses all the rest for that reason.
  const isHopeless = findings.some(({ check, state }) => state === 'wrong' && ['mode', 'role'].includes(check))
  if (!isHopeless) findings.push(...await tryAll(connection, findings))
  const latency = await latencyOf(connection)
  if (latency !== null) findings.push(latency)
  const code = findings.some(({ state }) => state === 'wrong') ? 1 : 0
  const text = findings.map(({ state, check, text }) => `${state.padEnd(6)}${check.padEnd(10)}${text}`).join('\n')
  return { text, data: { healthy: code === 0, findings }, code }
}

/** Rights, a value's whole life, and tracking. Whether the server is full is said once, of its eviction: among `found`. */
async function tryAll (connection: CommandConnection, found: Finding[]): Promise<Finding[]> {
  const rights = await tryRights(connection)
  const work = rights.isFull ? null : await tryWork(connection)
  if (rights.isFull || work === 'full') {
    const check = 'eviction'
    const at = found.findIndex((one) => one.check === check)
    const full: Finding = { check, state: 'wrong', text: `the server is full, and evicts nothing: nothing new is stored. Invalidations go on. ${advice(ROOM)}` }
    found.splice(at < 0 ? found.length : at, at < 0 ? 0 : 1, full)
  }
  const isFull = rights.isFull || work === 'full'
  const worked: Finding = isFull
    ? { check: 'work', state: 'note', text: 'not tried, as the server is full' }
    : work as Finding
  // It is tried by writes.
  const tracking: Finding = worked.state === 'ok'
    ? await trackingOf(connection)
    : { check: 'tracking', state: 'note', text: 'not tried, as nothing can be stored' }
  return [...rights.findings, worked, tracking]
}

function advice (words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1)
}

/** For a command that nobody answers. */
function unanswered (check: string, command: string): Finding {
  return { check, state: 'wrong', text: `${command} got no answer: the server stands still, or what is between drops it` }
}

async function examineServer (server: RedisClient, { limit, place, prefix }: CommandConnection): Promise<Finding[]> {
  const asked = (server as unknown as { info: () => Promise<unknown> }).info()
  const answer = await within(limit.share, asked).then(fieldsOf, (error: unknown) => error)
  if (isLate(answer)) return [unanswered('version', 'INFO')]
  const clock = await clockOf(server, limit.share)
  if (!(answer instanceof Map)) {
    const text = `INFO is refused, by which the cache knows the server: it serves nothing. ACL SETUSER <user> +info (prefix "${prefix}")`
    return [{ check: 'version', state: 'wrong', text }, ...clock]
  }
  const info = answer as Info
  return [versionOf(info), modeOf(info, place.mode), roleOf(info), runIdOf(info), memoryOf(info), ...clock]
}

type Info = ReadonlyMap<string, string>

function fieldsOf (info: unknown): Info {
  return new Map(String(info).split('\r\n').map((line): [string, string] => {
    const at = line.indexOf(':')
    return [line.slice(0, at), line.slice(at + 1)]
  }))
}

function versionOf (info: Info): Finding {
  const valkey = info.get('valkey_version')
  const version = valkey ?? info.get('redis_version') ?? ''
  const said = `${valkey === undefined ? 'Redis' : 'Valkey'} ${version === '' ? 'of an unknown version' : version}`
  if (Number.parseInt(version) >= 7) return { check: 'version', state: 'ok', text: said }
  const text = `${said}: too old. The cache needs Redis 7 or Valkey 8: scripts with flags, SET with NX and GET`
  return { check: 'version', state: 'wrong', text }
}

function modeOf (info: Info, asked: CommandConnection['place']['mode']): Finding {
  const mode = info.get('redis_mode') ?? 'standalone'
  if (mode === 'cluster' && asked !== 'cluster') {
    return {
      check: 'mode',
      state: 'wrong',
      text: 'the server is one of a Cluster, and was asked as a single one: names of other slots are refused (MOVED). Give the plugin new ' +
        'Cluster([{ host, port }]) of ioredis, and this command --cluster'
    }
  }
  if (mode === 'sentinel') {
    const text = 'this is a sentinel, which holds no data. Use --sentinel HOST:PORT --master NAME; for the plugin { redis: { sentinels, name } }'
    return { check: 'mode', state: 'wrong', text }
  }
  return { check: 'mode', state: 'ok', text: asked === 'single' ? 'one server' : asked === 'sentinel' ? 'found by sentinels' : 'a Cluster' }
}

function roleOf (info: Info): Finding {
  if (info.get('role') === 'slave' || info.get('role') === 'replica') {
    const primary = `${info.get('master_host') ?? '?'}:${info.get('master_port') ?? '?'}`
    const text = `a replica, of ${primary}: it takes no writes, so nothing is stored, and invalidations reject. Connect to the primary`
    return { check: 'role', state: 'wrong', text }
  }
  const replicas = Number(info.get('connected_slaves') ?? 0)
  const text = replicas === 0
    ? 'a primary without replicas: after a restart the cache is empty, never old'
    : `a primary with ${replicas} ${replicas === 1 ? 'replica' : 'replicas'}: after a failover the cache is empty, never old (waitForReplicas)`
  return { check: 'role', state: 'ok', text }
}

function runIdOf (info: Info): Finding {
  if (/^\w{20,}$/.test(info.get('run_id') ?? '')) return { check: 'run_id', state: 'ok', text: 'told: a server that comes back is noticed' }
  const text = 'not told, by a proxy for example: the cache can not know a server that came back with an older memory, and serves nothing'
  return { check: 'run_id', state: 'wrong', text }
}

function memoryOf (info: Info): Finding {
  const [most, used, policy] = [Number(info.get('maxmemory') ?? 0), Number(info.get('used_memory') ?? 0), info.get('maxmemory_policy') ?? 'unknown']
  const check = 'eviction'
  if (most === 0) return { check, state: 'note', text: 'no maxmemory: what the cache stores is bounded by ttl alone. Set maxmemory, and maxmemory-policy volatile-lru' }
  if (policy === 'noeviction') {
    return used < most
      ? { check, state: 'note', text: `noeviction: when the server is full nothing new is stored; hits and invalidations go on. Then ${ROOM}` }
      : { check, state: 'wrong', text: `noeviction, and the server is full: nothing new is stored. Invalidations go on. ${advice(ROOM)}` }
  }
  const said = policy.startsWith('allkeys')
    ? 'entries make room; where the clock or the floor go with them the cache is empty, never old. volatile-lru spares them'
    : 'entries make room, the clock and the floor stay: as it should be'
  return { check, state: policy.startsWith('allkeys') ? 'note' : 'ok', text: `${policy}: ${said}` }
}

async function clockOf (server: RedisClient, timeout: Milliseconds): Promise<Finding[]> {
  const began = wallClock()
  const time = await within(timeout, (server as unknown as { time: () => Promise<unknown[]> }).time()).catch(() => null)
  // One of the rights.
  if (time === null) return []
  const ended = wallClock()
  const there = Number(time[0]) * 1000 + Math.floor(Number(time[1]) / 1000)
  const ahead = there > ended ? there - ended : there < began ? there - began : 0
  if (Math.abs(ahead) <= MOST_SKEW) return [{ check: 'clock', state: 'ok', text: 'as this machine\'s, within a second' }]
  const text = `${(Math.abs(ahead) / 1000).toFixed(1)} s ${ahead > 0 ? 'ahead of' : 'behind'} this machine's: invalidations are exact all the ` +
    'same, but ages may be wrong by that, and { soft: true } drops what it would have made stale. Let NTP set both'
  return [{ check: 'clock', state: 'wrong', text }]
}

/** By a read of the cache's own, so that no other right is needed; null: it is refused, which is among the rights. */
async function latencyOf ({ client, prefix, limit }: CommandConnection): Promise<Finding | null> {
  const check = 'latency'
  const { floor } = new Keys(prefix)
  const times: Milliseconds[] = []
  const least = limit.share
  while (times.length < PINGS && (times.length === 0 || limit.left > least)) {
    const began = performance.now()
    const error: unknown = await within(limit.left / 2, client.get(floor)).then(() => null, (error: unknown) => error)
    if (error !== null) return isLate(error) ? unanswered(check, 'GET') : null
    times.push(performance.now() - began)
  }
  times.sort((a, b) => a - b)
  const [median, worst] = [times[Math.floor(times.length / 2)]!, times.at(-1)!]
  const said = `median ${median.toFixed(1)} ms, worst ${worst.toFixed(1)} ms of ${times.length} trips`
  if (median < DEADLINE / 4) return { check, state: 'ok', text: said }
  if (median < DEADLINE) return { check, state: 'note', text: `${said}: handlers that take less gain nothing` }
  const text = `${said}: longer than the plugin's deadline of ${DEADLINE} ms, so requests bypass the cache. Move them together, or raise deadline`
  return { check, state: 'wrong', text }
}

/** A value that is stored, found, invalidated by its tag, and gone. */
async function tryWork (connection: CommandConnection): Promise<Finding | 'full'> {
  const check = 'work'
  try {
    return await within(connection.limit.share, workOf(connection))
  } catch (error) {
    const said = causeOf(error)
    if (said?.startsWith('OOM') === true) return 'full'
    if (isLate(error)) {
      const why = unansweredOf(connection.client, connection.place)
      return { check, state: 'wrong', text: `a value could not be stored and invalidated: ${why}` }
    }
    const isOwn = error instanceof RouteCacheError && error.cause === undefined
    const why = isOwn ? error.message : said ?? connection.describe(error)
    return { check, state: 'wrong', text: `a value could not be stored and invalidated: ${why}` }
  }
}

async function workOf ({ assembled }: CommandConnection): Promise<Finding> {
  const check = 'work'
  const key = `doctor:${randomUUID()}`
  const { cache, values } = assembled()
  const kept = async (): Promise<unknown> => await getOrSet(values, { key, options: { tags: [key], ttl: 0 }, load: () => 'loaded' })
  await cache.connect()
  await put(values, { key, options: { tags: [key], ttl: 60 }, work: () => 'stored' })
  const [before] = [await kept()]
  await cache.invalidation.run({ keys: [], tags: [key], prefixes: [], all: false })
  const after = await kept()
  await cache.invalidation.run({ keys: [key], tags: [], prefixes: [], all: false })
  if (before === 'stored' && after === 'loaded') return { check, state: 'ok', text: 'a value was stored, found, invalidated by its tag, and gone' }
  const what = before === 'stored' ? 'what was invalidated is found still' : 'what was stored is not found'
  return { check, state: 'wrong', text: `${what}: see what else is wrong here` }
}
