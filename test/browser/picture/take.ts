// `npm run picture`: README's picture of the dashboard, docs/dashboard.png. A shop has a quarter of an hour's requests in
// seconds, by a clock of the dashboard's own. Needs Chromium.
import fastify, { type FastifyInstance } from 'fastify'
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import routeCache from 'fastify-route-cache'
import dashboard from 'fastify-route-cache/dashboard'
import { chromium } from 'playwright-core'
import { startRedis } from '../../helpers/redis.js'
import { packed } from './png.js'

const picture = fileURLToPath(new URL('../../../docs/dashboard.png', import.meta.url))
const STEP = 10_000
const STEPS = 90

const server = await startRedis()
const redis = server.client()
await redis.ping()
let now = Math.floor(Date.now() / STEP) * STEP
const app = fastify()
await app.register(routeCache, { redis, prefix: 'shop', deadline: '10s' })
await app.register(dashboard, { prefix: '/cache', public: true, interval: '1h', now: () => now })
declareRoutes(app)
const base = await app.listen({ host: '127.0.0.1', port: 0 })
for (let step = 0; step < STEPS; step++) {
  await requests(step)
  await app.inject('/cache/api/overview')
  if (step < STEPS - 1) now += STEP
}
const bytes = packed(await take())
await writeFile(picture, bytes)
await app.close()
await server.stop()
console.log(`${picture}: ${Math.round(bytes.length / 1000)} kB`)

function declareRoutes (app: FastifyInstance): void {
  const schema = { querystring: { type: 'object', properties: { page: { type: 'integer' } } } }
  const life = { ttl: '10m', staleWhileRevalidate: '1m' }
  const load = async (): Promise<string> => {
    await new Promise((resolve) => setTimeout(resolve, 2 + Math.random() * 6))
    return 'x'.repeat(2_000)
  }
  app.get('/products/:id', { cache: { key: 'product:{id}', tags: ['product:{id}'], ...life } }, load)
  app.get('/categories/:name', { schema, cache: { key: 'category:{name}:{page}', tags: ['products'], ...life } }, load)
  app.get('/search', { cache: { ttl: '1m' } }, load)
  app.get('/products/:id/reviews', { cache: { key: 'reviews:{id}', tags: ['product:{id}'], ...life } }, load)
  app.get('/basket', { cache: true }, load)
  app.get('/stock/:id', { cache: { key: 'stock:{id}', ttl: '5s' } }, async (_, reply) => {
    return await reply.header('cache-control', 'no-store').send(await load())
  })
}

/** More and more of them; and a write now and then. */
async function requests (step: number): Promise<void> {
  const many = 14 + Math.round(6 * Math.sin(step / 9) + step / 10)
  // Most ask for few.
  const one = (of: number): number => Math.floor(of * Math.random() ** 3)
  const urls = Array.from({ length: many }, () => `/products/${one(60)}`)
  urls.push(...Array.from({ length: many / 3 }, () => `/categories/${['tea', 'coffee', 'cups'][one(3)]}?page=${1 + one(4)}`))
  urls.push(`/search?q=${one(40)}`, `/search?q=${one(40)}`, `/products/${one(20)}/reviews`, `/products/${one(20)}/reviews`)
  if (step % 3 === 0) urls.push(`/stock/${one(20)}`)
  for (const url of urls) await app.inject(url)
  if (step % 2 === 0) await app.inject({ url: '/basket', headers: { authorization: 'Bearer x' } })
  if (step % 6 === 5) await app.cache.invalidate({ tags: [`product:${one(20)}`] })
  if (step === 55) await app.cache.invalidate({ tags: ['products'], prefix: 'product:' })
}

async function take (): Promise<Buffer> {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: ['--no-sandbox']
  })
  try {
    const page = await browser.newPage({ viewport: { width: 1100, height: 1120 } })
    await page.clock.setFixedTime(now)
    await page.goto(`${base}/cache/`)
    await page.getByText('requests in this time').waitFor()
    await page.getByText('1 process').waitFor()
    return await page.screenshot()
  } finally {
    await browser.close()
  }
}
