// A rule of HTTP as a table. Each row is a cached route and what is asked of it in turn, with a clock that only moves when
// the row says so; `accepts` are rows in which the cache does its work, `rejects` those in which the rule keeps it from it.
import type { FastifyReply, FastifyRequest, FastifySchema, HTTPMethods } from 'fastify'
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { Test } from 'tap'
import type { CacheOptions, RouteCacheOptions } from '../../plugin/index.js'
import type { BypassReason, RefusalReason } from '../../plugin/telling/outcome.js'
import { settled, type CachedApp } from '../helpers/app.js'

/** What Cache-Status says: `none` that there is no such field, `refresh` that the client forced the miss. */
export type Outcome = 'hit' | 'miss' | 'refresh' | 'none' | `bypass ${BypassReason}`

/** One request, and what is expected of its response. */
export interface Ask {
  is: Outcome
  method?: HTTPMethods
  url?: string
  headers?: Record<string, string>
  /** Seconds that pass before it. */
  after?: number
  /** Default 200. */
  status?: number
  body?: string
  /** Fields as they must be; null: must not be there. */
  fields?: Record<string, string | string[] | RegExp | null>
}

export type Step = Ask | ((app: CachedApp, t: Test) => unknown)

export interface Row {
  name: string
  cache?: CacheOptions | true
  plugin?: RouteCacheOptions
  schema?: FastifySchema
  /** Default `/`. */
  path?: string
  /** What the app has besides the route. */
  prepare?: (app: CachedApp) => unknown
  /** What the handler sends. Default `run 1`, `run 2`, ... */
  send?: (reply: FastifyReply, request: FastifyRequest, run: number) => unknown
  steps: Step[]
  /** It can't be said, or read, by an HTTP client: injected on each store. */
  isInjected?: true
  /** Why responses were not stored, in all. */
  refused?: Partial<Record<RefusalReason, number>>
}

export interface Rule {
  rule: string
  /** Where it is written. */
  rfc: string
  accepts: [Row, ...Row[]]
  rejects: [Row, ...Row[]]
}

export type Open = (options?: RouteCacheOptions) => Promise<CachedApp>

/** How a table's requests get to the app. */
export type Carry = (app: CachedApp, request: Carriable) => Promise<Carried>

interface Carriable { method: string, url: string, headers: Record<string, string> }

interface Carried { statusCode: number, headers: Record<string, unknown>, body: string }
export type Send = NonNullable<Row['send']>

/** The clock's first instant. */
export const START = Date.parse('2026-11-01T12:00:00Z')

/** The first request fills, the second is served. */
export function stored (name: string, send?: Send, more: Partial<Row> = {}): Row {
  return { name, ...send === undefined ? {} : { send }, refused: {}, steps: [{ is: 'miss' }, { is: 'hit' }], ...more }
}

/** Neither of two requests fills; the second is refused for the same reason, so the first gave its lease back. */
export function unstored (name: string, reason: RefusalReason, send?: Send, more: Partial<Row> = {}): Row {
  return { name, ...send === undefined ? {} : { send }, refused: { [reason]: 2 }, steps: [{ is: 'miss' }, { is: 'miss' }], ...more }
}

/** Filled by one request, then asked with these headers. */
export function asked (name: string, headers: Record<string, string>, ask: Ask, more: Partial<Row> = {}): Row {
  return { name, steps: [{ is: 'miss' }, { headers, ...ask }], ...more }
}

let rows = 0

const inject: Carry = async (app, request) => await app.inject(request as never) as unknown as Carried

/** Over a socket, on a connection of its own. */
export const overHttp: Carry = async (app, { method, url, headers }) => {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
  const sent = httpRequest(app.listeningOrigin + url, { method, headers, agent: false })
  sent.end()
  const [response] = await once(sent, 'response') as [IncomingMessage]
  let body = ''
  for await (const chunk of response) body += String(chunk)
  // As an injected one has them: a list where a field came on several lines.
  const asOne = (values: string[] = []): unknown => values.length === 1 ? values[0] : values
  const lines = Object.entries(response.headersDistinct).map(([name, values]) => [name, asOne(values)])
  return { statusCode: response.statusCode!, headers: Object.fromEntries(lines), body }
}

/** Runs the tables. */
export async function hold (t: Test, open: Open, rules: readonly Rule[], carry = inject): Promise<void> {
  for (const { rule, rfc, accepts, rejects } of rules) {
    await t.test(`${rfc}: ${rule}`, async (t) => {
      for (const row of accepts) await t.test(`${rfc} accepts: ${row.name}`, async (t) => await holds(t, row, { open, carry }))
      for (const row of rejects) await t.test(`${rfc} rejects: ${row.name}`, async (t) => await holds(t, row, { open, carry }))
    })
  }
}

interface Means { open: Open, carry: Carry }

async function holds (t: Test, { plugin, prepare, steps, refused, isInjected, ...route }: Row, means: Means): Promise<void> {
  const { open } = means
  const carry = isInjected === true ? inject : means.carry
  let now = START
  // All rows of a store are in one Redis.
  const app = await open({ prefix: `row${++rows}`, now: () => now, ...plugin })
  await prepare?.(app)
  const runs = declare(app, route)
  for (const step of steps) {
    if (typeof step === 'function') {
      await step(app, t)
      continue
    }
    now += (step.after ?? 0) * 1000
    const before = runs()
    await isAnswered(t, step, async (request) => await carry(app, request))
    if (step.is === 'hit') t.equal(runs(), before, 'the handler did not run')
    await settled(app)
  }
  if (refused !== undefined) t.strictSame(app.cache.stats().total.refusals, refused)
}

/** Adds the row's route; gives how often its handler ran. */
function declare (app: CachedApp, { path, cache, schema, send }: Omit<Row, 'steps'>): () => number {
  let run = 0
  app.get(path ?? '/', { cache: cache ?? true, ...schema === undefined ? {} : { schema } }, async (request, reply) => {
    run++
    return await (send === undefined ? reply.send(`run ${run}`) : send(reply, request, run))
  })
  return () => run
}

type Asked = (request: Carriable) => Promise<Carried>

async function isAnswered (t: Test, { is, method, url, headers, status, body, fields }: Ask, asked: Asked): Promise<void> {
  const response = await asked({ method: method ?? 'GET', url: url ?? '/', headers: headers ?? {} })
  const name = [method, url, JSON.stringify(headers)].filter((part) => part !== undefined).join(' ')
  t.equal(outcome(response.headers['cache-status']), is, name)
  t.equal(response.statusCode, status ?? 200, name)
  if (body !== undefined) t.equal(response.body, body, name)
  for (const [field, value] of Object.entries(fields ?? {})) {
    const actual = response.headers[field]
    if (value === null) t.equal(actual, undefined, field)
    else if (value instanceof RegExp) t.match(actual, value, field)
    else t.strictSame(typeof actual === 'number' ? String(actual) : actual, value, field)
  }
}

/** Our member, the last, without the cache's name and its seconds. */
export function outcome (field: unknown): string {
  if (field === undefined) return 'none'
  const [, what, reason] = /; (hit|fwd=\w+)(?:; ttl=\d+)?(?:; key="[^"]*")?(?:; detail=([\w-]+))?$/.exec(String(field)) ?? []
  if (what === 'hit') return 'hit'
  if (what === 'fwd=request') return 'refresh'
  if (what === 'fwd=miss') return 'miss'
  return reason === undefined ? String(what).slice('fwd='.length) : `bypass ${reason}`
}
