// Where it was measured, and with which versions.
import type { Redis } from 'ioredis'
import { readFileSync } from 'node:fs'
import { cpus, loadavg, totalmem } from 'node:os'

export interface Machine {
  date: string
  node: string
  cpu: string
  cores: number
  memory: string
  load: { before: number[], after: number[] }
  redis: string
  packages: Record<string, string>
}

export function loadAverage (): number[] {
  return loadavg().map((value) => Math.round(value * 100) / 100)
}

export function machine (before: number[], redis: string, packages: readonly string[]): Machine {
  const { version } = readJson('../../package.json')
  return {
    date: new Date().toISOString(),
    node: process.version,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    load: { before, after: loadAverage() },
    redis,
    packages: {
      'fastify-route-cache': version,
      ...Object.fromEntries(packages.map((name) => [name, readJson(`../node_modules/${name}/package.json`).version]))
    }
  }
}

export async function redisVersion (redis: Redis): Promise<string> {
  return /^redis_version:(\S+)/m.exec(String(await redis.info('server')))?.[1] ?? 'unknown'
}

function readJson (path: string): { version: string } {
  return JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'))
}
