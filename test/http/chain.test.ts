// Two instances over HTTP, one as the proxy before the other: each level has hits, and none forwards each request, be the
// time declared by the route or said by the handler. RFC 9111 §4.2.3, RFC 9213 §2.3.
import t from 'tap'
import { onEachStore, settled, type CachedApp } from '../helpers/app.js'
import { START } from './rule.js'

const PASSED_ON = ['cache-control', 'age', 'date', 'etag', 'expires', 'last-modified', 'cache-status']

await onEachStore(t, async (t, open) => {
  let now = START
  const inner = await open({ prefix: 'inner', now: () => now })
  const runs: Record<string, number> = {}
  const asked: Record<string, number> = {}
  inner.addHook('onRequest', async ({ url }) => { asked[url] = (asked[url] ?? 0) + 1 })
  const answer = (url: string): string => {
    runs[url] = (runs[url] ?? 0) + 1
    return `${url} ${runs[url]}`
  }
  inner.get('/declared', { cache: { ttl: 60, cacheControl: 'max-age=5' } }, async ({ url }) => answer(url))
  inner.get('/origin', { cache: { ttl: 'origin' } }, async ({ url }, reply) => await reply.header('cache-control', 'max-age=10').send(answer(url)))
  inner.get('/gone', { cache: { ttl: 'origin', statuses: 'origin' } }, async ({ url }, reply) =>
    await reply.code(410).header('cache-control', 'max-age=10').send(answer(url)))
  await inner.listen({ port: 0, host: '127.0.0.1' })

  const outer = await open({ prefix: 'outer', now: () => now })
  outer.get('/*', { cache: { ttl: 'origin', statuses: 'origin' } }, async ({ url }, reply) => {
    const response = await fetch(inner.listeningOrigin + url)
    for (const name of PASSED_ON) if (response.headers.has(name)) reply.header(name, response.headers.get(name))
    return await reply.code(response.status).send(await response.text())
  })
  const ask = async (url: string): Promise<string> => {
    const { headers } = await outer.inject(url)
    await settled(outer)
    await settled(inner as CachedApp)
    now += 1_000
    return String(headers['cache-status'])
  }

  for (const [url, forwarded, ran] of [['/declared', 5, 1], ['/origin', 2, 2], ['/gone', 2, 2]] as const) {
    await t.test(`${url}: of 20 requests, one a second, ${forwarded} go on`, async (t) => {
      const seen: string[] = []
      for (let i = 0; i < 20; i++) seen.push(await ask(url))
      const hits = seen.filter((field) => /; hit; ttl=\d+$/.test(field)).length
      t.ok(hits >= 20 - forwarded, `${hits} hits in front: ${seen.at(-1)}`)
      t.ok(asked[url]! <= forwarded, `${asked[url]} forwarded`)
      t.equal(runs[url], ran)
    })
  }
})
