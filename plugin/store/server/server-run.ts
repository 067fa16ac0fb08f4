// What a server says of itself in INFO: which run of which server answers, and whether it is a primary.
import { RouteCacheError } from '../../errors.js'
import type { RedisClient } from './redis-client.js'

export function addressOf ({ options }: RedisClient): string {
  const { host, port } = options as { host?: string, port?: number }
  return `${host}:${port}`
}

/** A server's run id is new with each start. */
export function runOf (info: unknown): string {
  const run = /^run_id:(\w+)/m.exec(String(info))?.[1]
  if (run === undefined) throw new RouteCacheError('FRC_STORE', 'INFO does not tell the server\'s run_id')
  return `${run} ${reignOf(info)}`
}

/** The id of its replication, new with each promotion to a primary. Throws FRC_STORE where it is a replica. */
export function reignOf (info: unknown): string {
  const text = String(info)
  // A Cluster's client may not know yet that it is none any more.
  if (/^role:(?:slave|replica)/m.test(text)) throw new RouteCacheError('FRC_STORE', 'the server is a replica: reads must go to primaries')
  return /^master_replid:(\w+)/m.exec(text)?.[1] ?? ''
}

/** Whether replicas follow it. */
export function hasReplicas (info: unknown): boolean {
  return Number(/^connected_slaves:(\d+)/m.exec(String(info))?.[1] ?? 0) > 0
}
