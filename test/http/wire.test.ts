// What goes over the wire, answer by answer: requests as bytes, with fields as often as they like, over HTTP/2, too, on both
// Of each row: what the handler sends, what was asked before (a plain GET fills), the request, and what its answer is.
import fastify, { type FastifyReply } from 'fastify'
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import t from 'tap'
import routeCache, { type CacheOptions, type RouteCacheOptions } from '../../plugin/index.js'
import { settled, type CachedApp } from '../helpers/app.js'
import { startRedis } from '../helpers/redis.js'
import { outcome, START } from './rule.js'

type Lines = ReadonlyArray<readonly [name: string, value: string]>

interface Row {
  rfc: string
  name: string
  /** What the handler sends. */
  fields?: Record<string, string | string[]>
  status?: number
  cache?: CacheOptions
  /** What the first request has. */
  first?: Lines
  /** Seconds that pass between the two. */
  after?: number
  method?: string
  ask: Lines
  /** Of the second answer: its status and outcome; fields (null: must not be there). */
  is: [status: number, outcome: string]
  has?: Record<string, string | RegExp | null>
  body?: string
  /** It can't be asked over HTTP/2. */
  only1?: true
}

interface Answer { status: number, headers: Record<string, unknown>, body: string }

const BODY = '0123456789'
const FRESH = 'max-age=10'
const DATE = 'Sun, 06 Nov 1994 08:49:37 GMT'
const NOW = new Date(START).toUTCString()
const AHEAD = new Date(START + 3_600_000).toUTCString()
const fixed: CacheOptions = { ttl: 10 }
const tagged = { etag: '"a"', 'cache-control': FRESH }
const ranged = { ...tagged, 'accept-ranges': 'bytes' }

/** Of one list, each a request that is answered alike. */
function each (asks: ReadonlyArray<readonly [name: string, ask: Lines]>, row: Omit<Row, 'name' | 'ask'>): Row[] {
  return asks.map(([name, ask]) => ({ ...row, name, ask }))
}

const one = (name: string) => (value: string): readonly [string, Lines] => [`${name}: ${value}`, [[name, value]]]

const CONDITIONS: Row[] = [
  ...each(['"a"', 'W/"a"', '"x", "a"', '"x",, ,"a"', '*', '"a, b", "a"'].map(one('If-None-Match')), {
    rfc: 'RFC 9110 §13.1.2', fields: tagged, is: [304, 'hit'], body: '', has: { etag: '"a"', 'content-type': null, 'content-length': null }
  }),
  ...each(['"x"', 'a', '"a', 'a"', '"a,b"', '""', '"A"', ',', '"x", *'].map(one('If-None-Match')), {
    rfc: 'RFC 9110 §13.1.2', fields: tagged, is: [200, 'hit'], body: BODY
  }),
  { rfc: 'RFC 9110 §5.5', name: '* with white space around it', fields: tagged, ask: [['If-None-Match', '  *  ']], is: [304, 'hit'], only1: true },
  { rfc: 'RFC 9110 §5.3', name: 'If-None-Match on two lines', fields: tagged, ask: [['If-None-Match', '"x"'], ['if-none-match', '"a"']], is: [304, 'hit'], only1: true },
  { rfc: 'RFC 9110 §8.8.3', name: 'a tag of odd octets', fields: { etag: '"!#\x7e\x80\xff"', 'cache-control': FRESH }, ask: [['If-None-Match', '"!#\x7e\x80\xff"']], is: [304, 'hit'], only1: true },
  { rfc: 'RFC 9110 §8.8.3', name: 'a tag with a comma', fields: { etag: '"a,b"', 'cache-control': FRESH }, ask: [['If-None-Match', '"c", "a,b"']], is: [304, 'hit'] },
  { rfc: 'RFC 9110 §8.8.3', name: 'the empty tag', fields: { etag: '""', 'cache-control': FRESH }, ask: [['If-None-Match', '""']], is: [304, 'hit'] },
  ...each([DATE, 'Sunday, 06-Nov-94 08:49:37 GMT', 'Sun Nov  6 08:49:37 1994', AHEAD].map(one('If-Modified-Since')), {
    rfc: 'RFC 9110 §13.1.3, §5.6.7', fields: { ...tagged, 'last-modified': DATE }, is: [304, 'hit'], body: ''
  }),
  ...each(['Sun, 06 Nov 1994 08:49:36 GMT', 'soon', '0', 'Sun, 31 Feb 1995 08:49:37 GMT', '1994-11-06'].map(one('If-Modified-Since')), {
    rfc: 'RFC 9110 §13.1.3', fields: { ...tagged, 'last-modified': DATE }, is: [200, 'hit'], body: BODY
  }),
  { rfc: 'RFC 9110 §13.1.3', name: 'If-Modified-Since of what has no date', fields: tagged, ask: [['If-Modified-Since', AHEAD]], is: [200, 'hit'] },
  { rfc: 'RFC 9110 §13.2.2', name: 'another tag, and its date', fields: { ...tagged, 'last-modified': DATE }, ask: [['If-None-Match', '"x"'], ['If-Modified-Since', DATE]], is: [200, 'hit'] },
  { rfc: 'RFC 9110 §13.2.1', name: 'of what is gone', status: 404, cache: { ttl: 'origin', statuses: 'origin' }, fields: tagged, ask: [['If-None-Match', '*']], is: [404, 'hit'] },
  { rfc: 'RFC 9110 §13.1.2', name: 'HEAD', fields: tagged, method: 'HEAD', ask: [['If-None-Match', '"a"']], is: [304, 'hit'] },
  ...each(['"x"', '*', 'W/"a"'].map(one('If-Match')), { rfc: 'RFC 9111 §4.3.2', fields: tagged, is: [200, 'hit'], body: BODY }),
  {
    rfc: 'RFC 9110 §15.4.5',
    name: 'fields of a 304',
    fields: { ...tagged, vary: 'x-a', expires: AHEAD, 'content-location': '/c', 'content-language': 'de', link: '</x>; rel=y', 'last-modified': DATE },
    ask: [['If-None-Match', '"a"']],
    is: [304, 'hit'],
    has: { etag: '"a"', vary: 'x-a', expires: AHEAD, 'content-location': '/c', 'cache-control': FRESH, date: NOW, 'content-language': null, link: null }
  }
]

