// Which coding a request is answered in, which responses may be encoded, and the tags of what is: RFC 9110 §8.4, §12.5.3.
import fc from 'fast-check'
import t from 'tap'
import { acceptedCodings, encodedEtag, forbidsEncoding, mayBeEncoded } from '../../plugin/http/encoding.js'

/** Accept-Encoding, and the codings that are better than the body as it is, the best first. */
const FIELDS: Array<[field: string | string[] | undefined, codings: string]> = [
  [undefined, ''],
  ['', ''],
  [' ', ''],
  [',,', ''],
  ['gzip', 'gzip'],
  ['br', 'br'],
  ['gzip, br', 'br gzip'],
  ['br, gzip', 'br gzip'],
  ['gzip, deflate, br, zstd', 'br gzip'],
  ['gzip, deflate', 'gzip'],
  ['deflate', ''],
  ['GZip,BR', 'br gzip'],
  ['x-gzip', 'gzip'],
  [['gzip', 'br'], 'br gzip'],
  // Weights.
  ['gzip;q=1.0, br;q=0.9', 'gzip br'],
  ['br;q=0.5, gzip;q=0.5', 'br gzip'],
  ['br;q=0.001', 'br'],
  ['br ; Q=0.5 ,\tgzip', 'gzip br'],
  ['br;q=0, gzip', 'gzip'],
  ['br;q=0.000', ''],
  ['gzip;q=0', ''],
  // The body as it is: acceptable unless it is excluded, and better only by its weight.
  ['identity', ''],
  ['identity, gzip', 'gzip'],
  ['gzip;q=0.5', 'gzip'],
  ['gzip;q=0.5, identity', ''],
  ['br, gzip;q=0.5, identity;q=0.8', 'br'],
  ['identity;q=0', ''],
  ['identity;q=0, gzip;q=0.1', 'gzip'],
  // What is not named.
  ['*', 'br gzip'],
  ['*;q=0', ''],
  ['gzip, *;q=0', 'gzip'],
  ['br;q=0, *', 'gzip'],
  ['gzip, *;q=0.5', 'gzip br'],
  ['*;q=0.5, identity', ''],
  ['gzip;q=0.5, *', 'br'],
  ['identity;q=0, *;q=0.1', 'br gzip'],
  // What is no weight takes its member away; of two members of one coding the lower weight counts.
  ['br;q=2, gzip', 'gzip'],
  ['br;q=0.1234, gzip', 'gzip'],
  ['br;q=-1, br;q=., br;q=, br;q, br;level=1, br;q=1;q=1', ''],
  ['br;q=1., gzip;q=0.', 'br'],
  ['gzip, gzip;q=0', ''],
  ['gzip;q=0, gzip', ''],
  ['gzip;q=0.2, x-gzip, br;q=0.1', 'gzip br'],
  ['brr, abr, gzip2', '']
]

t.test('RFC 9110 §12.5.3: the codings that a client would rather have', async (t) => {
  for (const [field, codings] of FIELDS) t.equal(acceptedCodings(field).join(' '), codings, `Accept-Encoding: ${String(field)}`)
  for (const [field, codings] of FIELDS) t.equal(acceptedCodings(field).join(' '), codings, 'the same when it is known')
})

const weights = fc.integer({ min: 0, max: 1000 })
const upper = fc.boolean()

/** A field in which each coding stands once at most, and its weights in thousandths. */
const fields = fc.uniqueArray(
  fc.record({ coding: fc.constantFrom('br', 'gzip', 'identity', '*', 'deflate', 'zstd', 'x'), weight: fc.option(weights), upper }),
  { selector: ({ coding }) => coding, maxLength: 7 }
).map((members) => ({
  weights: new Map(members.map(({ coding, weight }) => [coding, weight ?? 1000])),
  field: members.map(({ coding, weight, upper }) => {
    const name = upper ? coding.toUpperCase() : coding
    return weight === null ? name : `${name};q=${(weight / 1000).toFixed(3)}`
  }).join(', ')
}))

