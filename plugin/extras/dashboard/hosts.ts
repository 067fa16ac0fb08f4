// Against DNS rebinding: another site points its name at this app. For a browser its page then has the same origin as the
// dashboard, so nothing else stops it where there is no guard. Its requests name its own host, which is none of ours.
// https://en.wikipedia.org/wiki/DNS_rebinding
import type { FastifyRequest } from 'fastify'
import { isIP } from 'node:net'

/** Whether the request names this machine, an address, or one of these hosts; and so does a proxy that is trusted. */
export function isOurHost (request: Pick<FastifyRequest, 'headers' | 'host'>, hosts: readonly string[]): boolean {
  const { headers, host } = request
  // A page can write X-Forwarded-Host itself: it counts beside the other, never instead of it.
  return [headers.host ?? headers[':authority'], host].every((name) => isOurs(hostname(String(name ?? '')), hosts))
}

function isOurs (name: string | null, hosts: readonly string[]): boolean {
  if (name === null) return false
  // No name server says where an address leads, nor localhost (RFC 6761 §6.3).
  return isIP(name.replace(/^\[|\]$/g, '')) > 0 || name === 'localhost' || name.endsWith('.localhost') || hosts.includes(name)
}

/** In lower case, without a port; null where it is none. */
export function hostname (host: string): string | null {
  if (!/^[\w.-]+(?::\d+)?$|^\[[\da-f:.]+\](?::\d+)?$/i.test(host)) return null
  try {
    return new URL(`http://${host}`).hostname.replace(/\.$/, '')
  } catch {
    return null
  }
}
