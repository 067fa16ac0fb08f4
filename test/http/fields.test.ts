// The fields of HTTP as they are read and written, form by form: where a request would only show a part of it.
import { createHash } from 'node:crypto'
import t from 'tap'
import {
  parseCacheControl, directivesOf, correctedAge, deltaSeconds, forbidsStale, originFreshness, staleAllowance,
  isHeuristicallyCacheable, isStorableByFields, isUnderstood, isError, refusalOf, addedFields, addedMembers,
  areSendable, mergedVary, fingerprint, varyMembers, type HeaderFields
} from '../../plugin/http/headers.js'
import { cacheStatus, withMember } from '../../plugin/send/reply.js'
import { CONDITIONS, isConditional, isNotModified, weakEtag, asksForPart } from '../../plugin/http/request.js'
import { httpDate } from '../../plugin/http/http-date.js'

t.test('Cache-Control: RFC 9111 §5.2', async (t) => {
  const rows: [field: string, directives: Record<string, string>][] = [
    ['', {}],
    ['no-store', { 'no-store': '' }],
    ['Max-Age=5 , PRIVATE', { 'max-age': '5', private: '' }],
    ['max-age="5"', { 'max-age': '5' }],
    ['private="a, b", max-age=5', { private: 'a, b', 'max-age': '5' }],
    ['no-cache="a\\"b, no-store", max-age=5', { 'no-cache': 'a"b, no-store', 'max-age': '5' }],
    ['max-age=1, max-age=2', { 'max-age': '1' }],
    [',, max-age=5,,', { 'max-age': '5' }],
    ['max-age', { 'max-age': '' }],
    ['max-age=', { 'max-age': '' }],
    ['max-age = 5', { 'max-age': '5' }],
    ['__proto__=1, constructor', { ['__proto__']: '1', constructor: '' }],
    ['ext="no-store', { ext: '', 'no-store': '' }]
  ]
  for (const [field, directives] of rows) t.strictSame([...parseCacheControl(field)], Object.entries(directives), field)
})

t.test('delta-seconds: RFC 9111 §1.2.2', async (t) => {
  const rows: [value: string | undefined, seconds: number | undefined][] = [
    ['0', 0], ['5', 5], ['007', 7], ['2147483648', 2 ** 31],
    // §1.2.2: what can't be represented is 2^31.
    ['2147483649', 2 ** 31], ['9'.repeat(400), 2 ** 31],
    ['', undefined], ['-1', undefined], ['+1', undefined], ['1.5', undefined], ['1e3', undefined], ['1 2', undefined],
    ['0x1', undefined], ['٣', undefined], [undefined, undefined]
  ]
  for (const [value, seconds] of rows) t.equal(deltaSeconds(value), seconds, String(value))
})

const SUNDAY = Date.UTC(1994, 10, 6, 8, 49, 37)
const NOW = Date.UTC(2026, 10, 1, 12)

t.test('HTTP-date: RFC 9110 §5.6.7, RFC 9111 §4.2', async (t) => {
  const rows: [field: string | undefined, time: number | null][] = [
    ['Sun, 06 Nov 1994 08:49:37 GMT', SUNDAY],
    ['Sunday, 06-Nov-94 08:49:37 GMT', SUNDAY],
    ['Sun Nov  6 08:49:37 1994', SUNDAY],
    // RFC 9111 §4.2: a cache should not care about the case.
    ['SUN, 06 NOV 1994 08:49:37 gmt', SUNDAY],
    [undefined, null], ['', null], ['0', null], ['-1', null], ['5', null], ['tomorrow', null],
    ['1994-11-06T08:49:37Z', null], ['06 Nov 1994 08:49:37 GMT', null],
    ['Sun, 06 Nov 1994 25:49:37 GMT', null],
    // RFC 9111 §4.2: a zone that is neither GMT nor UTC is none.
    ['Sun, 06 Nov 1994 08:49:37 EST', null],
    ['Sun, 06 Nov 1994 08:49:37 +0200', null],
    // There is no such day, hour or second; 60 is a leap second.
    ['Thu, 31 Feb 1994 08:49:37 GMT', null], ['Tue, 29 Feb 1994 08:49:37 GMT', null], ['Sun, 00 Nov 1994 08:49:37 GMT', null],
    ['Tue, 29 Feb 2028 08:49:37 GMT', Date.UTC(2028, 1, 29, 8, 49, 37)],
    ['Sun, 06 Nov 1994 08:60:37 GMT', null], ['Sun, 06 Nov 1994 08:49:61 GMT', null],
    ['Sat, 31 Dec 2016 23:59:60 GMT', Date.UTC(2017, 0, 1)],
    ['Sun, 06 Non 1994 08:49:37 GMT', null],
    // Two digits of a year: what would be more than 50 years ahead is in the past.
    ['Sunday, 01-Nov-26 12:00:00 GMT', NOW], ['Sunday, 01-Nov-27 12:00:00 GMT', Date.UTC(2027, 10, 1, 12)],
    ['Monday, 01-Nov-60 12:00:00 GMT', Date.UTC(2060, 10, 1, 12)], ['Sunday, 01-Nov-76 12:00:00 GMT', Date.UTC(2076, 10, 1, 12)],
    ['Monday, 01-Nov-76 12:00:01 GMT', Date.UTC(1976, 10, 1, 12, 0, 1)], ['Tuesday, 01-Nov-77 12:00:00 GMT', Date.UTC(1977, 10, 1, 12)],
    ['Friday, 31-Dec-99 23:59:59 GMT', Date.UTC(1999, 11, 31, 23, 59, 59)], ['Saturday, 01-Jan-00 00:00:00 GMT', Date.UTC(2000, 0, 1)],
    ['Thursday, 29-Feb-24 00:00:00 GMT', Date.UTC(2024, 1, 29)], ['Friday, 29-Feb-23 00:00:00 GMT', null],
    ['Sun, 06 Nov 1994', null], ['Sunday, 7', null], ['Monkey, 5 GMT', null], ['Mon, -1', null]
  ]
  for (const [field, time] of rows) t.equal(httpDate(field, NOW), time, String(field))
  t.equal(httpDate(['Sun, 06 Nov 1994 08:49:37 GMT', 'Sun, 06 Nov 1994 08:49:38 GMT'], NOW), null, 'two of them are none')
})

