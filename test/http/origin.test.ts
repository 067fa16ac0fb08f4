// What a response says of itself, and what of that counts where: statuses, targeted fields, ages, stale ones. RFC 9111 §3,
// §4.2, §5.2.2, RFC 9213. On both stores, and over HTTP.
import type { FastifyReply } from 'fastify'
import { PassThrough } from 'node:stream'
import t from 'tap'
import { onEachStore, settled } from '../helpers/app.js'
import { until } from '../helpers/until.js'
import { START, asked, hold, overHttp, unstored, type Ask, type Row, type Rule, type Send, type Step } from './rule.js'

type Fields = Record<string, string | string[]>

const date = (seconds: number): string => new Date(START + seconds * 1000).toUTCString()
const sends = (all: Fields, code = 200): Send => (reply, _, run) => reply.code(code).headers(all).send(`run ${run}`)
const control = (field: string, code = 200): Send => sends({ 'cache-control': field }, code)
const twice = (status: number, second: 'hit' | 'miss'): Step[] => [{ is: 'miss', status }, { is: second, status }]
const ttl = (seconds: number): string => `fastify-route-cache; hit; ttl=${seconds}`

/** Served for so many seconds, and not for one more. */
const lasts = (name: string, seconds: number, send: Send, more: Partial<Row> & { status?: number } = {}): Row => {
  const { status = 200, ...rest } = more
  const steps: Step[] = [
    { is: 'miss', status }, { is: 'hit', status, fields: { 'cache-status': ttl(seconds) } },
    { is: 'hit', status, after: seconds - 1, body: 'run 1' }, { is: 'miss', status, after: 1 }
  ]
  return { name, send, steps, ...rest }
}

const BY_ORIGIN = { cache: { ttl: 'origin', statuses: 'origin' } } as const
const LISTED = { cache: { ttl: 60, statuses: { 404: 'origin', 301: 'origin' } } } as const
const NUMBERED = { cache: { ttl: 'origin', statuses: { 404: 30 } } } as const