const RANGES: Row[] = [
  ...([
    ['bytes=0-0', '0', '0-0'], ['bytes=-1', '9', '9-9'], ['bytes=9-', '9', '9-9'], ['bytes=-99', BODY, '0-9'], ['BYTES=2-3', '23', '2-3'],
    ['bytes=8-99999999999999999999', '89', '8-9'], ['bytes= ,2-3,', '23', '2-3'], ['bytes=0-', BODY, '0-9']
  ] as const).map(([range, body, part]): Row => ({
    rfc: 'RFC 9110 §14.1.2, §15.3.7', name: range, fields: ranged, ask: [['Range', range]], is: [206, 'hit'], body, has: { 'content-range': `bytes ${part}/10`, 'content-length': String(body.length), etag: '"a"' }
  })),
  ...each(['bytes=0-1,3-4', 'bytes=0-5,2-7', 'bytes=3-2', 'bytes=', 'bytes=a-b', 'bytes', 'bytes=-', 'bytes=--1', 'bytes=1-2-3', 'lines=0-1', 'bytes =0-1', 'bytes=+1-2', 'bytes=0x1-2', `bytes=${'0-,'.repeat(500)}`].map(one('Range')), {
    rfc: 'RFC 9110 §14.2', fields: ranged, is: [200, 'hit'], body: BODY, has: { 'content-range': null }
  }),
  ...each(['bytes=10-', 'bytes=-0', 'bytes=99-100'].map(one('Range')), {
    rfc: 'RFC 9110 §15.5.17, RFC 9111 §3',
    fields: { ...ranged, 'last-modified': DATE, expires: AHEAD, 'content-language': 'de', vary: 'x-a', 'content-digest': 'sha-256=:AAAA:' },
    is: [416, 'hit'],
    body: '',
    has: { 'content-range': 'bytes */10', 'cache-control': null, expires: null, etag: null, 'last-modified': null, age: null, 'content-language': null, 'content-digest': null, vary: 'x-a' }
  }),
  { rfc: 'RFC 9530 §2', name: 'a part has no digest of the whole', fields: { ...ranged, 'content-digest': 'sha-256=:AAAA:', 'content-md5': 'AAAA', 'repr-digest': 'sha-256=:AAAA:' }, ask: [['Range', 'bytes=0-1']], is: [206, 'hit'], has: { 'content-digest': null, 'content-md5': null, 'repr-digest': 'sha-256=:AAAA:' } },
  { rfc: 'RFC 9110 §5.3', name: 'Range on two lines', fields: ranged, ask: [['Range', 'bytes=0-1'], ['Range', 'bytes=2-3']], is: [200, 'hit'], only1: true },
  { rfc: 'RFC 9110 §14.2', name: 'HEAD', fields: ranged, method: 'HEAD', ask: [['Range', 'bytes=0-1']], is: [200, 'hit'], has: { 'content-length': '10', 'content-range': null } },
  { rfc: 'RFC 9110 §14.2', name: 'of what is gone', status: 404, cache: { ttl: 'origin', statuses: 'origin' }, fields: ranged, ask: [['Range', 'bytes=0-1']], is: [404, 'hit'], body: BODY },
  { rfc: 'RFC 9110 §13.2.2', name: 'behind a condition that holds', fields: ranged, ask: [['Range', 'bytes=0-1'], ['If-None-Match', '"a"']], is: [304, 'hit'] },
  { rfc: 'RFC 9110 §13.1.5', name: 'If-Range, its tag', fields: ranged, ask: [['Range', 'bytes=0-1'], ['If-Range', '"a"']], is: [206, 'hit'], body: '01' },
  ...each([['W/"a"', 'a weak tag'], ['"a", "b"', 'a list'], ['*', 'any'], ['"b"', 'another']].map(([value, name]) => [`If-Range, ${name}`, [['Range', 'bytes=0-1'], ['If-Range', value!]]] as const), {
    rfc: 'RFC 9110 §13.1.5', fields: ranged, is: [200, 'hit'], body: BODY
  }),
  { rfc: 'RFC 9110 §13.1.5, §8.8.3.2', name: 'If-Range, weak, of a weak one', fields: { ...ranged, etag: 'W/"a"' }, ask: [['Range', 'bytes=0-1'], ['If-Range', 'W/"a"']], is: [200, 'hit'] },
  { rfc: 'RFC 9110 §13.1.5', name: 'If-Range, its date', fields: { ...ranged, 'last-modified': DATE }, ask: [['Range', 'bytes=0-1'], ['If-Range', DATE]], is: [206, 'hit'] },
  { rfc: 'RFC 9110 §13.1.5, §8.8.2.2', name: 'If-Range, a date of the second in which it was made', fields: { ...ranged, 'last-modified': NOW }, ask: [['Range', 'bytes=0-1'], ['If-Range', NOW]], is: [200, 'hit'], body: BODY },
  { rfc: 'RFC 9110 §13.1.5, §8.8.2.2', name: 'If-Range, a date of the second before its Date', fields: { ...ranged, 'last-modified': NOW, date: new Date(START + 1000).toUTCString() }, ask: [['Range', 'bytes=0-1'], ['If-Range', NOW]], is: [206, 'hit'] },
  { rfc: 'RFC 9110 §13.1.5', name: 'If-Range, a later date', fields: { ...ranged, 'last-modified': DATE }, ask: [['Range', 'bytes=0-1'], ['If-Range', NOW]], is: [200, 'hit'] }
]