t.test('entity tags: RFC 9110 §8.8.3, §13.1.2', async (t) => {
  const rows: [list: string, etag: string | undefined, has: boolean][] = [
    ['"a"', '"a"', true], ['W/"a"', '"a"', true], ['"a"', 'W/"a"', true], ['"a", "b"', '"b"', true], ['"a","b"', '"b"', true],
    ['"x,y", "b"', '"b"', true], ['"x,y"', '"x,y"', true], ['"a, W/"', '"a, W/"', false], ['"é"', '"é"', true],
    [', ,"a"', '"a"', true], ['"\\"', '"\\"', true], ['*', undefined, true], ['"*"', '"a"', false], ['*, "a"', '"b"', false],
    ['a', 'a', false], ['"a', '"a', false], ['', '"a"', false], ['"x,y"', '"x"', false], ['"a"', undefined, false],
    ['"x", "y"', '", "', false]
  ]
  for (const [list, etag, has] of rows) {
    t.equal(isNotModified({ 'if-none-match': list }, { etag, lastModified: undefined }, NOW), has, `${etag} in ${list}`)
  }
  const tag = `W/"${createHash('sha1').update('x').digest('base64url')}"`
  t.equal(weakEtag(Buffer.from('x')), tag)
  t.not(weakEtag(Buffer.from('y')), tag)
})

t.test('conditional requests, and requests for a part: RFC 9110 §13.1, §14.2', async (t) => {
  for (const name of CONDITIONS) t.equal(isConditional({ [name]: '' }), true, name)
  for (const name of ['accept-ranges', 'if', 'etag']) t.equal(isConditional({ [name]: 'x' }), false, name)
  for (const field of ['bytes=0-0', 'bytes=1-', 'bytes=-1', 'BYTES=0-1', 'bytes=0-,1-', 'lines=0-']) t.equal(asksForPart({ range: field }), true, field)
  for (const field of ['bytes=0-', 'bytes= 0- ', 'bytes=', 'bytes', 'bytes=-', 'bytes=2-1', 'x', '']) t.equal(asksForPart({ range: field }), false, field)
  t.equal(asksForPart({}), false)
})

t.test("freshness by the response's own fields: RFC 9111 §4.2.1", async (t) => {
  const at = (seconds: number): string => new Date(SUNDAY + seconds * 1000).toUTCString()
  const left = (fields: HeaderFields, { now = SUNDAY, delay = 0 } = {}): number | undefined =>
    originFreshness({ fields, now, delay, isTargeted: false })
  t.equal(left({ 'cache-control': 'max-age=9', age: 4 }), 5, 'an Age that is a number')
  t.equal(left({ 'cache-control': ['public', 'max-age=9'] }), 9, 'two lines')
  t.equal(left({ expires: at(9) }, { now: SUNDAY + 4_999 }), 4, 'whole seconds, never too many')
  t.equal(left({ expires: at(9), date: 'nonsense' }), 9, 'a Date that is none')
  t.equal(left({ expires: [at(9), at(9)] }), 0, 'two of them')
  for (const word of ['private', 'no-cache', 'no-store']) t.equal(left({ 'cache-control': `max-age=9, ${word}` }), 0, word)
  t.equal(left({ 'cache-control': 'max-age=9, no-store, must-understand' }), 9, '§5.2.2.3')
  t.equal(left({ 'cache-control': `max-age=${'9'.repeat(30)}` }), 2 ** 31)
  for (const silent of [{}, { 'cache-control': 'public, must-revalidate' }, { age: '4', date: at(-9) }]) t.equal(left(silent), undefined)
  t.equal(left({ expires: 'Monday, 01-Nov-60 12:00:00 GMT', date: at(0) }), 0, 'a year of two digits, in 1994: 1960')
})

