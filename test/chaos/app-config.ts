// What the app under test is told and what it tells: also to the process that starts it, so nothing here starts anything.
import type { CacheStats } from '../../plugin/index.js'

/** Apps that do what none may: what looks for that must find it. */
export const BROKEN_APPS = {
  /** Its writers tell the cache nothing. */
  deaf: 'writes answer 200 and invalidate nothing',
  /** Each request asks Redis itself, and what fails there fails the request. */
  leaky: 'errors of Redis reach the client',
  /** Neither deadline nor breaker. */
  patient: 'waits for Redis however long it takes'
}
export type BrokenAppName = keyof typeof BROKEN_APPS

export interface AppConfig {
  redis: { host: string, port: number } | { nodes: Array<{ host: string, port: number }> }
  broken?: BrokenAppName | undefined
}

export interface Body {
  row: number
  version: number
}

export interface ProcessStats {
  cache: CacheStats
  /** Bytes, after a forced collection. */
  memory: { heapUsed: number, external: number }
  /** What keeps the process alive, by its kind: sockets, timers. */
  resources: Record<string, number>
  /** Of the Redis client and of the process, all events together. */
  listeners: number
  unhandledRejections: number
  /** How often the cache said that it does without its store. */
  breakerOpenings: number
  /** Lines of the log, from 'warn' on. */
  logLines: number
}
