// The environment, checked: whatever is wrong in it is said here, before anything has started.
import { StartError } from './start-error.js'

export interface Settings {
  host: string
  /** 0: one that is free. */
  port: number
  /** Names under which browsers reach it, beside localhost and addresses. */
  hosts: string[]
  /** Undefined: an embedded Postgres. */
  databaseUrl: string | undefined
  /** None: the plugin's in-process store. Several: the nodes of a Cluster. */
  redisUrls: string[]
  logLevel: string
  /** How long a request waits for Redis. Undefined: the plugin's default. */
  deadline: string | undefined
  /** Where the embedded Postgres keeps its data. Undefined: a folder of this checkout. */
  dataFolder: string | undefined
}

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/** Throws a StartError that names the variable, and never shows a password. */
export function readSettings (env: NodeJS.ProcessEnv): Settings {
  return {
    host: env.HOST || '127.0.0.1',
    port: port(env.PORT || '3000'),
    hosts: env.HOSTS ? hosts(env.HOSTS) : [],
    databaseUrl: env.DATABASE_URL ? databaseUrl(env.DATABASE_URL) : undefined,
    redisUrls: env.REDIS_URL ? redisUrls(env.REDIS_URL) : [],
    logLevel: logLevel(env.LOG_LEVEL || 'warn'),
    deadline: env.CACHE_DEADLINE ? deadline(env.CACHE_DEADLINE) : undefined,
    dataFolder: env.DEMO_DATA || undefined
  }
}

function port (text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65535) return Number(text)
  throw new StartError(`PORT is ${JSON.stringify(text)}; it must be a number from 0 to 65535`)
}

function hosts (text: string): string[] {
  const names = text.toLowerCase().split(',').map((name) => name.trim())
  if (names.every((name) => /^[a-z0-9][a-z0-9.-]*$/.test(name))) return names
  throw new StartError(`HOSTS is ${JSON.stringify(text)}; it must be names without ports, separated by commas`)
}

function logLevel (text: string): string {
  if (logLevels.includes(text)) return text
  throw new StartError(`LOG_LEVEL is ${JSON.stringify(text)}; it must be one of ${logLevels.join(', ')}`)
}

function deadline (text: string): string {
  if (/^\d{1,6}(ms|s)$/.test(text)) return text
  throw new StartError(`CACHE_DEADLINE is ${JSON.stringify(text)}; it must be a time such as 50ms or 2s`)
}

function databaseUrl (text: string): string {
  const url = parse(text)
  if (url !== null && /^postgres(ql)?:$/.test(url.protocol)) return text
  throw new StartError('DATABASE_URL is not of the form postgres://user:password@host:5432/database')
}

// A comma separates nodes only in front of the next URL: one inside a password stays.
function redisUrls (text: string): string[] {
  const nodes = text.split(/,\s*(?=rediss?:)/).map((node) => node.trim())
  for (const node of nodes) {
    const url = parse(node)
    if (url !== null && /^rediss?:$/.test(url.protocol) && url.hostname !== '') continue
    throw new StartError('REDIS_URL is not of the form redis://user:password@host:6379' +
      ' (a Cluster: its nodes, each written so, separated by commas)')
  }
  return nodes
}

function parse (text: string): URL | null {
  try {
    const url = new URL(text)
    // The drivers decode these, and fail with an error that repeats them.
    decodeURIComponent(url.username + url.password + url.pathname)
    return url
  } catch {
    return null
  }
}
