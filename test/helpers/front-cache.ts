// A cache in front of an app, as small as it can be: it keeps a GET's response for its s-maxage, and drops what has one of
// the names that a PURGE names. It stands in for Varnish where that is not what is tested (test/in-front has a real one).
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { HOST } from './redis-probe.js'

interface Kept { status: number, headers: Headers, body: Buffer, names: readonly string[], until: number }

export interface FrontCache { origin: string, stop: () => Promise<void> }

/** Starts one in front of this origin; `stop()` it in a teardown. */
export async function startFrontCache (origin: string): Promise<FrontCache> {
  const kept = new Map<string, Kept>()
  const purge = ({ headers }: IncomingMessage): void => {
    const names = String(headers['surrogate-key']).split(' ')
    for (const [url, { names: its }] of kept) if (its.some((name) => names.includes(name))) kept.delete(url)
  }
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = 'GET', url = '/' } = request
    if (method === 'PURGE') {
      purge(request)
      response.end()
      return
    }
    const found = method === 'GET' ? kept.get(url) : undefined
    const isHit = found !== undefined && found.until > performance.now()
    const sent = isHit ? found : await ask(origin + url, method)
    if (method === 'GET' && sent.until > performance.now()) kept.set(url, sent)
    response.statusCode = sent.status
    for (const [name, value] of sent.headers) if (!['content-length', 'surrogate-key', 'connection'].includes(name)) response.setHeader(name, value)
    response.setHeader('x-cache', isHit ? 'HIT' : 'MISS').end(sent.body)
  }
  const server = createServer((request, response) => {
    answer(request, response).catch(() => { response.writeHead(502).end() })
  }).listen(0, HOST)
  await once(server, 'listening')
  const stop = async (): Promise<void> => {
    server.closeAllConnections()
    await new Promise((resolve) => { server.close(resolve) })
  }
  return { origin: `http://${HOST}:${(server.address() as AddressInfo).port}`, stop }
}

async function ask (url: string, method: string): Promise<Kept> {
  const response = await fetch(url, { method, headers: { 'accept-encoding': 'identity' } })
  const { status, headers } = response
  const [, seconds = '0'] = /s-maxage=(\d+)/.exec(headers.get('cache-control') ?? '') ?? []
  const names = (headers.get('surrogate-key') ?? '').split(' ')
  const body = Buffer.from(await response.arrayBuffer())
  return { status, headers, body, names, until: performance.now() + Number(seconds) * 1000 }
}
