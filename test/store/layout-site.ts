// An app for the test of two layouts, and what its routes answer: run by itself it is another process, on the Redis of the
// port that it is given, which answers the URLs that it is given.
import { argv } from 'node:process'
import { pathToFileURL } from 'node:url'
import fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import routeCache from '../../plugin/index.js'
import { settled } from '../helpers/app.js'

/** How one request was answered, by `Cache-Status`, and how many entries were not readable until then. */
export interface Answered { by: string, isHit: boolean, unreadable: number }

export const URLS = ['/plain', '/varies', '/value']

export async function openSite (redis: Redis, name: string): Promise<FastifyInstance> {
  const app = fastify()
  await app.register(routeCache, { redis, deadline: 30, writeDeadline: 30 })
  app.get('/plain', { cache: { key: 'plain', ttl: 60, staleWhileRevalidate: 60 } }, async () => name)
  app.get('/varies', { cache: { key: 'varies', ttl: 60 } }, async (_, reply) => {
    reply.header('vary', 'accept-language')
    return name
  })
  app.get('/value', async () => await app.cache.getOrSet('value', { ttl: 60 }, () => name))
  await app.ready()
  return app
}

export async function ask (app: FastifyInstance, urls: readonly string[]): Promise<Answered[]> {
  const answers: Answered[] = []
  for (const url of urls) {
    const { body, headers } = await app.inject(url)
    await settled(app)
    await app.cache.settled()
    answers.push({ by: body, isHit: / hit/.test(String(headers['cache-status'])), unreadable: app.cache.stats().total.unreadable })
  }
  return answers
}

if (import.meta.url === pathToFileURL(argv[1]!).href) {
  const [port, ...urls] = argv.slice(2)
  const redis = new Redis(Number(port))
  await redis.ping()
  const app = await openSite(redis, 'next')
  console.log(JSON.stringify(await ask(app, urls)))
  await app.close()
  await redis.quit()
}