const BY_ITS_OWN_FIELDS: Rule = {
  rule: "statuses: 'origin', { 404: 'origin' }: stored for as long as their own fields say",
  rfc: 'RFC 9111 §3, RFC 9110 §15.1',
  accepts: [
    lasts('200 beside them', 10, control('max-age=10'), BY_ORIGIN),
    ...[203, 300, 301, 308, 404, 405, 410, 414, 501].map((status) =>
      lasts(`${status}, which may be stored by its kind`, 10, control('max-age=10', status), { ...BY_ORIGIN, status })),
    ...[201, 302, 307, 400, 403, 451, 500, 503, 599].map((status) =>
      lasts(`${status}, which says for how long`, 10, control('public, s-maxage=10', status), { ...BY_ORIGIN, status })),
    lasts('410 with Expires', 15, sends({ expires: date(15) }, 410), { ...BY_ORIGIN, status: 410 }),
    lasts('a listed one', 10, control('max-age=10', 404), { ...LISTED, status: 404 }),
    lasts('another listed one, less its age', 7, sends({ 'cache-control': 'max-age=10', age: '3', location: '/x' }, 301), { ...LISTED, status: 301 }),
    lasts('200 by the ttl of the route, where others go by their fields', 60, control('max-age=10'), LISTED),
    lasts('200 likewise', 60, control('max-age=10'), { cache: { ttl: 60, statuses: 'origin' } }),
    lasts('by its CDN-Cache-Control', 20, sends({ 'cache-control': 'no-store', 'cdn-cache-control': 'max-age=20' }, 404), {
      cache: { ttl: 60, statuses: { 404: 'origin' }, cdnCacheControl: true }, status: 404
    }),
    lasts('one that was thrown, with fields', 10, (reply) => {
      reply.header('cache-control', 'max-age=10')
      throw Object.assign(new Error('run 1'), { statusCode: 410 })
    }, { ...BY_ORIGIN, steps: twice(410, 'hit') })
  ],
  rejects: [
    unstored('206', 'status', control('max-age=10', 206), { ...BY_ORIGIN, steps: twice(206, 'miss') }),
    ...['no-store, max-age=10', 'private, max-age=10', 'max-age=10, private="x-a"'].map((field) =>
      unstored(`a 404 with ${field}`, field.includes('no-store') ? 'no-store' : 'private', control(field, 404), { ...BY_ORIGIN, steps: twice(404, 'miss') })),
    ...['no-cache, max-age=10', 'max-age=0', 's-maxage=0, max-age=10', 'max-age=soon', 'public'].map((field) =>
      unstored(`a 404 with ${field}`, 'ttl', control(field, 404), { ...BY_ORIGIN, steps: twice(404, 'miss') })),
    ...['no-cache, max-age=10', 'max-age=0', 'public'].map((field) =>
      unstored(`a listed 404 with ${field}`, 'ttl', control(field, 404), { ...LISTED, steps: twice(404, 'miss') })),
    unstored('a 404 that says nothing: no heuristics (§4.2.2)', 'ttl', sends({}, 404), { ...BY_ORIGIN, steps: twice(404, 'miss') }),
    unstored('a 500 that says nothing', 'status', sends({}, 500), { ...BY_ORIGIN, steps: twice(500, 'miss') }),
    unstored('a 302 that says nothing', 'status', sends({ location: '/' }, 302), { ...BY_ORIGIN, steps: twice(302, 'miss') }),
    ...[412, 416, 428, 429, 431, 511].map((status) =>
      unstored(`${status}, whatever it says (RFC 6585)`, 'status', control('max-age=10', status), { ...BY_ORIGIN, steps: twice(status, 'miss') })),
    unstored('one that is not listed', 'status', control('max-age=10', 410), { ...LISTED, steps: twice(410, 'miss') }),
    unstored('one with a cookie', 'set-cookie', sends({ 'cache-control': 'max-age=10', 'set-cookie': 'a=1' }, 404), { ...BY_ORIGIN, steps: twice(404, 'miss') }),
    ...[['206', 'origin'], ['304', 'origin'], ['404', 'orign'], ['404', null]].map(([status, time]): Row => ({
      name: `${status}: ${time}, as an option`,
      steps: [(app, t) => t.throws(() => app.get('/x', { cache: { statuses: { [status!]: time } as never } }, async () => 'x'), { code: 'FRC_OPTION' })]
    })),
    { name: 'another word', steps: [(app, t) => t.throws(() => app.get('/x', { cache: { statuses: 'all' as never } }, async () => 'x'), { code: 'FRC_OPTION' })] }
  ]
}

const FOR_THE_SILENT: Rule = {
  rule: "with ttl: 'origin' a time is for responses that say nothing",
  rfc: 'RFC 9111 §4.2.1, §4.2.2',
  accepts: [
    lasts('a 404 that says nothing', 30, sends({}, 404), { ...NUMBERED, status: 404 }),
    lasts('one that says nothing of its time', 30, control('public, must-revalidate', 404), { ...NUMBERED, status: 404 }),
    lasts('one that says it', 5, control('max-age=5', 404), { ...NUMBERED, status: 404 }),
    lasts('one that says more', 50, sends({ expires: date(50) }, 404), { ...NUMBERED, status: 404 }),
    lasts('a 200 that says nothing', 20, sends({}), { cache: { ttl: 'origin', statuses: { 200: 20 } } }),
    lasts('where the route has a ttl of its own, whatever it says', 30, control('max-age=5, no-cache', 404), {
      cache: { ttl: 60, statuses: { 404: 30 } }, status: 404
    })
  ],
  rejects: [
    unstored('no-store', 'no-store', control('no-store', 404), { ...NUMBERED, steps: twice(404, 'miss') }),
    ...['no-cache', 'max-age=0', 'no-cache="x-a"', 's-maxage=0', 'max-age=soon', 'max-age=10, no-cache'].map((field) =>
      unstored(field, 'ttl', control(field, 404), { ...NUMBERED, steps: twice(404, 'miss') })),
    unstored('Expires: 0', 'ttl', sends({ expires: '0' }, 404), { ...NUMBERED, steps: twice(404, 'miss') }),
    unstored('older than it says', 'ttl', sends({ 'cache-control': 'max-age=9', age: '9' }, 404), { ...NUMBERED, steps: twice(404, 'miss') }),
    unstored('a 200 that says nothing, where only 404 has a time', 'ttl', sends({}), NUMBERED)
  ]
}

