// Who runs side by side: each a file of ../subjects, a process each, with a Redis of its own.
import type { Size, Workload } from './options.js'

export interface Subject {
  id: string
  name: string
  /** In ../subjects; and what it is started with. */
  file: string
  variant?: string
  redis: boolean
  /** Whether hits come from this process' memory, be there a Redis behind it or not. */
  memory?: boolean
  /** What it keeps: whole responses; only what the handler gives, which then makes the response anew; nothing. */
  keeps: 'response' | 'value' | 'nothing'
  /** Whose versions the report states. */
  packages?: readonly string[]
  /** Where it may take part. Default: everywhere. */
  workloads?: readonly Workload[]
  sizes?: readonly Size[]
  quick?: boolean
  /** It may refuse to start: what it is made of is not there everywhere. */
  optional?: boolean
}

const OURS = { file: 'ours.js', keeps: 'response', quick: true } as const
const BARE = { file: 'bare.js', keeps: 'nothing', redis: false } as const
/** Its CPU time includes the route's behind it. What it has can't be invalidated from a handler. */
const PROXY = {
  file: 'proxy.js', keeps: 'response', redis: false, memory: true, optional: true, workloads: ['hit', '304', 'miss', 'stampede']
} as const

export const BARE_STRING = 'bare-string'
export const UNCACHED = 'bare-object'
export const BARE_REDIS = 'bare-redis'
export const HAND_WRITTEN = 'hand-written'
export const OURS_REDIS = 'ours-redis'
export const OURS_TIER = 'ours-tier'
export const OURS_MEMORY = 'ours-memory'

export const SUBJECTS: readonly Subject[] = [
  { ...OURS, id: OURS_REDIS, name: 'ours, Redis', variant: 'redis', redis: true },
  {
    ...OURS,
    id: 'ours-node-redis',
    name: 'ours, Redis by node-redis',
    variant: 'node-redis',
    redis: true,
    workloads: ['hit', 'miss'],
    quick: false
  },
  { ...OURS, id: OURS_TIER, name: 'ours, Redis + tier', variant: 'tier', redis: true, memory: true },
  { ...OURS, id: OURS_MEMORY, name: 'ours, in-process store', variant: 'memory', redis: false, memory: true },
  {
    ...BARE, id: BARE_STRING, name: 'bare Fastify, prepared string', variant: 'string', workloads: ['hit', 'processes'], quick: true
  },
  { ...BARE, id: 'bare-schema', name: 'bare Fastify, response schema', variant: 'schema', workloads: ['hit'] },
  {
    ...BARE,
    id: UNCACHED,
    name: 'bare Fastify, the uncached route',
    variant: 'object',
    workloads: ['hit', 'miss', 'stampede', 'processes'],
    quick: true
  },
  { ...BARE, id: 'bare-buffer', name: 'bare Fastify, prepared Buffer', variant: 'buffer', workloads: ['hit'], sizes: [256] },
  {
    ...BARE, id: BARE_REDIS, name: 'bare Fastify, Buffer read from Redis', variant: 'redis', redis: true, workloads: ['hit']
  },
  { id: HAND_WRITTEN, name: 'hand-written cache-aside', file: 'hand-written.js', redis: true, keeps: 'value' },
  {
    id: 'nest',
    name: 'NestJS CacheInterceptor, Keyv on Redis',
    file: 'nest.js',
    redis: true,
    keeps: 'response',
    packages: ['@nestjs/core', '@nestjs/cache-manager', '@keyv/redis', 'keyv']
  },
  {
    id: 'apicache-plus',
    name: 'apicache-plus, Redis',
    file: 'apicache-plus.js',
    redis: true,
    keeps: 'response',
    packages: ['apicache-plus', '@fastify/middie']
  },
  { ...peer('fastify-lcache'), name: 'fastify-lcache, in-process', redis: false, memory: true, keeps: 'response' },
  { ...peer('async-cache-dedupe'), name: 'async-cache-dedupe, Redis' },
  { ...peer('bentocache'), id: 'bentocache-l2', name: 'bentocache, L2 Redis', variant: 'l2' },
  { ...peer('bentocache'), id: 'bentocache-l1', name: 'bentocache, L1 + L2 + bus', variant: 'l1', memory: true },
  { ...peer('cache-manager'), name: 'cache-manager wrap, Keyv on Redis', packages: ['cache-manager', '@keyv/redis', 'keyv'] },
  { ...peer('cacheable'), name: 'cacheable getOrSet, memory + Redis', memory: true },
  { ...peer('layered-loader'), name: 'layered-loader, memory + Redis', memory: true },
  { ...peer('ocache'), name: 'ocache on h3, Redis', keeps: 'response', packages: ['ocache', 'h3'] },
  { ...peer('koa-cash'), name: 'koa-cash on Koa, Redis', keeps: 'response', packages: ['koa-cash', 'koa'] },
  { ...PROXY, id: 'nginx', name: 'nginx proxy_cache, in front of the uncached route', variant: 'nginx' },
  { ...PROXY, id: 'varnish', name: 'Varnish, in front of the uncached route', variant: 'varnish' }
]

/** In a handler of Fastify, where nothing else is said. */
function peer (name: string): Omit<Subject, 'name'> {
  return { id: name, file: `${name}.js`, redis: true, keeps: 'value', packages: [name] }
}
