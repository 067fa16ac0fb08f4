// What a slice cost: CPU time of processes as the operating system counts it, and of Redis as it counts itself.
import type { Redis } from 'ioredis'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

const HAS_PROC = existsSync('/proc/self/stat')
const TICKS = HAS_PROC ? Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' })) : 0
/** The driver's own, and what connections say when they open. */
const NOT_COUNTED = new Set(['info', 'memory', 'scan', 'client', 'hello', 'ping', 'select', 'dbsize', 'flushall'])

/** Seconds of CPU time, user and system, that a process and all its threads have had. */
export function cpuSeconds (pid: number): number {
  if (!HAS_PROC) return ofPs(execFileSync('ps', ['-o', 'cputime=', '-p', String(pid)], { encoding: 'utf8' }))
  // The command in field 2 may hold spaces and parentheses.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(/\) /).at(-1)!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS
}

/** `[[days-]hours:]minutes:seconds[.hundredths]` in seconds. */
export function ofPs (text: string): number {
  const [time, days = '0'] = text.trim().split('-').reverse() as [string, string?]
  return time.split(':').reduce((sum, part) => sum * 60 + Number(part), 0) + Number(days) * 86_400
}

export interface RedisUsage { cpu: number, commands: number, byName: Record<string, number> }

/** Since it was started: seconds of CPU time, and commands, those of the measurement itself left out. */
export async function redisUsage (redis: Redis): Promise<RedisUsage> {
  const [cpu, stats] = await Promise.all([redis.info('cpu'), redis.info('commandstats')]) as [string, string]
  const seconds = [...cpu.matchAll(/^used_cpu_(?:sys|user):([\d.]+)/gm)].reduce((sum, [, value]) => sum + Number(value), 0)
  const byName: Record<string, number> = {}
  for (const [, name, calls] of stats.matchAll(/^cmdstat_([^:|]+)(?:\|[^:]*)?:calls=(\d+)/gm)) {
    if (!NOT_COUNTED.has(name!)) byName[name!] = (byName[name!] ?? 0) + Number(calls)
  }
  return { cpu: seconds, commands: Object.values(byName).reduce((sum, n) => sum + n, 0), byName }
}

/** The sum of MEMORY USAGE over all keys. */
export async function redisBytes (redis: Redis): Promise<number> {
  let cursor = '0'
  let sum = 0
  do {
    const [next, names] = await redis.scan(cursor, 'COUNT', 1000)
    cursor = next
    const sizes = await Promise.all(names.map(async (name) => await redis.memory('USAGE', name, 'SAMPLES', 0)))
    for (const size of sizes) sum += size ?? 0
  } while (cursor !== '0')
  return sum
}
