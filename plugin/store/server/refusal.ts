// A server that refuses a write because it is a replica. Where it was a primary until now, and its connections were left
// open, it still answers reads with what it has: so it must be asked who it is before it is believed again.
import type { RedisClient } from './redis-client.js'

/** Who wants to know, by the client: each plugin that uses it. */
const listeners = new WeakMap<RedisClient, Set<() => void>>()

/** Calls the listener whenever a write by this client was refused so; what it gives ends that. */
export function onRefusal (client: RedisClient, listener: () => void): () => void {
  const all = listeners.get(client) ?? new Set()
  listeners.set(client, all.add(listener))
  return () => { all.delete(listener) }
}

/** The outcome of a write by this client; where it is such a refusal, who wants to know is told first. */
export async function heeded<T> (client: RedisClient, write: Promise<T>): Promise<T> {
  try {
    return await write
  } catch (error) {
    if (isRefusal(error)) for (const listener of listeners.get(client) ?? []) listener()
    throw error
  }
}

/** MASTERDOWN: a replica that has lost its primary, and is set to say nothing then. */
function isRefusal (error: unknown): boolean {
  return error instanceof Error && /^(?:READONLY|MASTERDOWN)\b/.test(error.message)
}
