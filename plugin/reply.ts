// From an entry to the answer that the client gets.
import type { FastifyReply } from 'fastify'
import type { Entry } from './entry.js'

/**
 * Sends the entry through the reply: the route's onSend chain runs, as for the handler's own answer. Where others look at
 * the payload there, they get a string where the handler sent one; else the bytes are sent as they are.
 */
export function sendEntry (reply: FastifyReply, entry: Entry, asSent: boolean): void {
  reply.code(entry.status)
  // Overwrites, where the handler would have: only what the handler added or changed was stored.
  for (const [name, value] of entry.headers) reply.header(name, value)
  reply.send(asSent && entry.text ? entry.body.toString() : entry.body)
}
