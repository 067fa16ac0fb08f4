// The plugins that are tried: of Fastify's ecosystem list (docs/Guides/Ecosystem.md in its package) the thirty that were
// downloaded most in November 2026 and are registered on an app, and some more that change how bodies leave, or who asks.
import replies from './uses/replies.mjs'
import requests from './uses/requests.mjs'
import servers from './uses/servers.mjs'

export const USES = [...replies, ...requests, ...servers]

/** What differs from the twin, for now: the number is that of the item in issue 18 that is about it. */
export const DIFFERENCES = {
  '@fastify/etag, ours first': 'item 15: the entry has an ETag already, so theirs has no say',
  '@fastify/accepts-serializer, ours first': 'item 1: hits are serialized again',
  '@fastify/accepts-serializer, theirs first': 'item 1: hits are serialized again',
  '@fastify/websocket, ours first': 'item 3: a warm key answers the handshake',
  '@fastify/websocket, theirs first': 'item 3: a warm key answers the handshake'
}