const hits = (rfc: string, names: Array<[name: string, fields: Row['fields'], more?: Partial<Row>]>): Row[] =>
  names.map(([name, fields, more]) => ({ rfc, name, ...fields === undefined ? {} : { fields }, ask: [], is: [200, 'hit'], ...more }))
const misses = (rfc: string, names: Array<[name: string, fields: Row['fields'], more?: Partial<Row>]>): Row[] =>
  hits(rfc, names).map((row, i) => ({ ...row, is: [200, 'miss'], ...names[i]![2] }))
const said = (...values: string[]): Array<[string, Row['fields']]> => values.map((value) => [value, { 'cache-control': value }])

const STORING: Row[] = [
  ...hits('RFC 9111 §5.2', said(
    'max-age=10', 'Max-Age=10', 'max-age="10"', 'max-age=10, max-age=0', 'x="no-store, private", max-age=10', 'x="a\\"b, no-store", max-age=10', 'max-age=99999999999999',
    'max-age=2147483648', 'max-age=10, immutable', 'max-age=010', ',, max-age=10 ,', 's-maxage=10, max-age=0', 'no-store, must-understand, max-age=10', 'public, max-age=10', 'max-age=10, x-private, no-stores'
  )),
  ...misses('RFC 9111 §5.2, §4.2.1', said(
    'no-store, max-age=10', 'NO-STORE', 'private, max-age=10', 'private="x-a", max-age=10', 'no-cache="x-a", max-age=10', 'no-cache', 'max-age=-1', 'max-age=0, max-age=10', 'max-age', 'max-age=', 'max-age=1.5',
    'max-age=1e3', "max-age='10'", 's-maxage=0, max-age=10', 's-maxage=soon, max-age=10', 'max-age=10; no-store', 'no-store; max-age=10', 'private;max-age=10', 'x="y, no-store, max-age=10', 'public'
  )),
  ...hits('RFC 9111 §5.2', [['no-store; of a fixed ttl', { 'cache-control': 'no-store; x=y' }, { cache: fixed, is: [200, 'miss'] }], ['two lines', { 'cache-control': ['max-age=10', 'x'] }]]),
  ...misses('RFC 9111 §5.2', [['two lines, one of which forbids', { 'cache-control': ['max-age=10', 'no-store'] }]]),
  ...hits('RFC 9111 §5.3', [['Expires', { expires: AHEAD }], ['less a Date in the future', { expires: AHEAD, date: new Date(START + 3_590_000).toUTCString() }], ['max-age before Expires', { expires: '0', 'cache-control': FRESH }]]),
  ...misses('RFC 9111 §5.3, §4.2.3', [
    ['Expires: 0', { expires: '0' }], ['Expires: soon', { expires: 'soon' }], ['twice', { expires: [AHEAD, AHEAD] }, { only1: true }], ['Expires as its Date', { expires: AHEAD, date: AHEAD }],
    ['Age beyond it', { 'cache-control': FRESH, age: '10' }], ['an old Date', { 'cache-control': FRESH, date: new Date(START - 10_000).toUTCString() }], ['the first of two ages', { 'cache-control': FRESH, age: '11, 0' }],
    ['an Age beyond all bounds', { 'cache-control': FRESH, age: '99999999999' }]
  ]),
  ...hits('RFC 9111 §4.2.3, §5.1', [
    ['no Age that can be read', { 'cache-control': FRESH, age: 'x' }, { has: { age: '0' } }], ['a negative one', { 'cache-control': FRESH, age: '-5' }, { has: { age: '0' } }],
    ['a Date that is none', { 'cache-control': FRESH, date: 'x' }], ['a Date in the future', { 'cache-control': FRESH, date: AHEAD }, { has: { age: '0' } }],
    ['Age goes on', { 'cache-control': FRESH, age: '3' }, { after: 2, has: { age: '5' } }]
  ]),
  ...misses('RFC 9111 §4.1, §3, §7.3', [
    ['Vary: *', { 'cache-control': FRESH, vary: '*' }], ['Vary: * among others', { 'cache-control': FRESH, vary: ['x-a', 'x-b, *'] }], ['a cookie', { 'cache-control': FRESH, 'set-cookie': 'a=1' }],
    ['another variant', { 'cache-control': FRESH, vary: ['x-a', 'x-b'] }, { first: [['x-b', '1']], ask: [['x-b', '2']] }]
  ]),
  ...hits('RFC 9111 §4.1', [['the same variant', { 'cache-control': FRESH, vary: ['X-A', 'x-b'] }, { first: [['x-b', '1']], ask: [['x-b', '1'], ['x-c', '3']] }]]),
  ...[300, 301, 308, 404, 405, 410, 414, 501].map((status): Row => ({ rfc: 'RFC 9110 §15.1', name: `${status}, which says nothing`, status, cache: { ttl: 'origin', statuses: { [status]: 10 } }, ask: [], is: [status, 'hit'] })),
  ...[206, 304, 416, 412, 429].map((status): Row => ({ rfc: 'RFC 9110 §15.3.7, §15.4.5, RFC 9111 §3.3', name: `${status} of the handler`, status, cache: { ttl: 'origin', statuses: 'origin' }, fields: { 'cache-control': FRESH }, ask: [], is: [status, 'miss'] })),
  ...[204, 205].map((status): Row => ({ rfc: 'RFC 9110 §15.3', name: String(status), status, cache: { ttl: 'origin', statuses: 'origin' }, fields: { 'cache-control': FRESH }, ask: [['Range', 'bytes=0-1']], is: [status, 'hit'], body: '' })),
  ...hits('RFC 9111 §3.1, RFC 9110 §7.6.1', [['fields of the connection', { 'cache-control': FRESH, connection: 'x-a', 'x-a': '1', 'x-b': '2', 'proxy-authenticate': 'x' }, { has: { 'x-a': null, 'x-b': '2', 'proxy-authenticate': null }, only1: true }]]),
  ...hits('RFC 9110 §7.6.3, RFC 9111 §5.5', [['what means nothing to a cache', { 'cache-control': FRESH, via: '1.1 x', warning: '199 - "x"', link: ['<a>', '<b>'], pragma: 'no-cache' }, { has: { via: '1.1 x', warning: '199 - "x"', link: '<a>, <b>' } }]])
]

