// What a subject is seen to do before it is measured: whether a second request is answered from the cache, what that answer
// has lost, whether it answers If-None-Match, and what an entry takes in Redis.
import { setTimeout as delay } from 'node:timers/promises'
import type { Size } from './options.js'
import type { Server } from './server.js'
import { redisBytes } from './usage.js'

export interface Traits {
  /** Status, content type and fields that a hit lacks or has otherwise. */
  loses: string
  /** The ETag of a hit that is answered with 304 when it is named. */
  etag: boolean
}

const ENTRIES = 16
const KEPT = ['content-type', 'x-made-by']

export async function traitsOf (server: Server): Promise<Traits> {
  const url = `${server.urls[0]!}/item/h1-0`
  const made = await ask(url)
  const runs = await server.runs()
  const hit = await ask(url)
  const isReordered = hit.body !== made.body
  const { keeps } = server.subject
  if (keeps !== 'nothing' && await server.runs() !== runs) throw new Error('the second request was not answered from the cache')
  const loses = `${await losses(server)}${isReordered ? '; the bytes of the body' : ''}`
  return { loses, etag: hit.status === 200 && await isNotModified(url, hit.headers.get('etag')) }
}

async function losses (server: Server): Promise<string> {
  const { keeps } = server.subject
  if (keeps === 'nothing') return '-'
  if (keeps === 'value') return 'keeps a value: status, headers, validators are made anew'
  const url = `${server.urls[0]!}/probe`
  const made = await ask(url)
  const runs = await server.runs()
  const hit = await ask(url)
  if (await server.runs() !== runs) return 'does not store a 203'
  const lost = KEPT.filter((name) => hit.headers.get(name) !== made.headers.get(name))
  if (hit.status !== made.status) lost.unshift(`status (203 is ${hit.status})`)
  if (hit.body !== made.body) lost.push('body')
  return lost.length === 0 ? 'nothing' : lost.join(', ')
}

async function isNotModified (url: string, etag: string | null): Promise<boolean> {
  return etag !== null && (await ask(url, { 'if-none-match': etag })).status === 304
}

/** The ETags of these ids. */
export async function etagOf (server: Server, id: string): Promise<string> {
  return (await ask(`${server.urls[0]!}/item/${id}`)).headers.get('etag') ?? ''
}

interface Answer { status: number, headers: Headers, body: string }

async function ask (url: string, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(url, { headers })
  return { status: response.status, headers: response.headers, body: await response.text() }
}

/** By which Redis grows for an entry of this size, names and indexes included; null without a Redis. */
export async function bytesOfEntry (server: Server, size: Size): Promise<number | null> {
  if (server.redis === null) return null
  const before = await settled(server)
  for (let i = 0; i < ENTRIES; i++) await ask(`${server.urls[0]!}/item/b${size}-${i}`)
  return (await settled(server) - before) / ENTRIES
}

/** A fill may come after its answer. */
async function settled ({ redis }: Server): Promise<number> {
  let last = await redisBytes(redis!)
  for (;;) {
    await delay(30)
    const bytes = await redisBytes(redis!)
    if (bytes === last) return bytes
    last = bytes
  }
}
