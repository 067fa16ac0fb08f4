// An app with another plugin beside ours, in both orders, and without ours: what the other one does then is what is right.
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import routeCache from '../../plugin/index.js'
import { cachedApp, loggingApp, settled } from '../helpers/app.js'

export const ORDERS = ['theirs first', 'ours first'] as const
export type Order = typeof ORDERS[number] | 'theirs alone'

/** Registers the other plugins. Routes come after both. */
export type Theirs = (app: FastifyInstance) => Promise<unknown>

/** The app, closed with the test. Without ours, a route's `cache` option means nothing. */
export async function sideBySide (t: Test, order: Order, theirs: Theirs): Promise<FastifyInstance> {
  const app = order === 'ours first' ? await cachedApp(t) : loggingApp(t).app
  await theirs(app)
  if (order === 'theirs first') await app.register(routeCache, { deadline: 30 })
  return app
}

/** One test for each order. */
export async function inBothOrders (
  t: Test, name: string, run: (t: Test, order: typeof ORDERS[number]) => Promise<void>
): Promise<void> {
  for (const order of ORDERS) await t.test(`${name}, ${order}`, (t) => run(t, order))
}

/** What a request gets, once its response is stored or refused. */
export async function fetch (app: FastifyInstance, options: InjectOptions | string = '/'): Promise<LightMyRequestResponse> {
  const response = await app.inject(options)
  if (app.hasDecorator('cache')) await settled(app)
  return response
}

/** What the cache did, without its name and the remaining ttl. */
export function outcome ({ headers }: LightMyRequestResponse): string {
  return String(headers['cache-status']).replace('fastify-route-cache; ', '').replace(/; ttl=\d+/, '')
}

/** The header fields without those that our plugin adds, and those that differ from one second to the next. */
export function othersFields ({ headers }: LightMyRequestResponse): Record<string, unknown> {
  const { 'cache-status': _, age, date, etag, ...others } = headers
  return others
}

/** Names of fields have neither case nor order: RFC 9110 §12.5.5. */
export function membersOf (vary: unknown): string[] {
  return vary === undefined ? [] : String(vary).toLowerCase().split(',').map((member) => member.trim()).sort()
}
