// The faults, by the names that the command line has for them. Each begins, and gives what ends it; what is put back in
// order only behind that is its `tidy`.
import type { Redis } from 'ioredis'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { startRedis, type RedisServer } from '../helpers/redis.js'
import { isPrimary } from '../helpers/redis-sentinel.js'
import { until } from '../helpers/until.js'
import type { Mode } from './proxy.js'
import type { Stage, StageKind } from './stage.js'

export interface UnderWay {
  end: () => Promise<void>
  tidy?: () => Promise<void>
}

export interface Fault {
  what: string
  /** Default: `single`. */
  stage?: StageKind
  /** `time`: how long until it is ended, in milliseconds. */
  begin: (stage: Stage, time: number) => Promise<UnderWay>
}

const LATENCY = 200
const DRIP = { bytes: 4, every: 5 }
const KILL_EVERY = 200
const DUMP = 'dump.rdb'

export const FAULTS = {
  stopped: {
    what: 'SIGSTOP, then SIGCONT',
    async begin ({ server }) {
      await server.pause()
      return { end: async () => { server.resume() } }
    }
  },
  killed: {
    what: 'kill -9, then restarted empty',
    async begin ({ server }) {
      await forgetDump(server)
      await server.kill()
      return { end: async () => { await server.restart() } }
    }
  },
  'old-data': {
    what: 'kill -9 and restarted with what it had before later invalidations',
    async begin ({ server }, time) {
      await server.ask('SAVE')
      // Here writes go on: what they invalidate is in the snapshot.
      await delay(time / 2)
      const dump = await dumpOf(server)
      await server.kill()
      return {
        async end () {
          await server.restart()
          await rm(dump, { force: true })
        }
      }
    }
  },
  pause: {
    what: 'CLIENT PAUSE … ALL',
    async begin ({ server }, time) {
      await server.ask('CLIENT', 'PAUSE', Math.round(time), 'ALL')
      return { end: async () => { await server.ask('PING') } }
    }
  },
  sleep: {
    what: 'DEBUG SLEEP',
    async begin ({ server }, time) {
      const asleep = server.ask('DEBUG', 'SLEEP', time / 1000)
      return { end: async () => { await asleep } }
    }
  },
  'out-of-memory': {
    what: 'maxmemory with noeviction: it refuses to write',
    async begin ({ server }) {
      await server.ask('CONFIG', 'SET', 'maxmemory-policy', 'noeviction', 'maxmemory', 1)
      return { end: async () => { await server.ask('CONFIG', 'SET', 'maxmemory', 0) } }
    }
  },
  replica: {
    what: 'REPLICAOF another server: read-only; then a primary again',
    async begin ({ server }) {
      const primary = await startRedis()
      await server.ask('REPLICAOF', primary.host, primary.port)
      return {
        async end () {
          await server.ask('REPLICAOF', 'NO', 'ONE')
          await primary.stop()
        }
      }
    }
  },
  password: {
    what: 'requirepass set, all clients killed: NOAUTH',
    async begin ({ server }) {
      const control = await controlOf(server)
      await control.config('SET', 'requirepass', 'changed')
      await killClients(control)
      return {
        async end () {
          await control.config('SET', 'requirepass', '')
          control.disconnect()
        }
      }
    }
  },
  'client-kill': {
    what: `CLIENT KILL of all clients, every ${KILL_EVERY} ms`,
    async begin ({ server }) {
      const control = await controlOf(server)
      const over = new AbortController()
      const killing = (async () => {
        for (; !over.signal.aborted; await delay(KILL_EVERY, undefined, { signal: over.signal }).catch(() => {})) {
          await killClients(control)
        }
      })()
      return {
        async end () {
          over.abort()
          await killing
          control.disconnect()
        }
      }
    }
  },
  flushall: {
    what: 'FLUSHALL, once',
    async begin ({ server }) {
      await server.ask('FLUSHALL')
      return { end: async () => {} }
    }
  },
  blackhole: viaProxy('connections stay open, nothing passes', { type: 'blackhole' }),
  latency: viaProxy(`${LATENCY} ms more for each command`, { type: 'latency', ms: LATENCY / 2 }),
  drip: viaProxy(`${DRIP.bytes} bytes every ${DRIP.every} ms, each way`, { type: 'drip', ...DRIP }),
  reset: viaProxy('connections are reset, new ones too', { type: 'reset' }),
  'half-open': viaProxy("the server's side is gone, the app's is silent; reset at the end", { type: 'half-open' }),
  garbage: viaProxy('random bytes for replies', { type: 'garbage' }),
  'cluster-failover': {
    what: '3+3 nodes: a primary killed -9, its replica takes over',
    stage: 'cluster',
    async begin (stage) {
      const [primary, replica] = await pairOf(stage)
      await primary.kill()
      return {
        end: async () => { await until(async () => await isPrimary(replica), 'a replica takes over') },
        async tidy () {
          await primary.restart()
          await stage.cluster.ready()
        }
      }
    }
  },
  'cluster-stopped': {
    what: '3+3 nodes: a primary stands still, its replica takes over, it goes on',
    stage: 'cluster',
    async begin (stage) {
      const [primary, replica] = await pairOf(stage)
      await primary.pause()
      return {
        async end () {
          await until(async () => await isPrimary(replica), 'a replica takes over')
          primary.resume()
        },
        tidy: async () => { await stage.cluster.ready() }
      }
    }
  },
  'cluster-node': {
    what: '3 nodes without replicas: one killed -9, then restarted empty',
    stage: 'bare-cluster',
    async begin ({ cluster }) {
      const node = cluster.servers[1]!
      await node.kill()
      return {
        async end () {
          await node.restart()
          await cluster.ready()
        }
      }
    }
  }
} satisfies Record<string, Fault>

export type FaultName = keyof typeof FAULTS

export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[]

/** Those of the way to the server. */
export const NETWORK_FAULTS: readonly FaultName[] = ['blackhole', 'latency', 'drip', 'reset', 'half-open', 'garbage']

export function faultOf (name: FaultName): Fault {
  return FAULTS[name]
}

export function stageOf (name: FaultName): StageKind {
  return faultOf(name).stage ?? 'single'
}

function viaProxy (what: string, mode: Mode): Fault {
  return {
    what,
    async begin ({ proxy }) {
      proxy.change(mode)
      return { end: async () => { proxy.pass() } }
    }
  }
}

/** A client that is connected, and stays so when others are killed. */
async function controlOf (server: RedisServer): Promise<Redis> {
  const control = server.client()
  await control.ping()
  return control
}

async function killClients (control: Redis): Promise<void> {
  await control.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
}

async function dumpOf (server: RedisServer): Promise<string> {
  const [, folder] = await server.ask('CONFIG', 'GET', 'dir') as [string, string]
  return join(folder, DUMP)
}

/** Of an earlier fault; a replica leaves one, too. */
async function forgetDump (server: RedisServer): Promise<void> {
  await rm(await dumpOf(server), { force: true })
}

/** A primary and its replica. */
async function pairOf ({ cluster: { servers } }: Stage): Promise<[primary: RedisServer, replica: RedisServer]> {
  const two: [RedisServer, RedisServer] = [servers[0]!, servers[servers.length / 2]!]
  return await isPrimary(two[0]) ? two : [two[1], two[0]]
}
