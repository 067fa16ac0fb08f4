// The page and its files. Its numbers are the plugin's own dashboard, which stands beside its buttons.
import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'

const files = [
  ['/', 'index.html', 'text/html; charset=utf-8'],
  ['/page.css', 'page.css', 'text/css; charset=utf-8'],
  ['/page.js', 'page.js', 'text/javascript; charset=utf-8'],
  ['/effects.js', 'effects.js', 'text/javascript; charset=utf-8'],
  ['/experiments.js', 'experiments.js', 'text/javascript; charset=utf-8'],
  ['/favicon.svg', 'favicon.svg', 'image/svg+xml'],
  // Some browsers ask for it whatever the page says.
  ['/favicon.ico', 'favicon.svg', 'image/svg+xml']
] as const

export interface PageOptions {
  /** Where the data come from, in a few words. */
  database: string
}

export async function page (app: FastifyInstance, { database }: PageOptions): Promise<void> {
  const store = app.cache.stats().store === 'redis' ? 'Redis' : 'this process'
  for (const [url, name, type] of files) {
    const text = await readFile(new URL(`../public/${name}`, import.meta.url), 'utf8')
    const content = text.replace('{parts}', `Entries live in ${store}, data in ${database}.`)
    app.get(url, async (_request, reply) => {
      reply.type(type).header('cache-control', 'no-cache').header('x-content-type-options', 'nosniff')
      // Nothing from anywhere else, and nothing inline.
      return reply.header('content-security-policy', "default-src 'self'; frame-ancestors 'none'").send(content)
    })
  }
}