t.test('any field: what is chosen is what the weights say, whatever its order', async (t) => {
  let runs = 0
  fc.assert(fc.property(fields, ({ field, weights }) => {
    runs++
    const weightOf = (coding: 'br' | 'gzip' | 'identity'): number => weights.get(coding) ?? weights.get('*') ?? 0
    const codings = acceptedCodings(field)
    // Never what is excluded, or not named at all, or liked less than the body as it is; and all that is not that.
    for (const coding of ['br', 'gzip'] as const) {
      const isWanted = weightOf(coding) > 0 && !(weightOf(coding) < weightOf('identity'))
      if (codings.includes(coding) !== isWanted) return false
    }
    if (codings.length < 2) return true
    return codings[0] === (weightOf('gzip') > weightOf('br') ? 'gzip' : 'br')
  }), { numRuns: 20_000 })
  t.equal(runs, 20_000)
})

t.test('any text: nothing throws, and no coding comes from nowhere', async () => {
  const text = fc.string({ unit: fc.constantFrom(...'brgzip*xid;q=01., \t"-'), maxLength: 300 })
  fc.assert(fc.property(text, (field) => {
    const codings = acceptedCodings(field)
    if (!codings.every((coding) => field.includes(coding) || field.includes('*'))) return false
    return codings.join() === acceptedCodings(`${field}${' '.repeat(250)}`).join()
  }), { numRuns: 20_000 })
})

t.test('which responses may be encoded', async (t) => {
  const types: Array<[type: string | undefined, is: boolean]> = [
    ['text/html; charset=utf-8', true], ['text/plain', true], ['text/css', true], ['TEXT/CSV', true],
    ['application/json; charset=utf-8', true], ['application/problem+json', true], ['application/ld+json', true],
    ['application/javascript', true], ['text/javascript', true], ['application/xml', true], ['application/atom+xml', true],
    ['image/svg+xml', true], ['application/wasm', true], ['application/x-ndjson', true], ['application/geo+json;charset=utf-8', true],
    [undefined, false], ['', false], ['image/png', false], ['image/jpeg', false], ['video/mp4', false], ['audio/ogg', false],
    ['application/zip', false], ['application/gzip', false], ['application/pdf', false], ['application/octet-stream', false],
    ['font/woff2', false], ['application/jsonp-of-something', false], ['application/xx-json', false], ['json', false]
  ]
  for (const [type, is] of types) t.equal(mayBeEncoded(200, { 'content-type': type }), is, String(type))
  const json = { 'content-type': 'application/json' }
  for (const [status, is] of [[200, true], [404, true], [301, true], [204, false], [205, false], [304, false]] as const) {
    t.equal(mayBeEncoded(status, json), is, String(status))
  }
  const others: Array<[fields: Record<string, string>, is: boolean]> = [
    [{ 'cache-control': 'max-age=5, No-Transform' }, false], [{ 'cdn-cache-control': 'no-transform' }, false],
    [{ 'cache-control': 'max-age=5' }, true], [{ 'cache-control': 'x="no-transform"' }, true],
    [{ 'content-encoding': 'gzip' }, false], [{ 'content-encoding': 'identity' }, false],
    [{ 'content-digest': 'sha-256=:x:' }, false], [{ 'repr-digest': 'sha-256=:x:' }, false], [{ digest: 'x' }, false],
    [{ 'content-md5': 'x' }, false], [{ 'content-range': 'bytes 0-1/2' }, false], [{ etag: '"a"' }, true]
  ]
  for (const [fields, is] of others) t.equal(mayBeEncoded(200, { ...json, ...fields }), is, JSON.stringify(fields))
  t.equal(forbidsEncoding(undefined), false)
})

t.test('RFC 9110 §8.8.3.3: each representation has a tag of its own, as strong or weak', async (t) => {
  t.equal(encodedEtag('"abc"', 'br'), '"abc-br"')
  t.equal(encodedEtag('W/"abc"', 'gzip'), 'W/"abc-gzip"')
  t.equal(encodedEtag('""', 'br'), '"-br"')
  t.equal(encodedEtag('abc', 'br'), 'abc-br')
})