t.test('the age of a response that comes from elsewhere: RFC 9111 §4.2.3', async (t) => {
  const at = (seconds: number): string => new Date(SUNDAY + seconds * 1000).toUTCString()
  const rows: [fields: HeaderFields, delay: number, age: number][] = [
    [{}, 5_000, 0], [{ date: at(-7200) }, 0, 7200], [{ date: at(5) }, 0, 0], [{ date: 'nonsense' }, 0, 0],
    [{ age: '4' }, 0, 4], [{ age: '4' }, 2_999, 6], [{ age: '4' }, -1_000, 4], [{ age: 'old' }, 5_000, 0],
    [{ age: '4', date: at(-3) }, 0, 4], [{ age: '4', date: at(-9) }, 0, 9], [{ age: '4', date: at(-9) }, 7_000, 11]
  ]
  for (const [fields, delay, age] of rows) {
    t.equal(correctedAge({ fields, now: SUNDAY, delay }), age, JSON.stringify([fields, delay]))
  }
})

t.test("how long beyond that, by the response's own fields: RFC 5861 §3, RFC 9111 §4.2.4", async (t) => {
  const allowed = (cacheControl: string): number | undefined =>
    staleAllowance({ 'cache-control': cacheControl }, 'stale-while-revalidate', false)
  t.equal(allowed('max-age=9, stale-while-revalidate=30'), 30)
  t.equal(allowed('max-age=9, Stale-While-Revalidate="30"'), 30)
  t.equal(allowed('max-age=9'), undefined, 'it says nothing')
  t.equal(staleAllowance({}, 'stale-while-revalidate', false), undefined)
  t.equal(allowed('max-age=9, stale-while-revalidate=soon'), 0, 'nothing that could be understood')
  for (const directive of ['must-revalidate', 'proxy-revalidate', 'no-cache', 's-maxage=9']) {
    t.equal(allowed(`max-age=9, ${directive}, stale-while-revalidate=30`), 0, directive)
    t.equal(forbidsStale({ 'cache-control': `public, ${directive}` }), true, directive)
  }
  for (const directive of ['max-age=0', 'public', 'ext="no-cache"', 'must-revalidate-not']) {
    t.equal(forbidsStale({ 'cache-control': directive }), false, directive)
  }
  const both = { 'cache-control': 's-maxage=9', 'cdn-cache-control': 'max-age=9, stale-while-revalidate=30' }
  t.strictSame([true, false].map((isTargeted) => staleAllowance(both, 'stale-while-revalidate', isTargeted)), [30, 0],
    'a targeted field counts where it is asked for')
})

t.test('and where the origin fails: RFC 5861 §4', async (t) => {
  const allowed = (cacheControl: string): number | undefined => staleAllowance({ 'cache-control': cacheControl }, 'stale-if-error', false)
  t.equal(allowed('max-age=9, stale-while-revalidate=30, stale-if-error=60'), 60)
  t.equal(allowed('max-age=9, stale-while-revalidate=30'), undefined)
  t.equal(allowed('max-age=9, must-revalidate, stale-if-error=60'), 0)
  t.strictSame([499, 500, 501, 502, 503, 504, 505].filter(isError), [500, 502, 503, 504])
})

t.test('fields of an entry: RFC 9111 §3.1', async (t) => {
  t.strictSame(addedFields({}, { a: 1, b: ['x'], c: ['x', 'y'], d: [], e: undefined, connection: 'B, x', te: 'x' }),
    [['a', '1'], ['c', ['x', 'y']]])
  t.strictSame(addedFields({ a: '1', b: ['x', 'y'], c: '1' }, { a: '1', b: ['x', 'y'], c: ['1', '2'] }), [['c', ['1', '2']]])
  t.match(addedFields({ vary: 'origin' }, { vary: 'Origin, Accept' }), [['vary', /^accept$/i]])
  t.strictSame(addedFields({ vary: 'origin' }, { vary: 'Origin' }), [])
  for (const [fields, isRight] of [
    [[['a', 'b'], ['c', ['d', 'é']]], true], [[['a b', 'c']], false], [[['a', 'b\r\nc']], false], [[['a', ['b', '€']]], false], [[['', 'b']], false]
  ] as const) t.equal(areSendable(fields), isRight, JSON.stringify(fields))
})

