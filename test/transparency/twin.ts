// An app that caches beside its twin that does not: what clients get, and which hooks run, request by request.
import fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { request as clientRequest, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import routeCache, { type RouteCacheOptions } from '../../plugin/index.js'
import { settled } from '../helpers/app.js'

export interface Visit { url: string, method?: string, headers?: Record<string, string>, body?: string }

/** Registers the plugin, or, on the twin, nothing. */
export type Caching = (scope: FastifyInstance, options?: RouteCacheOptions) => Promise<void>

export interface Case {
  /** Fastify's own. */
  options?: FastifyServerOptions
  /** The plugin is registered on the app, unless this says that `build` does it itself. */
  ownCaching?: true
  /** Where it listens: under this name on several addresses, the second of two visits at another than the first. */
  host?: 'localhost'
  build: (app: FastifyInstance, caching: Caching) => unknown
  /** Each is made twice, one behind the other. */
  visits: (Visit | string)[]
  /** What hooks see only where a handler runs, and fails: a hit is an answer like any other. */
  untold?: RegExp
  /** What the second of each comes to; absent: all are hits. */
  outcomes?: string[]
}

/** Which hooks look on: none, so that hits go the shortest way; those that hits run too; all in front of the handler. */
export const WATCHES = ['nobody looks', 'hooks around', 'hooks in front'] as const
type Watch = typeof WATCHES[number]

/** What the cache adds, and what differs from one second to the next. */
const OURS = ['cache-status', 'age', 'date']
const SIZES = ['content-length', 'transfer-encoding']

interface Answer {
  /** 0: the connection ended without one. */
  status: number
  headers: IncomingHttpHeaders
  trailers: unknown
  body: string
  seen: string[]
  /** Interim responses that came ahead of it. */
  early: string[]
}

/** Compares all answers of the two apps. */
export async function compare (t: Test, one: Case, watch: Watch): Promise<void> {
  const { options = {}, ownCaching, host, build, visits, untold, outcomes } = one
  const apps = await Promise.all([true, false].map(async (isCached) => {
    const app = fastify({ logger: { level: 'silent' }, ...options as object }) as unknown as FastifyInstance
    t.teardown(async () => { await app.close() })
    const scopes: FastifyInstance[] = []
    const caching: Caching = async (scope, options) => {
      if (isCached) await scope.register(routeCache, { ...options })
      scopes.push(scope)
    }
    if (ownCaching === undefined) await caching(app)
    const seen: string[] = []
    look(app, watch, seen)
    await build(app, caching)
    await app.listen({ port: 0, host: host ?? '127.0.0.1' })
    const stored = async (): Promise<void> => { if (isCached) for (const scope of scopes) await settled(scope) }
    return { app, seen, stored }
  }))
  for (const [i, visit] of visits.entries()) {
    const { url, ...rest } = typeof visit === 'string' ? { url: visit } : visit
    for (const turn of ['first', 'second']) {
      const answers: Answer[] = []
      for (const { app, seen, stored } of apps) {
        answers.push({ ...await ask(originOf(app, turn), { url, ...rest }), seen: seen.splice(0) })
        await stored()
      }
      const [cached, bare] = answers as [Answer, Answer]
      // It has nothing to announce: the answer itself is there.
      if (outcomeOf(cached) === 'hit') bare.early = bare.early.filter((line) => !line.includes('of-the-handler'))
      const name = `${rest.method ?? 'GET'} ${url}, ${turn}`
      if (untold !== undefined) for (const answer of answers) answer.seen = answer.seen.filter((line) => !untold.test(line))
      t.strictSame(comparable(cached, bare), comparable(bare, bare), name)
      if (turn === 'second') t.equal(outcomeOf(cached), outcomes?.[i] ?? 'hit', `${name}: outcome`)
    }
  }
}

function look (app: FastifyInstance, watch: Watch, seen: string[]): void {
  if (watch === 'nobody looks') return
  app.addHook('onRequest', async ({ method, url }) => { seen.push(`onRequest ${method} ${url}`) })
  app.addHook('onSend', async (_, reply, payload) => {
    seen.push(`onSend ${reply.statusCode} ${String(reply.getHeader('content-type'))} ${kindOf(payload)}`)
  })
  app.addHook('onResponse', async (_, reply) => { seen.push(`onResponse ${reply.statusCode} ${reply.sent}`) })
  app.addHook('onError', async (_, reply, { message }) => { seen.push(`onError ${reply.statusCode} ${message}`) })
  app.addHook('onTimeout', async () => { seen.push('onTimeout') })
  if (watch !== 'hooks in front') return
  app.addHook('preParsing', async () => { seen.push('preParsing') })
  app.addHook('preValidation', async ({ params, query }) => { seen.push(`preValidation ${JSON.stringify([params, query])}`) })
  app.addHook('preHandler', async ({ params, query }) => { seen.push(`preHandler ${JSON.stringify([params, query])}`) })
}

function kindOf (payload: unknown): string {
  if (typeof payload !== 'object' || payload === null) return typeof payload
  return 'pipe' in payload ? 'stream' : payload.constructor.name
}

function originOf (app: FastifyInstance, turn: string): string {
  const { address, family, port } = app.addresses().at(turn === 'first' ? 0 : -1) as AddressInfo
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}

async function ask (origin: string, { url, method = 'GET', headers = {}, body }: Visit): Promise<Omit<Answer, 'seen'>> {
  const early: string[] = []
  return await new Promise((resolve, reject) => {
    const request = clientRequest(origin + url, { method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('error', reject).on('data', (chunk) => chunks.push(chunk)).on('end', () => {
        const { statusCode, headers, trailers } = response
        resolve({ status: statusCode!, headers, trailers, body: Buffer.concat(chunks).toString('latin1'), early })
      })
    })
    request.on('information', ({ statusCode, headers: { link } }) => early.push(`${statusCode} ${String(link)}`))
    request.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET') return reject(error)
      resolve({ status: 0, headers: {}, trailers: {}, body: '', early })
    }).end(body)
  })
}

function outcomeOf ({ headers }: Answer): string {
  return /hit|(?<=fwd=)\w+/.exec(String(headers['cache-status']))?.[0] ?? 'none'
}

/** An answer less what may differ where the twin's is this one. */
function comparable ({ headers, ...rest }: Answer, twin: Answer): unknown {
  const isStream = twin.headers['transfer-encoding'] !== undefined && twin.headers.trailer === undefined
  const may = [...OURS, ...twin.headers.etag === undefined ? ['etag'] : [], ...isStream ? SIZES : []]
  return { ...rest, headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !may.includes(name)).sort()) }
}
