// A client's own spelling of a URL that a handler may echo: no answer to it is stored for others, nor is it given theirs.
import { connect } from 'node:http2'
import { connect as connectSocket } from 'node:net'
import fastify from 'fastify'
import t from 'tap'
import routeCache from '../../plugin/index.js'
import { isOriginForm } from '../../plugin/http/request.js'
import { cachedApp, settled } from '../helpers/app.js'

/** The answer to a request with this very target, head and body. */
async function raw (port: number, target: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    const socket = connectSocket(port, '127.0.0.1')
    let text = ''
    socket.on('data', (chunk) => { text += chunk.toString('latin1') }).on('end', () => { resolve(text) }).on('error', reject)
    socket.end(`GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
  })
}

const HOSTILE = [
  'http://evil.test/page', 'https://evil.test/page', 'http://localhost@evil.test/page', '/page#x', '/page#"><script>alert(1)</script>',
  '/page?a=1#x', '/page#?a=1', '/#/../page'
]

for (const [name, cache] of [['the default key', true], ['a template', { key: 'page' }], ['a function', { key: () => 'page' }]] as const) {
  t.test(`targets that are no path of this host, ${name}`, async (t) => {
    const app = await cachedApp(t)
    app.get('/page', { cache }, async (request) => `<a href="${request.url}">`)
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as { port: number }
    for (const target of HOSTILE) {
      const answer = await raw(port, target)
      if (answer.startsWith('HTTP/1.1 200')) t.match(answer, /cache-status: fastify-route-cache; fwd=bypass; detail=target/i, target)
    }
    const honest = await raw(port, '/page')
    t.match(honest, /fwd=miss[^]*<a href="\/page">$/)
    await settled(app)
    for (const target of HOSTILE) t.notMatch(await raw(port, target), /cache-status: fastify-route-cache; hit/i, target)
    t.match(await raw(port, '/page'), /; hit;[^]*<a href="\/page">$/)
    t.match(app.cache.stats().total, { stores: 1, hits: 1 })
  })
}

t.test('a target that reads as another host where it is put into a page', async (t) => {
  const app = fastify({ routerOptions: { ignoreDuplicateSlashes: true } })
  t.teardown(async () => { await app.close() })
  await app.register(routeCache)
  app.get('/:host', { cache: { key: 'host:{host}' } }, async (request) => request.url)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  t.match(await raw(port, '//evil.test'), /detail=target/)
  t.match(await raw(port, '/evil.test'), /fwd=miss/)
})

t.test('over HTTP/2', async (t) => {
  const app = fastify({ http2: true })
  await app.register(routeCache)
  app.get('/page', { cache: true }, async (request) => request.url)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const session = connect(`http://127.0.0.1:${port}`)
  t.teardown(async () => { session.destroy(); await app.close() })
  for (const path of ['/page#x', 'http://evil.test/page', '/page']) {
    const status = await new Promise((resolve) => {
      const stream = session.request({ ':path': path })
      stream.on('response', (headers) => { resolve(headers['cache-status']) }).on('error', () => { resolve('refused') })
      stream.resume().end()
    })
    t.match(status, path === '/page' ? /fwd=miss/ : /detail=target|refused/, path)
  }
})

t.test('the client\'s counts, whatever the app has rewritten it to', async (t) => {
  const app = fastify({ rewriteUrl: ({ url = '' }) => url.replace('http://evil.test', '').replace(/#.*/, '') })
  await app.register(routeCache)
  app.get('/page', { cache: true }, async (request) => request.originalUrl)
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(async () => { await app.close() })
  const { port } = app.server.address() as { port: number }
  for (const target of ['http://evil.test/page', '/page#x']) t.match(await raw(port, target), /detail=target/)
})

t.test('what the app has taken off the target tells answers apart: a tenant in the path, in the query, in either', async (t) => {
  const rewrites: Record<string, [rewrite: (url: string) => string, targets: string[]]> = {
    path: [(url) => url.replace(/^\/(acme|best)(?=\/)/, ''), ['/acme/page', '/best/page', '/page']],
    query: [(url) => url.replace(/\?.*/, ''), ['/page?tenant=acme', '/page?tenant=best', '/page']],
    both: [() => '/page?a=1', ['/acme?a=1', '/page?a=2', '/best?a=1', '/acme?a=2', '/page?a=1', '/acme%3Fa=1', '/acme%253Fa=1']],
    capitals: [(url) => url.toLowerCase(), ['/PAGE', '/Page', '/page']]
  }
  for (const [name, [rewrite, targets]] of Object.entries(rewrites)) {
    const app = fastify({ rewriteUrl: ({ url = '' }) => rewrite(url) })
    await app.register(routeCache, { deadline: 30 })
    app.get('/page', { cache: true }, async (request) => `for ${request.originalUrl}`)
    await app.listen({ port: 0, host: '127.0.0.1' })
    t.teardown(async () => { await app.close() })
    const { port } = app.server.address() as { port: number }
    for (const outcome of [/fwd=miss/, /; hit;/]) {
      for (const target of targets) {
        const answer = await raw(port, target)
        t.match(answer.slice(answer.indexOf('\r\n\r\n')).trim(), `for ${target}`, `${name}: ${target}`)
        t.match(answer, outcome, `${name}: ${target}`)
        await settled(app)
      }
    }
  }
})

t.test('a credential that the app takes off the target is in the default key, not in a template', async (t) => {
  for (const [cache, outcome] of [[true, /; hit;/], [{ key: 'page' }, /detail=query:token/]] as const) {
    const app = fastify({ rewriteUrl: () => '/page' })
    t.teardown(async () => { await app.close() })
    await app.register(routeCache, { deadline: 30 })
    app.get('/page', { cache }, async (request) => request.originalUrl)
    for (const user of ['alice', 'bob']) {
      for (let i = 0; i < 2; i++) {
        const answer = await app.inject(`/page?token=${user}`)
        await settled(app)
        t.equal(answer.body, `/page?token=${user}`)
        if (i === 1) t.match(answer.headers['cache-status'], outcome)
      }
    }
  }
})

t.test('which targets are taken', async (t) => {
  for (const target of ['/', '/a', '/a?b=//c', '/a//b', '/a?b=http://c', '/%23', '/a?"><script>']) t.ok(isOriginForm(target), target)
  for (const target of ['', '*', 'a', '?a', 'localhost:80', 'http://a/', 'HTTP://a/', '//a', '/\\a', '#', '/#', '/a#', '/a?b#c']) {
    t.notOk(isOriginForm(target), target)
  }
})
