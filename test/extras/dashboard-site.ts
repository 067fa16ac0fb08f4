// An app with the cache and its dashboard as a user has them: by the package's name, from what was built, as the files of
// the page are complete only there.
import fastify, { type FastifyInstance, type FastifyServerOptions, type LightMyRequestResponse } from 'fastify'
import routeCache, { type RouteCacheOptions } from 'fastify-route-cache'
import { dashboard, type DashboardOptions } from 'fastify-route-cache/dashboard'
import type { Test } from 'tap'
import type { Overview } from '../../plugin/extras/dashboard/overview.js'

export interface SiteOptions {
  cache?: RouteCacheOptions
  /** Default: public, under /cache. */
  dashboard?: Partial<DashboardOptions> & { prefix?: string }
  server?: FastifyServerOptions
  /** Before the cache: other plugins, hooks. */
  before?: (app: FastifyInstance) => unknown
}

type Headers = Record<string, string>

export interface Site {
  app: FastifyInstance
  /** What was logged, parsed. */
  lines: Array<Record<string, unknown>>
  /** Below the dashboard's prefix. */
  get: (path: string, headers?: Headers) => Promise<LightMyRequestResponse>
  post: (path: string, body: unknown, headers?: Headers) => Promise<LightMyRequestResponse>
  overview: (query?: Record<string, string>) => Promise<Overview>
}

/** Closed with the test. */
export async function openSite (t: Test, options: SiteOptions = {}): Promise<Site> {
  const lines: Site['lines'] = []
  const stream = { write: (line: string) => { lines.push(JSON.parse(line)) } }
  const app = fastify({ logger: { level: 'debug', stream }, ...options.server }) as unknown as FastifyInstance
  t.teardown(async () => { await app.close() })
  await options.before?.(app)
  await app.register(routeCache, { deadline: 30, writeDeadline: 30, prefix: 'shop', ...options.cache })
  const { prefix = '/cache', guard, public: isPublic = guard === undefined, ...rest } = options.dashboard ?? {}
  await app.register(dashboard, { prefix, ...guard === undefined ? { public: isPublic } : { guard }, ...rest })
  const get: Site['get'] = async (path, headers = {}) => await app.inject({ url: prefix + path, headers })
  const post: Site['post'] = async (path, body, headers = {}) => await app.inject({
    method: 'POST',
    url: prefix + path,
    headers: { 'content-type': 'application/json', ...headers },
    payload: typeof body === 'string' ? body : JSON.stringify(body)
  })
  const overview: Site['overview'] = async (query = {}) => {
    const { statusCode, body } = await get(`/api/overview?${new URLSearchParams(query)}`)
    if (statusCode !== 200) throw new Error(`${statusCode}: ${body}`)
    return JSON.parse(body)
  }
  return { app, lines, get, post, overview }
}

/** What all that the dashboard answers with says to browsers. */
export const PROTECTION = {
  'content-security-policy': /^default-src 'none'; script-src 'self';/,
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff'
}