const UNDERSTOOD = 'no-store, must-understand, max-age=10'

const MUST_UNDERSTAND: Rule = {
  rule: 'must-understand: only a status that is understood, and then no-store beside it is for others',
  rfc: 'RFC 9111 §5.2.2.3',
  accepts: [
    lasts('200', 10, control(UNDERSTOOD), { cache: { ttl: 'origin' } }),
    lasts('404', 10, control(UNDERSTOOD, 404), { ...BY_ORIGIN, status: 404 }),
    lasts('with a ttl of the route', 60, control(UNDERSTOOD), { cache: { ttl: 60 } }),
    lasts('without no-store', 10, control('Must-Understand, max-age=10'), { cache: { ttl: 'origin' } })
  ],
  rejects: [
    unstored('599', 'status', control(UNDERSTOOD, 599), { ...BY_ORIGIN, steps: twice(599, 'miss') }),
    unstored('599 without no-store', 'status', control('must-understand, max-age=10', 599), { ...BY_ORIGIN, steps: twice(599, 'miss') }),
    unstored('418, listed', 'status', control('must-understand', 418), { cache: { statuses: { 418: 5 } }, steps: twice(418, 'miss') }),
    unstored('private beside it', 'private', control('no-store, must-understand, private')),
    unstored('no-store with the word in an argument', 'no-store', control('no-store, ext="must-understand"'))
  ]
}

const TARGETED_POLICY = { cache: { ttl: 'origin', cdnCacheControl: true } } as const
const targeted = (name: string, seconds: number, cdn: string | string[], general = 'max-age=10', more: Fields = {}): Row =>
  lasts(name, seconds, sends({ 'cdn-cache-control': cdn, 'cache-control': general, ...more }), TARGETED_POLICY)
const untargeted = (name: string, reason: 'ttl' | 'no-store' | 'private', cdn: string, general = 'max-age=10'): Row =>
  unstored(name, reason, sends({ 'cdn-cache-control': cdn, 'cache-control': general }), TARGETED_POLICY)