const ASKING: Row[] = [
  ...each(['max-age=0', 'no-cache', 'no-store', 'min-fresh=100', 'max-stale', 'only-if-cached', 'max-age=0, no-cache'].map(one('Cache-Control')), { rfc: 'RFC 9111 §5.2.1', fields: tagged, is: [200, 'hit'] }),
  { rfc: 'RFC 9111 §5.4', name: 'Pragma, where it is honoured', cache: { ttl: 'origin', honourNoCache: true }, fields: tagged, ask: [['Pragma', 'no-cache']], is: [200, 'refresh'] },
  { rfc: 'RFC 9111 §5.4', name: 'Pragma beside Cache-Control', cache: { ttl: 'origin', honourNoCache: true }, fields: tagged, ask: [['Pragma', 'no-cache'], ['Cache-Control', 'x']], is: [200, 'hit'] },
  { rfc: 'RFC 9111 §3.5', name: 'Authorization, with public', fields: { 'cache-control': 'public, s-maxage=10' }, ask: [['Authorization', 'Basic eA==']], is: [200, 'bypass authorization'] },
  ...each(['gzip;q=0', 'identity;q=0', '*;q=0', 'br;q=1.0, *;q=0', 'x', ''].map(one('Accept-Encoding')), { rfc: 'RFC 9110 §12.5.3', fields: tagged, is: [200, 'hit'], body: BODY, has: { 'content-encoding': null } }),
  { rfc: 'RFC 9110 §8.4', name: 'codings without Vary, for who takes them', fields: { ...tagged, 'content-encoding': 'br, gzip' }, first: [['Accept-Encoding', 'gzip, br']], ask: [['Accept-Encoding', 'br,  gzip;q=0.5']], is: [200, 'hit'], has: { vary: /accept-encoding/i } },
  { rfc: 'RFC 9110 §8.4', name: 'codings without Vary, for who does not', fields: { ...tagged, 'content-encoding': 'gzip' }, first: [['Accept-Encoding', 'gzip']], ask: [['Accept-Encoding', 'gzip;q=0']], is: [200, 'miss'] },
  ...(['max-age=60;x=1', 'max-age=60'] as const).map((value): Row => ({ rfc: 'RFC 9213 §2.1', name: value, cache: { ttl: 'origin', cdnCacheControl: true }, fields: { 'cdn-cache-control': value, 'cache-control': 'max-age=0' }, ask: [], is: [200, 'hit'] })),
  ...(['max-age=60,', 'max-age="60"', 'max-age=6 0', 'no-store', 'Max-Age=60', 'max-age=60, private="x'] as const).map((value): Row => ({ rfc: 'RFC 9213 §2.1, §2.2', name: value, cache: { ttl: 'origin', cdnCacheControl: true }, fields: { 'cdn-cache-control': value, 'cache-control': 'max-age=0' }, ask: [], is: [200, 'miss'] }))
]

