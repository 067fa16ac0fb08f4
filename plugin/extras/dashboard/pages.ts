// The page and what belongs to it: files of the package, read once. Nothing comes from anywhere else, and nothing is inline.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { folder } from './folder.js'

const FILES = [
  ['', 'index.html', 'text/html; charset=utf-8'],
  ['dashboard.css', 'dashboard.css', 'text/css; charset=utf-8'],
  ['dashboard.js', 'dashboard.js', 'text/javascript; charset=utf-8'],
  ['curve.js', 'curve.js', 'text/javascript; charset=utf-8'],
  ['elements.js', 'elements.js', 'text/javascript; charset=utf-8'],
  ['explanation.js', 'explanation.js', 'text/javascript; charset=utf-8'],
  ['list.js', 'list.js', 'text/javascript; charset=utf-8'],
  ['tables.js', 'tables.js', 'text/javascript; charset=utf-8'],
  ['favicon.svg', 'favicon.svg', 'image/svg+xml'],
  ['uPlot.js', 'uPlot.js', 'text/javascript; charset=utf-8'],
  ['uPlot.css', 'uPlot.css', 'text/css; charset=utf-8']
] as const

const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

/** For its GETs, whatever the plugin's option `routes` says of all routes. */
export const UNCACHED = { cache: false } as const

/** For everything that the dashboard answers with. */
export function protect (reply: FastifyReply): FastifyReply {
  return reply
    .header('content-security-policy', POLICY)
    .header('cross-origin-resource-policy', 'same-origin')
    .header('referrer-policy', 'no-referrer')
    .header('x-content-type-options', 'nosniff')
}

export async function pages (app: FastifyInstance): Promise<void> {
  for (const [path, name, type] of FILES) {
    const content = await readFile(join(folder, 'public', name))
    app.get(`/${path}`, UNCACHED, async (request, reply) => {
      protect(reply).header('cache-control', 'no-cache')
      // As the browser has it, not as `rewriteUrl` changed it.
      const [place = ''] = request.originalUrl.split('?')
      // The page's own addresses are relative, so that it also works where a proxy has put it elsewhere. With the dot they
      // are so whatever stands in the last part of the path: of a prefix with a parameter, that is a client's word.
      if (path === '' && !place.endsWith('/')) return reply.redirect(`./${place.slice(place.lastIndexOf('/') + 1)}/`, 302)
      return reply.type(type).send(content)
    })
  }
}
