// What the app's `rewriteUrl` has taken off the target: `/acme/users` has become `/users`, and `?tenant=acme` is gone. The
// handler may read it in `request.originalUrl`, and params and query lack it, so the default key has it beside them.
import { escapeText } from './key-value.js'

/** As much of a request as is looked at here. */
export interface Rewritten {
  originalUrl: string
  raw: { url?: unknown, originalUrl?: unknown }
}

/**
 * Begins what no key of another target has: a user's own `%~` is escaped (key.ts), and a hash has no percent sign, as this
 * has behind it.
 */
const SIGN = '%~'

/** For a default key: path and query as the client sent them, as far as they were others; mostly ''. */
export function rewrittenPart (request: Rewritten): string {
  const { raw } = request
  // Fastify's own getter would keep it on each request.
  if (typeof raw.originalUrl !== 'string' || raw.originalUrl === raw.url) return ''
  const [path, query] = parted(request.originalUrl)
  const [toPath, toQuery] = parted(String(raw.url))
  if (path === toPath && query === toQuery) return ''
  return SIGN + (path === toPath ? '' : escapeText(path)) + (query === toQuery ? '' : escapeText(`?${query}`))
}

function parted (target: string): [path: string, query: string] {
  const begin = target.indexOf('?')
  return begin === -1 ? [target, ''] : [target.slice(0, begin), target.slice(begin + 1)]
}
