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

/** The package of the app's Redis client. */
export const CLIENTS = ['ioredis', 'node-redis'] as const
export type ClientName = typeof CLIENTS[number]

export interface AppConfig {
  redis: ({ host: string, port: number } | { nodes: Array<{ host: string, port: number }> }) & { client?: ClientName }
  broken?: BrokenAppName | undefined
  /** The URL of another subject's module. Absent: ours. */
  subject?: string | undefined
}

/**
 * A cache under test, in an app of its own: what a module gives as `start`. Its routes are those of own-app.ts: `GET
 * /row/:id` cached under a key, `GET /tagged/:id` under a group where the cache has such, `GET /uncached/:id`, `POST
 * /row/:id` that writes and tells the cache of both, and `GET /stats`.
 */
export interface Subject {
  start: (surroundings: Surroundings) => Promise<Running>
}

export interface Surroundings extends Omit<AppConfig, 'subject'> {
  database: Database
  /** What /stats answers. */
  stats: () => ProcessStats
  /** Told each line of the log. */
  log: { write: (line: string) => void }
}

export interface Running {
  url: string
  /** Absent: its cache tells nothing of itself. */
  cache?: () => CacheStats
  /** Whose listeners must not grow. */
  emitters?: Array<Pick<NodeJS.EventEmitter, 'eventNames' | 'listenerCount'>>
}

export interface Database {
  /** What a handler answers. */
  read: (id: string) => Promise<Body>
  /** Gives what the writer answers once the cache was told: where that failed, it answers 503 `{ code }`. */
  write: (id: string) => Written
}

export interface Written {
  row: number
  version: number
}

export interface Body extends Written {
  /** Each read of the database has a number of its own: where two answers have the same, the cache gave the second. */
  run: number
}

export interface ProcessStats {
  /** null: the cache tells nothing of itself. */
  cache: CacheStats | null
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
