// The plugins that are tried: of Fastify's ecosystem list (docs/Guides/Ecosystem.md in its package) the thirty that were
// downloaded most in November 2026 and are registered on an app, and some more that change how bodies leave, or who asks.
import replies from './uses/replies.mjs'
import requests from './uses/requests.mjs'
import servers from './uses/servers.mjs'

export const USES = [...replies, ...requests, ...servers]

/** What differs from the twin, and why. */
export const DIFFERENCES = {
  '@fastify/etag, ours first': 'the entry has an ETag by then, so theirs adds none: README says so'
}
