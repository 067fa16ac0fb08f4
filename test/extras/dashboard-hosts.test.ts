// DNS rebinding: a page of another site whose name was made to lead to the dashboard is of one origin with it for browsers.
import { isOurHost, hostname } from '../../plugin/extras/dashboard/hosts.js'
import t from 'tap'
import { openSite, PROTECTION, type SiteOptions } from './dashboard-site.js'

/** As a browser sends it that believes the page to be the dashboard's own. */
const rebound = (host: string): Record<string, string> => ({ host, origin: `http://${host}`, 'sec-fetch-site': 'same-origin' })

const OURS = ['localhost', 'localhost:3000', 'LOCALHOST', 'localhost.', 'shop.localhost:3000', '127.0.0.1', '127.0.0.1:3000', '10.1.2.3', '[::1]:3000', '[fe80::1]']
const OTHERS = [
  'evil.test', 'evil.test:3000', 'localhost.evil.test', '127.0.0.1.evil.test', 'evil.test:localhost', 'localhost@evil.test', 'evil.test#localhost',
  'evil.test/localhost', 'notlocalhost', 'evil.test.', '[::1', '::1', '[evil.test]', 'localhost, evil.test', 'localhost evil.test'
]

t.test('where everybody who reaches it may, the host must be ours', async (t) => {
  const { get, post, lines, app } = await openSite(t)
  for (const host of OURS) t.equal((await get('/', rebound(host))).statusCode, 200, host)
  await app.cache.getOrSet('kept', { ttl: 60 }, () => 1)
  for (const host of OTHERS) {
    for (const answer of [await get('/', rebound(host)), await get('/api/overview', rebound(host)), await post('/api/invalidate', { all: true, target: { all: true } }, rebound(host))]) {
      t.equal(answer.statusCode, 403, host)
      t.match(answer.headers, { ...PROTECTION, 'cache-control': 'no-store' })
      t.notOk(answer.body.includes('evil'))
    }
  }
  t.equal(app.cache.stats().invalidations, 0)
  t.equal(lines.filter(({ msg }) => /not among its hosts/.test(String(msg))).length, 1, 'said once')
})

t.test('hosts that are said to be ours', async (t) => {
  const { get } = await openSite(t, { dashboard: { public: true, hosts: ['ops.example.com'] } })
  for (const host of ['ops.example.com', 'OPS.example.com:8443', 'localhost']) t.equal((await get('/', { host })).statusCode, 200, host)
  for (const host of ['ops.example.com.evil.test', 'x.ops.example.com', 'example.com']) t.equal((await get('/', { host })).statusCode, 403, host)
})

t.test('with a guard all may, unless hosts are named', async (t) => {
  const guarded = await openSite(t, { dashboard: { guard: () => true } })
  t.equal((await guarded.get('/', { host: 'any.test' })).statusCode, 200)
  let asked = 0
  const named = await openSite(t, { dashboard: { guard: () => { asked++; return true }, hosts: ['ops.example.com'] } })
  t.equal((await named.get('/', { host: 'any.test' })).statusCode, 403)
  t.equal(asked, 0)
  t.equal((await named.get('/', { host: 'ops.example.com' })).statusCode, 200)
})

t.test('a page can write X-Forwarded-Host itself', async (t) => {
  const { get } = await openSite(t, { server: { trustProxy: true }, dashboard: { public: true, hosts: ['ops.example.com', 'inside'] } })
  const ask = async (host: string, forwarded: string): Promise<number> => (await get('/', { host, 'x-forwarded-host': forwarded })).statusCode
  t.equal(await ask('evil.test', 'localhost'), 403)
  t.equal(await ask('inside:3000', 'evil.test'), 403)
  t.equal(await ask('inside:3000', 'ops.example.com'), 200)
})

t.test('what is no list of hosts', async (t) => {
  for (const hosts of ['ops.example.com', [1], ['http://x'], ['x:80'], [''], ['a b'], null, {}]) {
    await t.rejects(openSite(t, { dashboard: { public: true, hosts } } as unknown as SiteOptions), { code: 'FRC_OPTION', message: /hosts is .*without ports/ })
  }
  t.equal(hostname('X.test:80'), 'x.test')
  t.notOk(isOurHost({ headers: { host: '' }, host: '' }, []))
  t.notOk(isOurHost({ headers: {}, host: '' }, []))
  t.ok(isOurHost({ headers: { ':authority': 'localhost:1' }, host: 'localhost:1' }, []), 'HTTP/2')
})