/** The answer is whole when it has its length, or when the server closes the connection. */
const asks: CacheOptions = { ttl: 'origin', revalidate: true }
const stale = { rfc: 'RFC 9111 §4.3.1, §4.3.3, §4.3.4', after: 11, ask: [], body: BODY }
const AGAIN: Row[] = [
  { ...stale, name: 'the handler says 304', cache: asks, fields: tagged, is: [200, 'stale'], has: { 'cache-status': /fwd-status=304/, age: null } },
  { ...stale, name: 'and the client has it, too', cache: asks, fields: tagged, ask: [['If-None-Match', '"a"']], is: [304, 'stale'], body: '', has: { 'cache-status': /fwd-status=304/ } },
  { ...stale, name: 'a handler that is not asked', fields: tagged, is: [200, 'miss'], has: { 'cache-status': /fwd=miss$/ } },
  { ...stale, name: 'an entry without a validator', cache: asks, fields: { 'cache-control': FRESH }, is: [200, 'miss'] },
  { ...stale, name: 'a fresh one', cache: asks, fields: tagged, after: 9, is: [200, 'hit'], has: { age: '9' } }
]

async function raw (app: CachedApp, method: string, path: string, lines: Lines): Promise<Answer> {
  const { port } = app.server.address() as { port: number }
  const socket = connect(port, '127.0.0.1').setEncoding('latin1')
  const fields = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  socket.write(`${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${fields}\r\n`, 'latin1')
  let text = ''
  socket.on('data', (part: string) => {
    text += part
    const [head = '', body] = text.split('\r\n\r\n', 2)
    if (body !== undefined && method !== 'HEAD' && body.length === Number(/^content-length: (\d+)/im.exec(head)?.[1])) socket.destroy()
  })
  await once(socket, 'close')
  const [head = '', ...body] = text.split('\r\n\r\n')
  const [first = '', ...rest] = head.split('\r\n')
  const headers: Record<string, string> = {}
  for (const line of rest) {
    const [, name = '', value = ''] = /^([^:]*): ?(.*)$/.exec(line)!
    headers[name.toLowerCase()] = headers[name.toLowerCase()] === undefined ? value : `${headers[name.toLowerCase()]}, ${value}`
  }
  return { status: Number(first.split(' ')[1]), headers, body: body.join('\r\n\r\n') }
}

