// The events of a client's connections. Many caches may use one client: together they put one listener on it for each event,
// as Node warns of a leak from the eleventh on.
import type { errorMonitor } from 'node:events'
import type { RedisClient } from './redis-client.js'

/** `+node`, `-node`: a Cluster's client connects to a server, or has left one; `node error`: it can't use one. */
type Event = 'close' | 'end' | '+node' | '-node' | 'node error' | typeof errorMonitor
type Listener = (value?: unknown) => void
type Emitter = Record<'on' | 'off', (event: Event, listener: Listener) => unknown>

interface Shared { listeners: Set<Listener>, tell: Listener }

/** By client, or server of a Cluster, and event. */
const shared = new WeakMap<RedisClient, Map<Event, Shared>>()

/** Until the function that it returns is called. The listener must not throw. */
export function listenTo (client: RedisClient, event: Event, listener: Listener): () => void {
  const events = shared.get(client) ?? new Map<Event, Shared>()
  shared.set(client, events)
  const { listeners } = events.get(event) ?? begin(client, event, events)
  // Two callers may share a function.
  const own: Listener = (value) => { listener(value) }
  listeners.add(own)
  return () => {
    if (!listeners.delete(own) || listeners.size > 0) return
    emitter(client).off(event, events.get(event)!.tell)
    events.delete(event)
  }
}

function begin (client: RedisClient, event: Event, events: Map<Event, Shared>): Shared {
  const listeners = new Set<Listener>()
  // A copy: listeners may go, and others come, while they are told.
  const tell: Listener = (value) => { for (const listener of [...listeners]) if (listeners.has(listener)) listener(value) }
  const begun = { listeners, tell }
  events.set(event, begun)
  emitter(client).on(event, tell)
  return begun
}

/** With the events that only a Cluster's client has. */
function emitter (client: RedisClient): Emitter {
  return client as unknown as Emitter
}
