// Problems that the operator should look at now, in words, the worst first. docs/operating.md says what to do.
import type { CacheStats, Warning } from '../../index.js'
import type { FeedStats } from '../metrics/feed.js'
import type { RedisHealth, ServerHealth } from './health.js'

export interface Note {
  /** `error`: something is not done. `warning`: it is done, but not as well as it could be. */
  level: 'error' | 'warning'
  text: string
}

type Process = Pick<CacheStats, 'breaker' | 'journal' | 'tier'> & { process: string, feed?: FeedStats | null }

/** The share of memory from which a server evicts, or refuses fills. */
const FULL = 0.95
/** Seconds: lines that are read go within some minutes. */
const LONG_HELD = 600

interface Surroundings { redis: RedisHealth | null, warnings: readonly Warning[] }

export function notesOn (processes: readonly Process[], { redis, warnings }: Surroundings): Note[] {
  return [
    ...redis !== null && redis.status !== 'ready' ? [error(`This process is not connected to Redis (${redis.status}): requests run their handlers.`)] : [],
    ...redis?.servers.flatMap(notesOnServer) ?? [],
    ...processes.flatMap(notesOnProcess),
    ...notesOnOutbox(processes),
    ...warnings.map(({ message }) => warning(`${message}.`))
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

/** It is one for all of them: as the one says that sees the oldest line. */
function notesOnOutbox (processes: readonly Process[]): Note[] {
  const seen = processes.flatMap(({ feed }) => feed?.outbox ?? []).sort((one, other) => (other.age ?? 0) - (one.age ?? 0))[0]
  if (seen === undefined || (seen.age ?? 0) < LONG_HELD) return []
  return [warning(`The outbox in Postgres has ${seen.lines} lines, the oldest is ${Math.round((seen.age ?? 0) / 60)} minutes old. It waits ` +
    `for ${seen.holder ?? 'nobody that Postgres tells of'}.`)]
}

function notesOnProcess ({ process, breaker, journal, tier, feed }: Process): Note[] {
  return [
    ...journal > 0
      ? [error(`${process}: ${journal} invalidations could not be told to Redis yet. It serves nothing from the cache before they are.`)]
      : [],
    ...breaker === 'open' ? [error(`${process}: the store has failed too often and is not asked; a probe finds out when it answers.`)] : [],
    ...feed?.isListening === false
      ? [error(`${process}: Postgres can't be asked what changed. What is cached is served meanwhile.`)]
      : [],
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
