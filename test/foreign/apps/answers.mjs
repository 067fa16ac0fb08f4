// An app of plain Fastify that answers in many ways, nobody's hooks around it or each kind of them: a hit has the status,
// the fields and the bytes of the twin's answer, its handler does not run, and hooks of all requests run as often as there.
import fastify from 'fastify'
import routeCache from 'fastify-route-cache'
import { Readable } from 'node:stream'
import { differences, visit } from '../twin.mjs'

const TEXT = 'caf\u00e9 \u2713 \ud83d\ude00'
const BYTES = Buffer.from([0, 0x80, 0xff, 0xc3, 0x28, 0x0d, 0x0a])
const STATUSES = { 203: 60, 301: 60, 404: 60, 410: 60 }

/** What handlers do; all are stored. */
const HANDLERS = {
  object: async () => ({ text: TEXT, list: [1, null, 'a'] }),
  text: async () => TEXT,
  html: async (request, reply) => reply.type('text/html; charset=utf-8').send(`<p>${TEXT}`),
  bytes: async (request, reply) => reply.type('image/x-own').send(BYTES),
  large: async (request, reply) => reply.type('application/octet-stream').send(Buffer.concat(Array(10_000).fill(BYTES))),
  stream: async (request, reply) => reply.type('text/plain').send(Readable.from([TEXT, BYTES])),
  response: async () => new Response(TEXT, { headers: { 'content-type': 'text/plain', 'x-own': 'a' } }),
  empty: async (request, reply) => reply.type('text/plain').send(''),
  fields: async (request, reply) => reply.headers({ 'x-own': 'a, b', link: ['</a>', '</b>'], 'content-language': 'de', etag: '"own"' }).send('fields'),
  latin: async (request, reply) => reply.header('x-own', 'caf\u00e9').send(TEXT),
  vary: async (request, reply) => reply.header('vary', 'accept-language').send(request.headers['accept-language'] ?? 'none'),
  203: async (request, reply) => reply.code(203).send({ from: 'elsewhere' }),
  301: async (request, reply) => reply.redirect('/object', 301),
  404: async (request, reply) => reply.code(404).send({ nothing: 'here' }),
  410: async (request, reply) => reply.code(410).type('text/plain').send('it went')
}

const NAMES = Object.keys(HANDLERS)
const REQUESTS = [
  ...NAMES.flatMap((name) => [{ url: `/${name}` }, { url: `/${name}` }, { url: `/${name}`, method: 'HEAD' }]),
  { url: '/fields', headers: { 'if-none-match': '"own"' } }, { url: '/fields', headers: { 'if-none-match': '"other"' } },
  { url: '/vary', headers: { 'accept-language': 'de' } }, { url: '/vary', headers: { 'accept-language': 'de' } },
  { url: '/cookie' }, { url: '/cookie' }, { url: '/throws' }, { url: '/throws' }
]
const OUTCOMES = [
  ...NAMES.flatMap(() => ['miss', 'hit', 'hit']), 'hit', 'hit', 'miss', 'hit', 'miss', 'miss', 'miss', 'miss'
]
/**
 * A Response makes a HEAD fail in Fastify; a stream has no length in its HEAD, but the entry that was made of it has; and a
 * handler does not answer 304 by itself.
 */
const BETTER = new Set([
  ...['/response', '/stream'].map((path) => REQUESTS.findIndex(({ url, method }) => url === path && method === 'HEAD')),
  REQUESTS.findIndex(({ headers }) => headers?.['if-none-match'] === '"own"')
])

async function run (isCached, hooks) {
  const app = fastify({ forceCloseConnections: true })
  const seen = []
  try {
    if (isCached) await app.register(routeCache, { deadline: 30 })
    for (const name of hooks) app.addHook(name, hookOf(name, seen))
    declare(app, isCached ? { statuses: STATUSES } : undefined, seen)
    await app.listen({ port: 0, host: '127.0.0.1' })
    const answers = []
    for (const [i, request] of REQUESTS.entries()) {
      seen.push(`request ${i + 1}`)
      answers.push(...await visit(app, [request], app.cache))
    }
    return { answers, seen }
  } finally {
    await app.close()
  }
}

function hookOf (name, seen) {
  if (name !== 'onSend') return async (request, reply) => { seen.push(`${name} ${reply.statusCode}`) }
  return async (request, reply, payload) => {
    reply.header('x-sent', `${reply.getHeader('x-sent') ?? ''}once`)
    seen.push(`${name} ${reply.statusCode}`)
    return payload
  }
}

function declare (app, cache, seen) {
  const note = (handler) => async (request, reply) => {
    seen.push('handler')
    return await handler(request, reply)
  }
  for (const [name, handler] of Object.entries(HANDLERS)) app.get(`/${name}`, { cache }, note(handler))
  app.get('/cookie', { cache }, note(async (request, reply) => reply.header('set-cookie', ['a=b', 'c=d']).send('with cookies')))
  app.get('/throws', { cache }, note(async () => { throw new Error('on purpose') }))
}

async function compare (hooks) {
  const [cached, bare] = [await run(true, hooks), await run(false, hooks)]
  const right = bare.answers.map((answer, i) => BETTER.has(i) ? cached.answers[i] : answer)
  return [...differences(cached.answers, right, OUTCOMES), ...differencesSeen(cached.seen, bare.seen)]
}

/** Hooks run for all, and in that order; the handler for what is no hit. */
function differencesSeen (seen, right) {
  const [one, other] = [seen, right].map(byRequest)
  return one.flatMap((lines, i) => {
    const expected = other[i].filter((line) => OUTCOMES[i] !== 'hit' || line !== 'handler')
    if (BETTER.has(i) || String(lines) === String(expected)) return []
    return [`request ${i + 1} (${REQUESTS[i].url}): ${lines.join(', ')} instead of ${expected.join(', ')}`]
  })
}

function byRequest (seen) {
  return seen.join('\n').split(/^request \d+$/m).slice(1).map((lines) => lines.split('\n').filter((line) => line !== ''))
}

export default [
  { name: 'answers of each kind, and nobody\'s hooks', run: () => compare([]) },
  { name: 'answers of each kind, with hooks around', run: () => compare(['onRequest', 'onResponse']) },
  { name: 'answers of each kind, with hooks that see what is sent', run: () => compare(['onRequest', 'onSend', 'onResponse']) }
]
