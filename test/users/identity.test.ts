// Whom an `identity` names: texts that many users share by mistake are nobody's, and no two lists have one text.
import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { CacheOptions } from '../../plugin/index.js'
import { identify } from '../../plugin/users/identity.js'
import { cachedApp, settled, type CachedApp } from '../helpers/app.js'

type Identity = NonNullable<CacheOptions['identity']>

/** What `identity` makes of a user that lacks what it names, or of a value that is no text. */
const SHARED_BY_MISTAKE: unknown[] = [
  'undefined', 'null', 'NaN', '[object Object]', '[object Promise]', '[object Undefined]', 'undefined:undefined', 'acme:undefined',
  'undefined:admin', 'acme/null', 'null|7', 'acme-NaN', 'acme_undefined', 'tenant=undefined', 'user undefined', 'undefinedundefined',
  'userundefined', 'usernull', 'userNaN', 'acme:userundefined', 'undefinednull', 'acme:', ':admin', 'acme|', '|7',
  '42undefined', 'undefined7', 'acme%3Aundefined', 'acme,', 'true', 'false', 'Infinity', 'userInfinity', 'class A {}', 'Bearer ', ' ada',
  ['acme', ' '],
  'a:[object Object]:b', 'Invalid Date', 'function id() {}', '() => 7', 'id() { return 7 }', 'Symbol(user)', ':', '::', ' ', '-',
  ['acme', undefined], [null, 'admin'], ['', 'admin'], ['acme', 'undefined'], ['acme', NaN], ['acme', {}], [['acme']], ['acme', 1.5],
  ['acme', true], [Promise.resolve('acme')], ['acme', () => 7], {}, true, false, NaN, 0.5, Infinity, Symbol('x'), () => 7
]

const NOBODY: unknown[] = [undefined, null, '', [], [undefined, undefined], [null, '']]

const SOMEBODY: unknown[] = [
  'ada', 'acme:admin', '7', 7, 0, 7n, 'Nullify', 'nan', 'truest', 'Annull7', 'müller', '中村', '::1', 'fe80::', '::ffff:127.0.0.1', 'auth0|7',
  ['acme', 'admin'], ['acme', 7, 7n], ['*', 'a']
]

const identityOf = (given: unknown): string | undefined => identify({ identity: () => given }, {})

t.test('somebody, nobody, and a mistake', async (t) => {
  for (const given of SHARED_BY_MISTAKE) {
    t.throws(() => identityOf(given), { code: 'FRC_OPTION', message: /^cache\.identity gave / }, String(Array.isArray(given) ? 'list' : typeof given))
  }
  for (const given of NOBODY) t.equal(identityOf(given), undefined)
  for (const given of SOMEBODY) t.type(identityOf(given), 'string')
})

t.test('any two different lists, and a list and a text, have different texts', async (t) => {
  const part = fc.oneof(fc.string({ minLength: 1 }), fc.constantFrom('a:b', 'a', 'b', '"', '","', '\0', '[', ']', '\\', ','), fc.integer(), fc.bigInt())
  const given = fc.oneof(part, fc.array(part, { minLength: 1, maxLength: 4 }))
  const whole = (value: unknown): string => JSON.stringify(value, (_, one: unknown) => typeof one === 'bigint' ? `big ${one}` : one)
  const textOf = (value: unknown): string | null => {
    try { return identityOf(value) ?? null } catch { return null }
  }
  fc.assert(fc.property(given, given, (one, other) => {
    const [text, more] = [textOf(one), textOf(other)]
    // A number and its digits are one identity, as they always were.
    const isSame = Array.isArray(one) || Array.isArray(other) ? whole(one) === whole(other) : String(one) === String(other)
    return text === null || more === null || (text === more) === isSame
  }), { numRuns: 2000, examples: [[['a', 'b:c'], ['a:b', 'c']], [['a'], 'a'], ['\0["a"]', ['a']], ['\0\0["a"]', '\0["a"]'], [['a', 'b'], '["a","b"]']] })
  t.pass()
})

/** Two users that the handler tells apart, and the identity does not. */
async function leaks (t: Test, identity: Identity): Promise<CachedApp> {
  const app = await cachedApp(t)
  app.addHook('onRequest', async (request) => { Object.assign(request, { user: { name: request.headers['x-name'] } }) })
  app.get('/', { cache: { key: 'k', identity } }, async (request) => `for ${request.headers['x-name']}`)
  for (const name of ['alice', 'bob', 'alice']) {
    for (const method of ['GET', 'HEAD'] as const) {
      const response = await app.inject({ method, url: '/', headers: { 'x-name': name } })
      await settled(app)
      if (method === 'GET') t.equal(response.body, `for ${name}`)
      t.equal(response.headers['content-length'], String(`for ${name}`.length))
      t.match(response.headers['cache-status'], /fwd=bypass; detail=policy/)
    }
  }
  return app
}

t.test('a text that users share by mistake leaks nothing, and the log says what to write', async (t) => {
  const userOf = (request: object): Record<string, unknown> => (request as { user: Record<string, unknown> }).user
  const identities: Identity[] = [
    (request) => `${String(userOf(request)['tenant'])}:${String(userOf(request)['role'])}`,
    (request) => String(userOf(request)),
    (request) => [userOf(request)['tenant'] as undefined, 'admin']
  ]
  for (const identity of identities) {
    const { lines } = await leaks(t, identity)
    t.match(lines.find(({ msg }) => msg === 'cache policy failed'), { err: { message: /cache\.identity gave .*give an array such as/ } })
  }
})

t.test('a list tells users apart, all of whom one invalidation ends', async (t) => {
  const app = await cachedApp(t)
  const listOf = ({ headers }: { headers: Record<string, unknown> }): string[] => String(headers['x-name']).split(',')
  app.get('/', { cache: { key: 'k', identity: listOf } }, async (request) => `for ${request.headers['x-name']}`)
  const get = async (name: string): Promise<[string, string]> => {
    const { body, headers } = await app.inject({ url: '/', headers: { 'x-name': name } })
    await settled(app)
    return [body, String(headers['cache-status'])]
  }
  for (const status of [/fwd=miss/, /hit/]) for (const name of ['a:b,c', 'a,b:c', 'a,b']) t.match(await get(name), [`for ${name}`, status])
  await app.cache.invalidate('k')
  for (const name of ['a:b,c', 'a,b:c', 'a,b']) t.match(await get(name), [`for ${name}`, /fwd=miss/])
})

t.test('where nobody in particular asks, marks count', async (t) => {
  const app = await cachedApp(t)
  app.get('/', { cache: { key: 'k', identity: () => [undefined, null] } }, async () => 'x')
  t.match((await app.inject({ url: '/', headers: { authorization: 'x' } })).headers['cache-status'], /detail=authorization/)
})
