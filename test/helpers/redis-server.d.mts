export interface RedisBinary {
  path: string
  /** What it needs in its environment beside the process' own. */
  env: Record<string, string>
}

/** The server to start, set up first where there is none. Rejects with a message that says what to do. */
export function ensureRedisServer (): Promise<RedisBinary>

/** The same for Valkey, and for no other: `REDIS_SERVER` is not looked at. */
export function ensureValkeyServer (): Promise<RedisBinary>

/** The server that is there already, or undefined. Rejects only for a `REDIS_SERVER` that can't be used. */
export function findRedisServer (): Promise<RedisBinary | undefined>
