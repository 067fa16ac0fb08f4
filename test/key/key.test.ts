// Keys: what a template makes of values, and that no two different requests share one.
import fc from 'fast-check'
import t from 'tap'
import {
  boundKey, boundPrefix, buildKey, defaultKey, escapeKey, escapeTag, fillTemplate, own, parseTemplate, storedKeys,
  readPath
} from '../../plugin/key/key.js'

const fill = (template: string, values: Record<string, unknown>): string =>
  fillTemplate(parseTemplate(template), ({ name }) => own(values, name))

t.test('a template takes values in', async (t) => {
  const rows: [template: string, values: Record<string, unknown>, key: string][] = [
    ['user:{id}', { id: 7 }, 'user:7'],
    ['user:{id}', { id: '7' }, 'user:7'],
    ['user:{id}', { id: 'a:b' }, 'user:a%3Ab'],
    ['user:{id}', { id: '{x}%7D' }, 'user:%7Bx%7D%257D'],
    ['user:{id}', { id: 'Zoë' }, 'user:Zo%C3%AB'],
    ['user:{id}', { id: '' }, 'user:'],
    ['posts:{tag}:page:{page}', { tag: 'a' }, 'posts:a:page:%-'],
    ['posts:{tag}:page:{page}', { tag: null, page: undefined }, 'posts:%n:page:%-'],
    ['list:{ids}', { ids: ['b', 'a,c'] }, 'list:b,a%2Cc'],
    ['list:{ids}', { ids: [] }, 'list:%[%]'],
    ['list:{ids}', { ids: ['a'] }, 'list:%[a]'],
    ['filter:{f}', { f: { b: 1, a: 2 } }, 'filter:%=%7B%22a%22%3A2%2C%22b%22%3A1%7D'],
    ['on:{on}', { on: true }, 'on:true'],
    ['all', {}, 'all']
  ]
  for (const [template, values, key] of rows) {
    t.equal(fill(template, values), key)
    t.equal(buildKey(template, values), key, 'cache.key builds the same')
  }
})

t.test('cache.key takes values by scope where a name is in both', async (t) => {
  t.equal(buildKey('x:{params.id}:{query.id}', { params: { id: 1 }, query: { id: 2 } }), 'x:1:2')
  t.equal(buildKey('x:{params.id}:{query.page}', { id: 1, page: 2 }), 'x:1:2')
})

t.test('cache.key refuses what would name another key than was meant', async (t) => {
  t.throws(() => buildKey('user:{id}', { uid: 7 }), { code: 'FRC_KEY', message: /no placeholder \{uid\}/ })
  t.throws(() => buildKey(''), { code: 'FRC_KEY' })
  t.throws(() => buildKey('user:{id'), { code: 'FRC_KEY', message: /no partner/ })
  t.throws(() => buildKey('user:{}'), { code: 'FRC_KEY', message: /not a placeholder/ })
  t.throws(() => buildKey('user:{params.}'), { code: 'FRC_KEY', message: /not a placeholder/ })
  t.throws(() => buildKey('user:{id}', { id: Symbol('x') }), { code: 'FRC_KEY', message: /^id is a symbol, and a key can't be built from that/ })
})

t.test('braces and lone surrogates are encoded in every key, and no two keys are stored under one name', async (t) => {
  t.equal(escapeKey('a{b}c'), 'a%<b%>c')
  t.equal(escapeKey('a\ud800b'), 'a%!D800b')
  t.equal(escapeKey('😀'), '😀')
  const forms = ['{', '}', '%7B', '%<', '%>', '%_<', '%__<', '%', '_', '<', '%!D800', '\ud800', 'D800', '%~', '~', '%25', 'a']
  const text = fc.array(fc.constantFrom(...forms), { maxLength: 6 }).map((parts) => parts.join(''))
  let compared = 0
  fc.assert(fc.property(text, text, (one, other) => {
    const stored = escapeKey(one)
    t.notMatch(stored, /[{}]/)
    if (one !== other) compared++
    return one === other || stored !== escapeKey(other)
  }), { numRuns: 20_000 })
  t.ok(compared > 10_000, `${compared} pairs compared`)
})

t.test('what cache.key builds, and what logs show, is found as it is', async (t) => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (value) => {
    const key = boundKey(buildKey('a:{b}', { b: value.repeat(200) }))
    return escapeKey(key) === key || storedKeys(key)[0] === key
  }))
  t.strictSame(storedKeys('a{b'), ['a%<b'])
  t.strictSame(storedKeys('a%<b'), ['a%<b', 'a%_<b'], 'a stored name, or a key that is written so')
  t.strictSame(storedKeys('a%_<b'), ['a%_<b', 'a%__<b'])
  const [long] = storedKeys('x'.repeat(2_000))
  t.equal(storedKeys(long!)[0], long)
  t.equal(escapeTag(escapeTag('a{b}\ud800')), escapeTag('a{b}\ud800'))
})