const TARGETED: Rule = {
  rule: 'cdnCacheControl: CDN-Cache-Control counts instead of Cache-Control and Expires',
  rfc: 'RFC 9213 §2.1, §2.2, RFC 9651 §4.2.2',
  accepts: [
    targeted('longer than Cache-Control', 20, 'max-age=20'),
    targeted('shorter', 5, 'max-age=5'),
    lasts('without Cache-Control', 20, sends({ 'cdn-cache-control': 'max-age=20' }), TARGETED_POLICY),
    targeted('less the age it came with', 16, 'max-age=20', 'max-age=10', { age: '4' }),
    targeted('less what its Date is ago', 14, 'max-age=20', 'max-age=10', { date: date(-6) }),
    lasts('Cache-Control, where there is no other', 10, control('max-age=10'), TARGETED_POLICY),
    targeted('Cache-Control, where the other is empty', 10, ''),
    targeted('or blank', 10, '  '),
    targeted('where Cache-Control keeps browsers from storing', 20, 'max-age=20', 'no-store'),
    targeted('parameters are ignored', 20, 'max-age=20;x=1;y="no-store", public;no-store'),
    targeted('a string beside it', 20, 'max-age=20, ext="no-store, private"'),
    targeted('a decimal beside it', 20, 'max-age=20, ext=1.5'),
    targeted('bytes, a date, a list, a display string beside it', 20, 'a=:aGk=:, b=@5, c=(1 "x"), d=%"x", max-age=20'),
    targeted('the last of two', 20, 'max-age=5, max-age=20'),
    targeted('on two lines', 20, ['public', 'max-age=20']),
    targeted('s-maxage before max-age', 20, 's-maxage=20, max-age=5'),
    targeted('what can\'t be read, and forbids nothing', 10, 'max-age=20, &&'),
    targeted('what can\'t be read, and is stricter', 5, 'Max-Age=5'),
    targeted('what can\'t be read at all', 10, '&&')
  ],
  rejects: [
    unstored('without the option', 'ttl', sends({ 'cdn-cache-control': 'max-age=20' }), { cache: { ttl: 'origin' } }),
    untargeted('its no-store', 'no-store', 'no-store'),
    untargeted('its no-store with a parameter', 'no-store', 'max-age=5, no-store;x=1'),
    untargeted('its private', 'private', 'private, max-age=5'),
    untargeted('its no-cache', 'ttl', 'no-cache, max-age=5'),
    untargeted('a max-age of another type: a string', 'ttl', 'max-age="20"'),
    untargeted('a max-age of another type: a decimal', 'ttl', 'max-age=20.0'),
    untargeted('a negative max-age', 'ttl', 'max-age=-20'),
    untargeted('a max-age without a value', 'ttl', 'max-age'),
    untargeted('what can\'t be read, and has no-store', 'no-store', 'no-store, &&'),
    untargeted('what can\'t be read, in capitals', 'no-store', 'No-Store'),
    untargeted('what can\'t be read, and has private', 'private', 'private=, max-age=20'),
    untargeted('what can\'t be read, and has max-age=0', 'ttl', 'max-age=0,'),
    untargeted('what can\'t be read, beside a Cache-Control that is stricter', 'no-store', 'max-age=20, &&', 'no-store'),
    untargeted('what can\'t be read, beside one that says nothing', 'ttl', 'max-age=20, &&', 'public'),
    unstored('what it does not say, though Expires does', 'ttl', sends({ 'cdn-cache-control': 'public', expires: date(20) }), TARGETED_POLICY)
  ]
}

const at = (after: number, age: string, more: Fields = {}): Ask => ({ is: 'hit', after, fields: { age, ...more } })

const TRUE_AGE: Rule = {
  rule: "Age with ttl: 'origin': how old the response is, from its Date on and with the Age that it came with",
  rfc: 'RFC 9111 §4.2.3, §5.1',
  accepts: [
    { name: 'its Date', cache: { ttl: 'origin' }, send: sends({ 'cache-control': 'max-age=60', date: date(-6) }), steps: [{ is: 'miss', fields: { date: date(-6) } }, at(0, '6', { date: date(-6) }), at(4, '10')] },
    { name: 'its Age', cache: { ttl: 'origin' }, send: sends({ 'cache-control': 'max-age=60', age: '6' }), steps: [{ is: 'miss', fields: { age: '6' } }, at(4, '10')] },
    { name: 'the larger of both', cache: { ttl: 'origin' }, send: sends({ 'cache-control': 'max-age=60', age: '9', date: date(-6) }), steps: [{ is: 'miss' }, at(1, '10')] },
    { name: 'an Age that is none, beside a Date', cache: { ttl: 'origin' }, send: sends({ 'cache-control': 'max-age=60', age: 'old', date: date(-6) }), steps: [{ is: 'miss' }, at(0, '6')] },
    { name: 'of a status that goes by its fields', ...LISTED, send: sends({ 'cache-control': 'max-age=60', date: date(-6) }, 404), steps: [{ is: 'miss', status: 404 }, { ...at(0, '6'), status: 404 }] },
    asked('on a 304', { 'if-none-match': '*' }, { ...at(0, '6'), status: 304 }, { cache: { ttl: 'origin' }, send: sends({ 'cache-control': 'max-age=60', date: date(-6) }) }),
    { name: 'a Response', cache: { ttl: 'origin' }, send: (reply) => reply.send(new Response('x', { headers: { 'cache-control': 'max-age=60', date: date(-6) } })), steps: [{ is: 'miss' }, at(0, '6')] }
  ],
  rejects: [
    { name: 'a Date that lies ahead', cache: { ttl: 'origin' }, send: sends({ 'cache-control': 'max-age=60', date: date(6) }), steps: [{ is: 'miss' }, at(4, '4')] },
    { name: 'one that the handler made: its age begins here', cache: { ttl: 'origin' }, send: control('max-age=60'), steps: [{ is: 'miss' }, at(0, '0'), at(4, '4')] }
  ]
}

