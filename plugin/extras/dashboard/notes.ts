// What whoever operates the cache should look at now, in words, the worst first. docs/operating.md says what to do.
import type { CacheStats } from '../../index.js'
import type { RedisHealth, ServerHealth } from './health.js'

export interface Note {
  /** `error`: something is not done. `warning`: it is done, but not as well as it could be. */
  level: 'error' | 'warning'
  text: string
}

type Process = Pick<CacheStats, 'breaker' | 'journal' | 'tier'> & { process: string }

/** A server that is so full evicts, or refuses fills. */
const FULL = 0.95

export function notesOn (processes: readonly Process[], redis: RedisHealth | null): Note[] {
  return [
    ...redis !== null && redis.status !== 'ready' ? [error(`This process is not connected to Redis (${redis.status}): requests run their handlers.`)] : [],
    ...redis?.servers.flatMap(notesOnServer) ?? [],
    ...processes.flatMap(notesOnProcess)
  ].sort((one, other) => Number(other.level === 'error') - Number(one.level === 'error'))
}

function notesOnServer ({ address, error: reason, memory, maxMemory, policy, evicted }: ServerHealth): Note[] {
  if (reason !== null) return [error(`Redis ${address} can't be asked: ${reason}.`)]
  const isFull = memory !== null && maxMemory !== null && maxMemory > 0 && memory / maxMemory > FULL
  if (isFull && policy === 'noeviction') {
    return [error(`Redis ${address} is full and evicts nothing (noeviction): new responses are not stored.`)]
  }
  return isFull && evicted !== null && evicted > 0
    ? [warning(`Redis ${address} is full and evicts by ${policy ?? 'its policy'}: entries may go before their time.`)]
    : []
}

function notesOnProcess ({ process, breaker, journal, tier }: Process): Note[] {
  return [
    ...journal > 0
      ? [error(`${process}: ${journal} invalidations could not be told to Redis yet. It serves nothing from the cache before they are.`)]
      : [],
    ...breaker === 'open' ? [error(`${process}: the store has failed too often and is not asked; a probe finds out when it answers.`)] : [],
    ...tier !== null && !tier.isLive
      ? [warning(`${process}: its in-process tier serves nothing, as Redis does not tell it what changes; hits come from Redis.`)]
      : []
  ]
}

function error (text: string): Note {
  return { level: 'error', text }
}

function warning (text: string): Note {
  return { level: 'warning', text }
}
