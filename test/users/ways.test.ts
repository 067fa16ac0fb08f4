// Nobody gets another's answer, however an app knows its users: each way is attacked by a second user, with `cache: true`
// and with what docs/authenticated.md says to write, over HTTP/1, over HTTP/2 and behind a trusted proxy, for 200, 304 and
// HEAD; and with that recipe each user has hits.
import fastify, { type FastifyInstance } from 'fastify'
import { readFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import routeCache, { type CacheOptions } from '../../plugin/index.js'
import { weakEtag } from '../../plugin/http/request.js'
import { settled } from '../helpers/app.js'
import { selfSigned } from '../helpers/certificate.js'
import { call1, call2, type Answer, type Call } from '../helpers/client.js'
import { WAYS, type Transport, type Way } from './ways.js'

interface Site {
  app: FastifyInstance
  ask: (user: string, more?: Call) => Promise<Answer>
}

interface Setting { transport: Transport, cache: true | CacheOptions }

const OPTIONS: Record<Transport, object> = { 'HTTP/1': {}, 'HTTP/2': { http2: true }, proxy: { trustProxy: true } }

/** The app of this way, with this said at its route. */
async function open (t: Test, way: Way, { transport, cache }: Setting): Promise<Site> {
  const app = fastify({ ...OPTIONS[transport], ...way.server })
  t.teardown(async () => { await app.close() })
  await app.register(routeCache, { deadline: 30, writeDeadline: 30 })
  await way.setUp?.(app)
  app.get('/', { ...way.route, cache }, async (request) => `for ${String(way.tells(request))}`)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const calls = new Map<string, Call>()
  return {
    app,
    ask: async (user, more = {}) => {
      const call = calls.get(user) ?? await way.visit(user, { app, transport })
      calls.set(user, call)
      const answer = await (transport === 'HTTP/2' ? call2 : call1)(app, { ...call, ...more, headers: { ...call.headers, ...more.headers } })
      await settled(app)
      return answer
    }
  }
}

/** One's answer, told from another's by its length, too. */
function textOf (user: string): string {
  return `for ${user}`
}

/** What somebody who knows another's answer tries: to have it, or to hear that it is still so. */
async function attack (t: Test, { ask }: Site, victim: string, user: string): Promise<void> {
  const text = textOf(user)
  t.match(await ask(user), { status: 200, body: text }, `${user}, after ${victim}`)
  const head = await ask(user, { method: 'HEAD' })
  t.match(head, { status: 200, body: '', headers: { 'content-length': String(text.length) } }, `HEAD by ${user}`)
  for (const tag of [weakEtag(Buffer.from(textOf(victim))), `W/"x", ${weakEtag(Buffer.from(textOf(victim)))}`]) {
    t.match(await ask(user, { headers: { 'if-none-match': tag } }), { status: 200, body: text }, `${user} with ${victim}'s tag`)
  }
}

/** Each has hits of their own: 200, HEAD and 304. */
async function isServed (t: Test, { ask }: Site, user: string): Promise<void> {
  const hit = /; hit;/
  t.match(await ask(user), { status: 200, body: textOf(user), headers: { 'cache-status': hit } }, `a hit for ${user}`)
  t.match(await ask(user, { method: 'HEAD' }), { status: 200, headers: { 'cache-status': hit } }, `HEAD by ${user}`)
  const tag = { 'if-none-match': weakEtag(Buffer.from(textOf(user))) }
  t.match(await ask(user, { headers: tag }), { status: 304, body: '', headers: { 'cache-status': hit } }, `304 for ${user}`)
}

async function each (t: Test, way: Way, run: (t: Test, transport: Transport) => Promise<void>): Promise<void> {
  for (const transport of way.over ?? ['HTTP/1', 'HTTP/2', 'proxy'] as const) {
    await t.test(transport, async (t) => { await run(t, transport) })
  }
}

for (const way of WAYS) {
  if (way.detail !== null || way.cache === null) {
    await t.test(`${way.name}: nothing leaks by default`, async (t) => await each(t, way, async (t, transport) => {
      const site = await open(t, way, { transport, cache: way.leaky ?? true })
      for (const [victim, user] of [['bob', 'alice'], ['alice', 'bob'], ['bob', 'alice']] as const) await attack(t, site, victim, user)
      const { bypasses, hits } = site.app.cache.stats().total
      if (way.detail === null) return
      t.match((await site.ask('alice')).headers['cache-status'], `fwd=bypass; detail=${way.detail}`)
      t.equal(hits, 0)
      t.strictSame(Object.keys(bypasses), [way.detail.split(':')[0]])
    }))
  }
  await t.test(`${way.name}: hits, each their own`, async (t) => await each(t, way, async (t, transport) => {
    const site = await open(t, way, { transport, cache: way.cache ?? true })
    t.match(await site.ask('alice'), { body: textOf('alice'), headers: { 'cache-status': /fwd=miss/ } })
    await attack(t, site, 'alice', 'bob')
    await attack(t, site, 'bob', 'alice')
    await isServed(t, site, 'alice')
    await isServed(t, site, 'bob')
  }))
}

t.test("Clerk's recipe: who is signed out shares, and gets nobody's answer", async (t) => {
  const way = WAYS.find(({ name }) => name.startsWith('Clerk'))!
  const site = await open(t, { ...way, visit: (user) => user === 'null' ? {} : way.visit(user, { app: site.app, transport: 'HTTP/1' }) }, { transport: 'HTTP/1', cache: way.cache! })
  await site.ask('null')
  await attack(t, site, 'null', 'alice')
  await attack(t, site, 'alice', 'null')
  for (const user of ['null', 'alice']) await isServed(t, site, user)
})

/** With TLS there are certificates, and two protocols. */
for (const http2 of [false, true]) {
  await t.test(`a client certificate, HTTP/${http2 ? 2 : 1}`, async (t) => {
    const certificates = { alice: selfSigned('alice'), bob: selfSigned('bob') }
    interface Shown { getPeerCertificate: () => { subject?: { CN: string } } | null }
    const nameOf = ({ raw }: { raw: object }): string | undefined =>
      (raw as { socket: Shown }).socket.getPeerCertificate()?.subject?.CN
    const https = { ...selfSigned('server'), requestCert: true, rejectUnauthorized: false }
    const app = fastify({ http2, https } as object)
    t.teardown(async () => { await app.close() })
    await app.register(routeCache)
    const handler = async (request: object): Promise<string> => `for ${nameOf(request as { raw: object })}`
    app.get('/', { cache: { key: 'default' } }, handler)
    app.get('/recipe', { cache: { key: 'recipe', identity: nameOf } }, handler)
    await app.listen({ port: 0, host: '127.0.0.1' })
    const site = (path: string): Site => ({
      app,
      ask: async (user, more = {}) => {
        const certificate = certificates[user as 'alice' | 'bob']
        const answer = await (http2 ? call2 : call1)(app, { path, ...certificate !== undefined && { certificate }, ...more })
        await settled(app)
        return answer
      }
    })
    await attack(t, site('/'), 'alice', 'bob')
    await attack(t, site('/'), 'bob', 'alice')
    t.match((await site('/').ask('alice')).headers['cache-status'], 'fwd=bypass; detail=certificate')
    t.match(await site('/').ask('nobody'), { body: 'for undefined', headers: { 'cache-status': /fwd=miss/ } })
    t.match(await site('/').ask('nobody'), { body: 'for undefined', headers: { 'cache-status': /hit/ } }, 'who shows none')
    await attack(t, site('/'), 'nobody', 'bob')
    await site('/recipe').ask('alice')
    await attack(t, site('/recipe'), 'alice', 'bob')
    await isServed(t, site('/recipe'), 'alice')
    await isServed(t, site('/recipe'), 'bob')
  })
}

t.test('the table in docs/authenticated.md has these rows, and what each says is what was tried', async (t) => {
  const page = await readFile(new URL('../../docs/authenticated.md', import.meta.url), 'utf8')
  const rows = new Map(Array.from(page.matchAll(/^\| (.+?) \| (.+?) \| (.+?) \|$/gm), ([, name, does, write]) => [name!, { does: does!, write: write! }]))
  const untried = [...rows.keys()].filter((name) => !/^(?:an app knows .*|---|a client certificate \(mTLS\))$/.test(name) && !WAYS.some((way) => way.name === name))
  t.strictSame(untried, [], 'no row that nothing has tried')
  t.ok(WAYS.length >= 25)
  for (const { name, detail, cache } of [...WAYS, { name: 'a client certificate (mTLS)', detail: 'certificate', cache: { identity: () => '' } }]) {
    const row = rows.get(name)
    if (row === undefined) {
      t.fail(name)
      continue
    }
    if (detail !== null) t.ok(row.does.includes(`\`${detail}\``), `${name}: ${row.does}`)
    for (const option of Object.keys(cache ?? {})) t.ok(row.write.includes(option), `${name}: ${row.write}`)
  }
})
