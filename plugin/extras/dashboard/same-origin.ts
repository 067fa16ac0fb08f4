// Against CSRF: another site makes a visitor's browser send requests, with the visitor's cookies. Three checks complement
// each other, as none works in all browsers, proxies and apps: Fetch Metadata, the Origin, and a content type that no form
// has.
// https://www.w3.org/TR/fetch-metadata/ and RFC 6454
import type { FastifyRequest } from 'fastify'

/** Whether a page of the dashboard's own, or no browser at all, has made it. */
export function isOwn ({ headers, host }: Pick<FastifyRequest, 'headers' | 'host'>): boolean {
  const site = headers['sec-fetch-site']
  // `none`: typed into the address bar.
  if (site !== undefined) return site === 'same-origin' || site === 'none'
  const { origin } = headers
  return origin === undefined || isOf(host, origin)
}

/** Some proxies name the port in Host where browsers leave it out of Origin, as it is their scheme's own. */
function isOf (host: string, origin: string): boolean {
  try {
    const { protocol, host: asked } = new URL(origin)
    return /^https?:$/.test(protocol) && new URL(`${protocol}//${host}`).host === asked
  } catch {
    return false
  }
}
