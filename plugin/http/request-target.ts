// How a request names its resource: RFC 9112 §3.2. Routers take more than that: the absolute form that is meant for
// proxies, and a fragment, which browsers never send, and which is no part of the path. A handler that echoes the target
// would then have one client's text stored for all: `GET http://evil.test/x`, `GET /x#"><script>`.
// https://www.rfc-editor.org/rfc/rfc9112#section-3.2

/**
 * Whether it is a path with a query. `//evil.test/x` is one, too, but put into a page it is a link to another host, as is
 * `/\\evil.test/x` for browsers.
 */
export function isOriginForm (target: string): boolean {
  return target.startsWith('/') && target[1] !== '/' && target[1] !== '\\' && !target.includes('#')
}
