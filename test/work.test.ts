// The work that a client, an origin, or bytes in Redis can make grows with their length and no more: for inputs eight times
// as long it is some eight times as much. Counted, not timed.
import t from 'tap'
import { decode, decodeMarker, encode, encodeMarker, soundMarker, type Entry } from '../plugin/entry/entry.js'
import { markTags, marksOf } from '../plugin/request/exchange.js'
import { isReport } from '../plugin/extras/dashboard/report-shape.js'
import { curveOf } from '../plugin/extras/dashboard/past.js'
import { readCacheStatus } from '../plugin/extras/testing/said.js'
import { cacheStatus, withMember } from '../plugin/send/reply.js'
import {
  parseCacheControl, directivesOf, originFreshness, staleAllowance, refusalOf, addedFields, addedMembers, isReplayable,
  mergedVary, fingerprint, varyMembers
} from '../plugin/http/headers.js'
import { isConditional, isNotModified, asksForPart, partOf } from '../plugin/http/request.js'
import { acceptedCodings, mayBeEncoded } from '../plugin/http/encoding.js'
import { parseDictionary } from '../plugin/http/structured-field.js'
import { buildKey, defaultKey, escapeKey, storedKeys, copyPlain, checkTags, type KeySource } from '../plugin/key/key.js'
import { readHeaders } from '../plugin/calls/request-option.js'
import { credentialsIn, lackedBy } from '../plugin/users/identity.js'
import { checkTarget, together } from '../plugin/key/target.js'
import { isSelected } from '../plugin/cache/lookup.js'
import { stepsOf } from './helpers/work.js'

const list = (n: number, one: (i: number) => string = (i) => `m${i}`, separator = ', '): string =>
  Array.from({ length: n }, (_, i) => one(i)).join(separator)
const many = (n: number): string[] => Array.from({ length: n }, (_, i) => `x${i}`)

/** Texts of some length that are hard on whoever looks for an end, a comma, a quote. */
const TEXTS: Record<string, (n: number) => string> = {
  members: (n) => list(n),
  'one member again and again': (n) => list(n, () => 'a'),
  'white space': (n) => `a${' '.repeat(n)}b`,
  'white space in members': (n) => list(n, () => ' '.repeat(9)),
  tabs: (n) => `${'\t'.repeat(n)},`,
  commas: (n) => `${','.repeat(n)}x`,
  'commas and space': (n) => `${' ,'.repeat(n)}x`,
  quotes: (n) => '"'.repeat(n),
  'open quotes': (n) => list(n, () => 'a="b'),
  'tags without end': (n) => list(n, () => 'W/"a', ''),
  backslashes: (n) => `a="${'\\'.repeat(n)}`,
  'equal signs': (n) => 'a=' + '='.repeat(n),
  semicolons: (n) => list(n, () => 'a;q=0.5;b', ';'),
  weights: (n) => `gzip;q=${'0'.repeat(n)}`,
  'lone surrogates': (n) => '\ud800'.repeat(n),
  braces: (n) => '{'.repeat(n),
  percents: (n) => `${'%'.repeat(n)}%${'_'.repeat(n)}`,
  'a long word': (n) => 'a'.repeat(n)
}

/** What reads one text. */
const READERS: Record<string, (text: string) => unknown> = {
  'Accept*, as it selects': (text) => ['accept', 'accept-language', 'accept-encoding', 'x-any', 'cookie'].map((name) => fingerprint([name], { [name]: text })),
  'Accept-Encoding': acceptedCodings,
  Vary: (text) => [varyMembers(text), addedMembers(text, `${text}, more`), mergedVary(text, text)],
  'Cache-Control': (text) => [parseCacheControl(text), originFreshness({ fields: { 'cache-control': text, expires: text, age: text, date: text }, now: 0, delay: 0, isTargeted: false })],
  'CDN-Cache-Control': (text) => [directivesOf({ 'cdn-cache-control': text }, true), parseDictionary(text), staleAllowance({ 'cdn-cache-control': text }, 'stale-if-error', true)],
  'If-None-Match': (text) => [isNotModified({ 'if-none-match': text }, { etag: '"x"', lastModified: text }, 0), isNotModified({ 'if-none-match': '"x"' }, { etag: text, lastModified: text }, 0)],
  'If-Modified-Since': (text) => isNotModified({ 'if-modified-since': text }, { etag: undefined, lastModified: text }, 0),
  'Range, If-Range, If-Match': (text) => [
    isConditional({ range: text, 'if-range': text, 'if-match': text }),
    ...[text, `bytes=${text}`].flatMap((range) => [
      asksForPart({ range }), partOf({ range, 'if-range': text }, { size: 9, acceptRanges: 'bytes', etag: text, lastModified: text, madeAt: 0 }, 0)
    ]),
    partOf({ range: 'bytes=0-1' }, { size: 9, acceptRanges: text, etag: undefined, lastModified: undefined, madeAt: 0 }, 0)
  ],
  'Cache-Status of others': (text) => [withMember(text, 'x; hit'), cacheStatus('x', { key: text.toString().replace(/[\ud800-\udfff]/g, '') }), readCacheStatus({ headers: { 'cache-status': text } })],
  'a response\'s head': (text) => [
    addedFields({ vary: text, connection: text }, { vary: `${text}, x`, connection: text, a: text, etag: text }),
    mayBeEncoded(200, { 'content-type': text, 'cache-control': text }),
    refusalOf({ status: 200, setsCookie: false, all: { vary: text, 'content-type': text }, directives: directivesOf({ 'cache-control': text }, false) }, { has: () => true })
  ],
  'a key': (text) => [escapeKey(text), storedKeys(text), checkTarget(text)],
  'a value': (text) => [defaultKey('/', { query: { text } }), defaultKey('/', { query: { [text]: '' } }), buildKey('a:{b}', { b: { text: [text] } })],
  'a tag': (text) => checkTags([text])
}