/** Strings made of what keys are made of, and of what breaks encoders. */
const nasty = fc.array(fc.constantFrom(
  ':', '{', '}', '%', '%7B', '%-', '%[', ']', '%=', ',', ';', '?', '&', '=', '\0', '/', '*', '__proto__', 'constructor', 'a', '1', '',
  '\ud800', '\udc00', '😀', 'é', 'e\u0301', ' ', '+', '\n', '"', '\\'
), { maxLength: 5 }).map((parts) => parts.join(''))
const value = fc.oneof(nasty, fc.constant(undefined), fc.array(nasty, { maxLength: 3 }))

t.test('two different sets of values never make one key', async (t) => {
  const same = (a: unknown, b: unknown): boolean => JSON.stringify(a, undef) === JSON.stringify(b, undef)
  const pair = fc.record({ a: value, b: value })
  let compared = 0
  fc.assert(fc.property(pair, pair, (one, other) => {
    if (same(one, other)) return true
    compared++
    return fill('x:{a}:{b}', one) !== fill('x:{a}:{b}', other)
  }), { numRuns: 20_000 })
  t.ok(compared > 10_000, `${compared} pairs compared`)
})

t.test('two different requests never make one default key', async (t) => {
  const fields = fc.dictionary(nasty, fc.oneof(nasty, fc.array(nasty, { maxLength: 3 })), { maxKeys: 3 })
  const request = fc.record({ params: fields, query: fields })
  const same = (a: object, b: object): boolean => sorted(a) === sorted(b)
  let compared = 0
  fc.assert(fc.property(request, request, (one, other) => {
    if (same(one, other)) return true
    compared++
    return defaultKey('/x', one) !== defaultKey('/x', other)
  }), { numRuns: 20_000 })
  t.ok(compared > 10_000, `${compared} pairs compared`)
})

t.test('the default key sorts the query and leaves out what is absent', async (t) => {
  t.equal(defaultKey('/users/:id', { params: { id: '7' }, query: { b: '1', a: ['x', 'y'] } }), '/users/:id;id=7?a=x,y&b=1')
  t.equal(defaultKey('/users', { params: {}, query: {} }), '/users')
  t.equal(defaultKey('/x/:n(^\\d{2})', {}), '/x/:n(^\\d%<2%>)')
})

t.test('params of a path are read as the router reads them', async (t) => {
  const rows: [path: string, params: string[], shape: string][] = [
    ['/users/:id', ['id'], '/users/:{}'],
    ['/users/:id?', ['id'], '/users/:{}'],
    ['/users/:id(^\\d+$)?', ['id'], '/users/:{}'],
    ['/files/*', ['*'], '/files/*'],
    ['/at/:hour(^\\d{2})h:minute(^(\\d|:)+)m', ['hour', 'minute'], '/at/:{}h:{}m'],
    ['/range/:from-:to', ['from', 'to'], '/range/:{}-:{}'],
    ['/img/:name.:ext', ['name', 'ext'], '/img/:{}.:{}'],
    ['/a::b/:c', ['c'], '/a::b/:{}'],
    ['/', [], '/']
  ]
  for (const [path, params, shape] of rows) t.strictSame(readPath(path), { params, shape }, path)
})

function undef (_name: string, value: unknown): unknown {
  return value === undefined ? { absent: true } : value
}

function sorted (request: object): string {
  return JSON.stringify(Object.entries(request).map(([scope, fields]) =>
    [scope, Object.entries(fields as object).sort(([a], [b]) => (a < b ? -1 : 1))]))
}

t.test('a long key is never cut in the middle of a character', async (t) => {
  const long = 'x'.repeat(899) + '\u{1f600}'.repeat(60)
  const bounded = boundKey(long)
  t.ok(bounded.length < 1000)
  t.equal(storedKeys(bounded)[0], bounded, 'as it is given back by users')
  t.ok(bounded.startsWith(boundPrefix(long)), 'and is found by its prefix')
})
