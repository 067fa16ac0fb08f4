// What a subject is seen to do before it is measured: whether a second request is answered from the cache, what that answer
// has lost, whether it answers If-None-Match, and what an entry takes in Redis.
import type { Redis } from 'ioredis'
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
const ATTEMPTS = 10
const PAUSE = 30

export async function traitsOf (server: Server): Promise<Traits> {
  const url = `${server.urls[0]!}/item/h1-0`
  const made = await ask(url)
  const { keeps } = server.subject
  const hit = keeps === 'nothing' ? made : await hitOf(server, url)
  if (hit === null) throw new Error('the second request was not answered from the cache')
  const loses = `${await losses(server)}${hit.body === made.body ? '' : '; the bytes of the body'}`
  return { loses, etag: hit.status === 200 && await isNotModified(url, hit.headers.get('etag')) }
}

async function losses (server: Server): Promise<string> {
  const { keeps } = server.subject
  if (keeps === 'nothing') return '-'
  if (keeps === 'value') return 'keeps a value: status, headers, validators are made anew'
  const url = `${server.urls[0]!}/probe`
  const made = await ask(url)
  const hit = await hitOf(server, url)
  if (hit === null) return 'does not store a 203'
  const lost = KEPT.filter((name) => hit.headers.get(name) !== made.headers.get(name))
  if (hit.status !== made.status) lost.unshift(`status (203 is ${hit.status})`)
  if (hit.body !== made.body) lost.push('body')
  return lost.length === 0 ? 'nothing' : lost.join(', ')
}

/** An answer that no run of the handler made; null where there is none, though a fill may come after its answer. */
async function hitOf (server: Server, url: string): Promise<Answer | null> {
  for (let i = 0; i < ATTEMPTS; i++) {
    const runs = await server.runs()
    const answer = await ask(url)
    if (await server.runs() === runs) return answer
    await delay(PAUSE)
  }
  return null
}

async function isNotModified (url: string, etag: string | null): Promise<boolean> {
  return etag !== null && (await ask(url, { 'if-none-match': etag })).status === 304
}

export async function etagOf (server: Server, id: string): Promise<string> {
  return (await ask(`${server.urls[0]!}/item/${id}`)).headers.get('etag') ?? ''
}

/** Asks each of its processes for each id until all of them hit. */
export async function fill (server: Server, ids: readonly string[]): Promise<void> {
  const urls = server.urls.flatMap((url) => ids.map((id) => `${url}/item/${id}`))
  for (let i = 0; i < ATTEMPTS; i++) {
    const runs = await server.runs()
    for (const url of urls) await ask(url)
    if (server.subject.keeps === 'nothing' || await server.runs() === runs) return
    await delay(PAUSE)
  }
  throw new Error(`${ids[0]!} and others like it don't hit: asked for ${ATTEMPTS} times, each time the handler ran`)
}

/** By which Redis grows for an entry of this size, names and indexes included; null without a Redis. */
export async function bytesOfEntry (server: Server, size: Size): Promise<number | null> {
  if (server.redis === null) return null
  const before = await settled(server.redis)
  await fill(server, Array.from({ length: ENTRIES }, (_, i) => `b${size}-${i}`))
  return (await settled(server.redis) - before) / ENTRIES
}

/** A layer in memory may tell Redis later. */
async function settled (redis: Redis): Promise<number> {
  for (let last = -1, same = 0; ;) {
    const bytes = await redisBytes(redis)
    same = bytes === last ? same + 1 : 0
    if (same === 3) return bytes
    last = bytes
    await delay(PAUSE)
  }
}

interface Answer { status: number, headers: Headers, body: string }

async function ask (url: string, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(url, { headers })
  return { status: response.status, headers: response.headers, body: await response.text() }
}