/** What reads many things. */
const LISTS: Record<string, (n: number) => () => unknown> = {
  'fields, and Connection that names them': (n) => {
    const fields = Object.fromEntries(many(n).map((name) => [name, name]))
    return () => [addedFields({}, { ...fields, connection: list(n, (i) => `x${i}`) }), isReplayable(Object.entries(fields))]
  },
  'a URL with a credential among others': (n) => {
    const url = `/?token=a&${list(n, () => 'key=1', '&')}`
    const source = { params: {}, query: { token: 'a', key: many(n) } }
    const make = ({ query }: KeySource, changed: (url: string) => string): unknown => [changed(url), defaultKey('/', { query })].join()
    return () => [credentialsIn({ url, raw: {} }), lackedBy([{ name: 'token', as: 'token' }], { source, key: '', make })]
  },
  'a query of names that are no percent-encoding': (n) => {
    const url = `/?token=a&${list(n, (i) => ['%', '%zz=1', 'a%=1', '%ff=1', '%74oke%6e='][i % 5]!, '&')}`
    return () => credentialsIn({ url, raw: {} })
  },
  'a query with one name again and again': (n) => {
    const query = { a: many(n) }
    return () => defaultKey('/', { query: copyPlain(query) })
  },
  'a query of many names': (n) => {
    const query = Object.fromEntries(many(n).map((name) => [name, name]))
    return () => defaultKey('/', { query: copyPlain(query) })
  },
  'a query of lists of objects': (n) => {
    const query = { a: many(n).map((name) => ({ [name]: [name, { name }] })) }
    return () => defaultKey('/', { query: copyPlain(query) })
  },
  'a query that is nested deeply': (n) => {
    let query: unknown = 'x'
    for (let i = 0; i < n; i++) query = { a: query }
    return () => {
      try { return defaultKey('/', { query: copyPlain({ query }) }) } catch { return null }
    }
  },
  'tags, one after another': (n) => {
    const names = many(n)
    return () => {
      const request = { log: { debug () {}, info () {}, warn () {}, error () {} } }
      for (const name of names) markTags(request, [name])
      return marksOf(request).tags
    }
  },
  tags: (n) => { const tags = many(n); return () => checkTags(tags) },
  'targets of an invalidation': (n) => {
    const target = { keys: many(n), tags: many(n) }
    return () => together([checkTarget(target), checkTarget(target)])
  },
  'an entry of many fields and tags': (n) => {
    const entry: Entry = {
      status: 200,
      headers: many(n).map((name) => [name, name]),
      body: Buffer.alloc(0),
      encoded: [],
      kind: 'bytes',
      epoch: '',
      history: 'of-a-history',
      tags: many(n),
      storedAt: 1,
      staleAt: 2,
      deadAt: 2,
      rescueUntil: 2,
      cost: 0,
      softenings: [],
      asOf: 1
    }
    const bytes = encode(entry, 'k')
    return () => decode(bytes, 'k')
  },
  'a marker, and what a route needs': (n) => {
    const members = many(n).sort()
    const bytes = encodeMarker({ members, epoch: 'twelve-chars' })
    return () => [decodeMarker(bytes), soundMarker(bytes),
      isSelected({ needs: members, hint: { members: [] }, fingerprint: () => '', tags: [], maxVariants: 1 }, { members, variant: null })]
  },
  'a marker\'s members, in a request': (n) => {
    const members = many(n)
    const headers = Object.fromEntries(members.map((name) => [name, 'x']))
    return () => fingerprint(members, headers)
  },
  'header fields of an explanation': (n) => {
    const headers = Object.fromEntries(many(n).map((name) => [name, name]))
    return () => readHeaders('x', 'headers', headers)
  },
  'a report': (n) => {
    const past = { routes: many(n), steps: [[1, Array<number>(4 * n).fill(1)]] as Array<[number, number[]]> }
    return () => [isReport({ form: 1, id: 'x', process: 'x', stats: {}, times: {}, past }), curveOf([past], 'x1', 10_000)]
  }
}

const GROWTH = 8
/** A sort compares a little more; and what is done once counts less in more. */
const MOST = GROWTH * 1.4

function compare (t: Tap, name: string, of: (n: number) => () => unknown): void {
  const size = 400
  const [small, large] = [of(size), of(size * GROWTH)]
  large()
  small()
  const [less, more] = [stepsOf(small), stepsOf(large)]
  t.ok(more <= less * MOST + 200, `${name}: ${less} steps, ${more} for ${GROWTH} times as much`)
}
type Tap = typeof t

for (const [name, read] of Object.entries(READERS)) {
  t.test(name, async (t) => {
    for (const [kind, textOf] of Object.entries(TEXTS)) {
      compare(t as unknown as Tap, kind, (n) => {
        const text = textOf(n)
        return () => read(text)
      })
    }
  })
}

t.test('lists', async (t) => {
  for (const [name, of] of Object.entries(LISTS)) compare(t as unknown as Tap, name, of)
})

t.test('it counts: what is quadratic is seen', async (t) => {
  const quadratic = (n: number): number => {
    const names = many(n)
    return stepsOf(() => names.filter((name) => names.includes(name)))
  }
  t.ok(quadratic(800) > quadratic(100) * 40)
  const copied = (n: number): number => stepsOf(() => {
    let all: string[] = []
    for (const name of many(n)) all = [...all, name]
  })
  t.ok(copied(800) > copied(100) * 40)
})