async function over2 (app: CachedApp, method: string, path: string, lines: Lines): Promise<Answer> {
  const session = connectHttp2(app.listeningOrigin)
  const stream = session.request({ ':method': method, ':path': path, ...Object.fromEntries(lines.map(([name, value]) => [name.toLowerCase(), value])) })
  stream.end()
  const [head] = await once(stream, 'response') as [Record<string, unknown>]
  let body = ''
  for await (const part of stream) body += String(part)
  session.close()
  return { status: Number(head[':status']), headers: head, body }
}

async function holds (rows: readonly Row[], http2: boolean, store: RouteCacheOptions): Promise<Array<[Row, Answer]>> {
  let now = START
  const app = fastify({ ...http2 ? { http2: true } : {} } as never) as unknown as CachedApp
  await app.register(routeCache, { now: () => now, deadline: 30, writeDeadline: 30, ...store })
  rows.forEach(({ cache = { ttl: 'origin' }, status = 200, fields = {} }, i) => {
    app.get(`/${i}`, { cache }, async ({ headers }, reply: FastifyReply) => {
      // It has done no work.
      if (cache.revalidate === true && headers['if-none-match'] !== undefined) return await reply.code(304).headers(tagged).send()
      reply.code(status)
      for (const [name, value] of Object.entries(fields)) if (!http2 || name !== 'connection') reply.header(name, value)
      return await ([204, 205, 304].includes(status) ? reply.send() : reply.type('text/plain').send(BODY))
    })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const ask = http2 ? over2 : raw
  const found: Array<[Row, Answer]> = []
  for (const [i, row] of rows.entries()) {
    if (http2 && row.only1 === true) continue
    now = START
    await ask(app, 'GET', `/${i}`, row.first ?? [])
    await settled(app)
    now += (row.after ?? 0) * 1000
    found.push([row, await ask(app, row.method ?? 'GET', `/${i}`, row.ask)])
    await settled(app)
  }
  await app.close()
  return found
}

const server = await startRedis()
t.teardown(async () => { await server.stop() })
const redis = server.client()
await redis.ping()
const STORES: Array<[name: string, http2: boolean, store: RouteCacheOptions]> = [
  ['HTTP/1, in-process store', false, {}], ['HTTP/2, in-process store', true, {}],
  ['HTTP/1, redis', false, { redis, prefix: 'one' }], ['HTTP/2, redis', true, { redis, prefix: 'two' }]
]

for (const [way, http2, store] of STORES) {
  await t.test(way, async (t) => {
    const found = await holds([...CONDITIONS, ...RANGES, ...STORING, ...ASKING, ...AGAIN], http2, store)
    for (const [{ rfc, name, is, has = {}, body }, answer] of found) {
      const title = `${rfc}: ${name}`
      t.strictSame([answer.status, outcome(String(answer.headers['cache-status']).replace('; fwd-status=304', ''))], is, title)
      if (body !== undefined) t.equal(answer.body, body, title)
      for (const [field, value] of Object.entries(has)) {
        const actual = answer.headers[field]
        if (value === null) t.equal(actual, undefined, `${title}: ${field}`)
        else t.match(Array.isArray(actual) ? actual.join(', ') : String(actual), value, `${title}: ${field}`)
      }
    }
  })
}