t.test('what the head of a response refuses: RFC 9111 §3', async (t) => {
  const refusal = (status: number, all: Record<string, string | string[]>): unknown =>
    refusalOf({ status, setsCookie: all['set-cookie'] !== undefined, all, directives: directivesOf(all, false) }, { has: () => true })
  for (const status of [200, 203, 299, 301, 404, 599]) t.equal(refusal(status, {}), null, String(status))
  for (const status of [100, 103, 199, 206, 304]) t.equal(refusal(status, {}), 'status', String(status))
  t.equal(refusalOf({ status: 404, setsCookie: false, all: {}, directives: [] }, { has: (status) => status === 200 }), 'status')
  const ofHook = { 'set-cookie': 'of a hook' }
  t.equal(refusalOf({ status: 200, setsCookie: false, all: ofHook, directives: [] }, { has: () => true }), null)
  const closed = { 'cache-control': 'no-store, private' }
  const targeted = (all: Record<string, string>): unknown =>
    refusalOf({ status: 200, setsCookie: all['set-cookie'] !== undefined, all, directives: directivesOf(all, true) }, { has: () => true })
  t.equal(targeted({ ...closed, 'cdn-cache-control': 'max-age=5' }), null, 'RFC 9213 §2.2')
  t.equal(targeted({ 'cdn-cache-control': 'private' }), 'private', 'RFC 9213 §2.2')
  const known = [[200, true], [404, true], [505, true], [418, false], [429, false], [511, false], [599, false]] as const
  for (const [status, stored] of known) {
    const understood = { 'cache-control': 'no-store, must-understand, max-age=9' }
    t.equal(refusal(status, understood), stored ? null : 'status', `must-understand, ${status}: RFC 9111 §5.2.2.3`)
    t.equal(isUnderstood(status), stored)
  }
  t.equal(refusal(200, { 'set-cookie': ['a=1'] }), 'set-cookie')
})

t.test('statuses: RFC 9110 §15.1, RFC 6585', async (t) => {
  const all = Array.from({ length: 600 }, (_, status) => status)
  t.strictSame(all.filter(isHeuristicallyCacheable), [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])
  const [never, final] = [[206, 304, 412, 416, 428, 429, 431, 511], all.slice(200)]
  t.strictSame(all.filter(isStorableByFields), final.filter((status) => !never.includes(status)))
})

t.test('Vary and its variants: RFC 9111 §4.1', async (t) => {
  t.strictSame(varyMembers('B, a ,,b', undefined, ['C', 'a']), ['a', 'b', 'c'])
  t.strictSame(varyMembers(addedMembers('Origin', 'origin, Accept')), ['accept'])
  t.strictSame(varyMembers(mergedVary('b', 'A, B')), ['a', 'b'])
  const same = (name: string, a: string | undefined, b: string | undefined, are: boolean): void => {
    t.equal(fingerprint([name], { [name]: a }) === fingerprint([name], { [name]: b }), are, `${name}: ${a} and ${b}`)
  }
  same('accept-language', 'a, b', ' a,b ', true)
  same('x', 'a, b', ' a,b ', false)
  same('x', 'a, b', 'b, a', false)
  same('x', undefined, '', false)
  same('accept-encoding', 'gzip, br', 'br;q=0.1,GZIP', true)
  same('accept-encoding', 'gzip, br;q=0', 'gzip', true)
  same('accept-encoding', 'gzip, br;q=0.000', 'gzip', true)
  same('accept-encoding', 'gzip, br;q=0.001', 'gzip', false)
  same('accept-encoding', 'gzip, identity;q=0', 'gzip', false)
  same('accept-encoding', '*', '*;q=0', false)
  t.not(fingerprint(['a', 'b'], { a: '1', b: '2' }), fingerprint(['a', 'b'], { a: '2', b: '1' }))
  t.not(fingerprint(['a'], { a: 'b","c' }), fingerprint(['a', 'c'], { a: 'b' }))
})

t.test('Cache-Status: RFC 9211 §2', async (t) => {
  t.equal(cacheStatus('c', { ttl: 0 }), 'c; hit; ttl=0')
  t.equal(cacheStatus('c', { fwd: 'bypass', detail: 'store', key: 'a"\\\n😀' }), 'c; fwd=bypass; key="a\\"\\\\%0A%F0%9F%98%80"; detail=store')
  t.equal(withMember('', 'b; hit'), 'b; hit')
  t.equal(withMember('a; fwd=miss', 'b; hit'), 'a; fwd=miss, b; hit')
})
