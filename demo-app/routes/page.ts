// The page, its three files, and the numbers that it shows.
import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'
import type { RouteActivity } from '../activity.js'

const files = [
  ['/', 'index.html', 'text/html; charset=utf-8'],
  ['/page.css', 'page.css', 'text/css; charset=utf-8'],
  ['/page.js', 'page.js', 'text/javascript; charset=utf-8'],
  ['/favicon.svg', 'favicon.svg', 'image/svg+xml'],
  // Some browsers ask for it whatever the page says.
  ['/favicon.ico', 'favicon.svg', 'image/svg+xml']
] as const

export interface PageOptions {
  activity: () => RouteActivity[]
  /** Where the data come from, in a few words. */
  database: string
}

export async function page (app: FastifyInstance, options: PageOptions): Promise<void> {
  for (const [url, name, type] of files) {
    const content = await readFile(new URL(`../public/${name}`, import.meta.url))
    app.get(url, async (_request, reply) => {
      reply.type(type).header('cache-control', 'no-cache').header('x-content-type-options', 'nosniff')
      // Nothing from anywhere else, and nothing inline.
      return reply.header('content-security-policy', "default-src 'self'; frame-ancestors 'none'").send(content)
    })
  }

  app.get('/activity.json', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
    const { store } = app.cache.stats()
    return { store, database: options.database, routes: options.activity() }
  })
}
