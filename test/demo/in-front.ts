// Caches in front of the demo, over HTTP: the shared one of an HTTP client, before a proxy with the plugin in its slot,
// before the demo. Each level answers from what it has, and none forwards each request, however old the demo's entry is: the
// route declares how long others may keep it, and `Age` counts from the answer (RFC 9213 §2.3).
import fastify from 'fastify'
import type { Test } from 'tap'
import { Agent, interceptors, request, type Dispatcher } from 'undici'
import routeCache from '../../plugin/index.js'
import { until } from '../helpers/until.js'

/** What the demo declares, in seconds. */
const MAX_AGE = 2
const PASSED_ON = ['cache-control', 'age', 'date', 'etag', 'vary', 'cache-status', 'content-type']
/** Of each client. */
const REQUESTS = 100

export async function checkCachesInFront (t: Test, base: string): Promise<void> {
  const url = `${base}/countries`
  await (await fetch(url)).text()
  const filled = performance.now()
  await until(async () => performance.now() - filled > (MAX_AGE + 1) * 1000, 'the entry is older than others may keep it')
  const { headers } = await fetch(url)
  t.match(headers.get('cache-status'), /; hit; ttl=59\d/)
  t.equal(headers.get('cache-control'), `public, max-age=${MAX_AGE}`)
  t.ok(Number(headers.get('age') ?? 0) < MAX_AGE, 'it is fresh on arrival')
  await throughBoth(t, base)
}

async function throughBoth (t: Test, base: string): Promise<void> {
  const demoSaid: string[] = []
  const proxy = fastify()
  await proxy.register(routeCache, { prefix: 'proxy', deadline: 30 })
  let asked = 0
  proxy.addHook('onRequest', async () => { asked++ })
  proxy.get('/*', { cache: { ttl: 'origin' } }, async ({ url }, reply) => {
    const response = await fetch(base + url)
    demoSaid.push(String(response.headers.get('cache-status')))
    for (const name of PASSED_ON) if (response.headers.has(name)) reply.header(name, response.headers.get(name))
    return await reply.code(response.status).send(await response.text())
  })
  const address = await proxy.listen({ port: 0, host: '127.0.0.1' })
  const plain = new Agent()
  const shared = plain.compose(interceptors.cache({ type: 'shared' }))
  const began = performance.now()
  /** A level keeps it for more than a second: ages are whole ones. */
  const most = (): number => 2 + Math.ceil((performance.now() - began) / 1000)
  try {
    await Promise.all(Array.from({ length: 20 }, async () => await ask(plain, address)))
    t.ok(demoSaid.length <= most(), `20 at once: ${demoSaid.length} reach the demo`)
    asked = 0
    for (let i = 0; i < REQUESTS; i++) await ask(shared, address)
    t.ok(asked <= most(), `of ${REQUESTS} through the client's cache ${asked} reach the proxy`)
    asked = 0
    let hits = 0
    for (let i = 0; i < REQUESTS; i++) if (/fastify-route-cache; hit; ttl=[12]$/.test(await ask(plain, address))) hits++
    t.equal(asked, REQUESTS)
    t.ok(hits >= REQUESTS - most(), `of ${REQUESTS} without it, the proxy answers ${hits}`)
    t.ok(demoSaid.length <= most(), `${demoSaid.length} of all reach the demo`)
    t.ok(demoSaid.every((field) => /; hit; /.test(field)), 'which has them all')
  } finally {
    await plain.close()
    await proxy.close()
  }
}

/** What the caches on the way said. */
async function ask (dispatcher: Dispatcher, address: string): Promise<string> {
  const { statusCode, body, headers } = await request(`${address}/countries`, { dispatcher })
  if (statusCode !== 200 || !(await body.text()).startsWith('{"countries":[')) throw new Error(`${statusCode}`)
  return String(headers['cache-status'])
}