const DECLARED = { cache: { ttl: 60, cacheControl: 'max-age=5' } } as const

/** As a plugin does that knows which fields Node adds by itself. */
const hooked = (app: { addHook: (name: 'onSend', hook: (request: unknown, reply: FastifyReply) => Promise<void>) => unknown }): void => {
  app.addHook('onSend', async (_, reply) => { reply.header('x-seen', '1') })
}

const DECLARED_AGE: Rule = {
  rule: 'where the route declares the Cache-Control, Age and Date count from the answer',
  rfc: 'RFC 9213 §2.3, RFC 9111 §4.2.3',
  accepts: [
    { name: 'an entry that is older than what is declared', ...DECLARED, steps: [{ is: 'miss', fields: { age: null } }, at(0, '0', { date: date(0) }), at(20, '0', { date: date(20), 'cache-control': 'max-age=5' }), at(0.4, '0'), at(0.6, '0', { date: date(21) })] },
    { name: 'where others look on', ...DECLARED, prepare: hooked, steps: [{ is: 'miss' }, at(20, '0', { date: date(20) })] },
    asked('on a 304', { 'if-none-match': '*' }, { ...at(20, '0', { date: date(20) }), status: 304 }, DECLARED),
    asked('on a HEAD', {}, { ...at(20, '0', { date: date(20) }), method: 'HEAD' }, DECLARED),
    { name: 'beside a Date and an Age of the handler', ...DECLARED, send: sends({ date: date(-7200), age: '7200' }), steps: [{ is: 'miss', fields: { age: null } }, at(20, '0', { date: date(20) })] },
    { name: 'a Response with them', ...DECLARED, prepare: hooked, send: (reply) => reply.send(new Response('x', { headers: { date: date(-7200), age: '7200' } })), steps: [{ is: 'miss' }, at(20, '0', { date: date(20) })] },
    { name: 'of another status', cache: { ttl: 60, cacheControl: 'max-age=5', statuses: { 404: 60 } }, send: sends({}, 404), steps: [{ is: 'miss', status: 404 }, { ...at(20, '0'), status: 404 }] }
  ],
  rejects: [
    { name: "the handler's own: true ages", ...DECLARED, send: control('max-age=9'), steps: [{ is: 'miss' }, at(20, '20', { date: date(0) })] },
    { name: 'none at all', cache: { ttl: 60 }, steps: [{ is: 'miss' }, at(20, '20', { date: date(0) })] },
    { name: "'origin' without a declared one", cache: { ttl: 'origin' }, send: control('max-age=60'), steps: [{ is: 'miss' }, at(20, '20', { date: date(0) })] }
  ]
}

/** Stale by 5 seconds, of the 60 that the route allows. */
const stale = (name: string, field: string, second: 'hit' | 'miss', more: Row['cache'] = {}): Row => ({
  name,
  cache: { ttl: 10, staleWhileRevalidate: 60, ...more as object },
  send: control(field),
  steps: [
    { is: 'miss' }, { is: 'hit', after: 9 },
    async (app, t) => { t.equal(app.cache.stats().total.stale, 0) },
    second === 'miss' ? { is: 'miss', after: 6, body: 'run 2' } : { is: 'hit', after: 0, body: 'run 1' }
  ]
})

