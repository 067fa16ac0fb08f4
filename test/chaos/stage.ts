// What a fault happens to: Redis, the proxy in front of it, and the app, all of this process' own and on 127.0.0.1.
import { RedisCluster, RedisServer, startCluster, startRedis } from '../helpers/redis.js'
import { startApp, type AppOptions, type ChaosApp } from './app.js'
import { startProxy, type FaultProxy } from './proxy.js'

/** `cluster`: three primaries with a replica each; `bare-cluster`: without; both are reached without the proxy. */
export type StageKind = 'single' | 'cluster' | 'bare-cluster'

/** A silent node of a cluster counts as failing after so many milliseconds. */
const NODE_TIMEOUT = 1_000

interface Parts {
  redis: RedisServer | RedisCluster
  proxy: FaultProxy | null
  app: ChaosApp
}

export class Stage {
  readonly app: ChaosApp
  readonly #redis: RedisServer | RedisCluster
  readonly #proxy: FaultProxy | null

  constructor ({ redis, proxy, app }: Parts) {
    this.app = app
    this.#redis = redis
    this.#proxy = proxy
  }

  get server (): RedisServer {
    if (this.#redis instanceof RedisServer) return this.#redis
    throw new Error('this fault is for a server that stands alone')
  }

  get cluster (): RedisCluster {
    if (this.#redis instanceof RedisCluster) return this.#redis
    throw new Error('this fault is for a cluster')
  }

  get proxy (): FaultProxy {
    if (this.#proxy !== null) return this.#proxy
    throw new Error('there is no proxy in front of a cluster')
  }

  async stop (): Promise<void> {
    await this.app.stop()
    await this.#proxy?.close()
    await this.#redis.stop()
  }
}

export async function startStage (kind: StageKind, options?: AppOptions): Promise<Stage> {
  const redis = kind === 'single'
    ? await startRedis({ args: ['--enable-debug-command', 'yes'] })
    : await startCluster({ primaries: 3, replicas: kind === 'cluster' ? 1 : 0, nodeTimeout: NODE_TIMEOUT })
  let proxy: FaultProxy | null = null
  try {
    if (redis instanceof RedisServer) proxy = await startProxy(redis.port)
    const address = redis instanceof RedisServer ? { host: proxy!.host, port: proxy!.port } : { nodes: redis.nodes }
    return new Stage({ redis, proxy, app: await startApp(address, options) })
  } catch (error) {
    await proxy?.close()
    await redis.stop()
    throw error
  }
}