const NEVER_STALE: Rule = {
  rule: 'must-revalidate, proxy-revalidate, no-cache and s-maxage forbid to serve stale, with a ttl of the route too',
  rfc: 'RFC 9111 §4.2.4, §5.2.2.2, §5.2.2.4, §5.2.2.8, §5.2.2.10',
  accepts: [stale('max-age', 'max-age=1', 'hit'), stale('a word in an argument', 'ext="must-revalidate"', 'hit')],
  rejects: [
    stale('in other letters', 'Must-Revalidate, max-age=1', 'miss'),
    ...['must-revalidate', 'proxy-revalidate', 'no-cache', 'no-cache="x-a"', 's-maxage=10'].map((field) => stale(field, field, 'miss')),
    ...['must-revalidate', 'proxy-revalidate', 'no-cache'].map((field): Row => ({
      name: `${field}, where the handler fails`,
      cache: { ttl: 10, staleIfError: 60 },
      send: (reply, _, run) => reply.code(run === 1 ? 200 : 503).header('cache-control', field).send(`run ${run}`),
      steps: [{ is: 'miss' }, { is: 'miss', after: 11, status: 503, body: 'run 2' }]
    }))
  ]
}

const ALL = [BY_ITS_OWN_FIELDS, FOR_THE_SILENT, MUST_UNDERSTAND, TARGETED, TRUE_AGE, DECLARED_AGE, NEVER_STALE]

await onEachStore(t, async (t, open) => {
  // One of them as clients ask.
  await hold(t, open, ALL, t.name === 'redis' ? overHttp : undefined)

  await t.test('a stale answer, and one that stands in, have declared ages, too: RFC 9213 §2.3', async (t) => {
    let now = START
    const app = await open({ prefix: 'stale', now: () => now })
    let isDown = false
    app.get('/', { cache: { key: 'k', ttl: 10, staleWhileRevalidate: 30, staleIfError: 60, cacheControl: 'max-age=5' } }, async (_, reply) =>
      isDown ? await reply.code(503).send('down') : 'up')
    await app.inject('/')
    await settled(app)
    isDown = true
    for (const [seconds, status] of [[20, / hit; ttl=-10$/], [50, /; ttl=-40; detail=stale-if-error$/]] as const) {
      now = START + seconds * 1000
      const { headers, body } = await app.inject('/')
      await settled(app)
      t.match({ ...headers, body }, { 'cache-status': status, age: '0', date: date(seconds), 'cache-control': 'max-age=5', body: 'up' })
    }
  })

  await t.test('a stream is as old as its beginning when it is stored: RFC 9111 §4.2.3', async (t) => {
    let now = START
    const app = await open({ prefix: 'stream', now: () => now })
    const ends: PassThrough[] = []
    let lifetime = 10
    app.get('/', { cache: { key: 'k', ttl: 'origin' } }, async (_, reply) => {
      const source = new PassThrough()
      ends.push(source)
      source.write('run ')
      return await reply.header('cache-control', `max-age=${lifetime}`).send(source)
    })
    // Leases of the in-process store go by this clock, too: less than 3 seconds may pass.
    const ask = async (seconds: number): Promise<string> => {
      const asked = app.inject('/')
      await until(async () => ends[0]?.readableLength === 0, 'the stream is not read')
      now += seconds * 1000
      ends.pop()!.end('over')
      await asked
      await settled(app)
      const entry = await app.cache.get('k')
      return entry === null ? 'none' : `${entry.ttl} ${String(entry.headers['age'])}`
    }
    t.equal(await ask(2), '8 2')
    await app.cache.invalidate('k')
    lifetime = 2
    t.equal(await ask(2), 'none', 'it is over when it has come')
    t.match(app.cache.stats().total.refusals, { ttl: 1 })
  })
})
