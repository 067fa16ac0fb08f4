// A new layout of entries is one number: with LAYOUT_VERSION raised by one, and nothing else, codec, scripts, stores and
// routes work as before, and two builds of different layouts share a Redis without serving each other's entries.
import { execFile } from 'node:child_process'
import { execPath } from 'node:process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { LAYOUT_VERSION } from '../../plugin/store/layout.js'
import { startRedis } from '../helpers/redis.js'
import { URLS, ask, openSite, type Answered } from './layout-site.js'

const HOOK = `--import=${new URL('../helpers/next-layout.mjs', import.meta.url).href}`
const pathOf = (file: string): string => fileURLToPath(new URL(`../${file}`, import.meta.url))
const env = { ...process.env, LAYOUT: String(LAYOUT_VERSION + 1) }

for (const file of ['store/layout-contract.ts', 'route/soft.test.ts', 'route/variants.test.ts']) {
  t.spawn(execPath, [HOOK, pathOf(file)], { env }, `under the next layout: ${file}`)
}

t.test('two builds of different layouts on one Redis', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const redis = server.client()
  await redis.ping()
  const app = await openSite(redis, 'this')
  t.teardown(async () => { await app.close() })
  const askNext = async (...urls: string[]): Promise<Answered[]> => {
    const args = [HOOK, pathOf('store/layout-site.ts'), String(server.port), ...urls]
    const { stdout } = await promisify(execFile)(execPath, args, { env })
    return JSON.parse(stdout) as Answered[]
  }
  const isHit = false
  t.strictSame(await ask(app, URLS), URLS.map(() => ({ by: 'this', isHit, unreadable: 0 })))
  t.match(await ask(app, URLS), URLS.map(() => ({ by: 'this', unreadable: 0 })))
  t.ok((await ask(app, ['/plain', '/varies'])).every(({ isHit }) => isHit))
  // A marker of another layout counts as an entry that is not readable, too.
  t.strictSame(await askNext(...URLS, '/plain', '/varies'), [
    { by: 'next', isHit, unreadable: 1 }, { by: 'next', isHit, unreadable: 2 }, { by: 'next', isHit, unreadable: 3 },
    { by: 'next', isHit: true, unreadable: 3 }, { by: 'next', isHit: true, unreadable: 3 }
  ], 'the next build serves nothing of this one, and overwrites it')
  t.strictSame(await ask(app, URLS), URLS.map((_, i) => ({ by: 'this', isHit, unreadable: i + 1 })), 'nor the other way round')
  await askNext('/plain', '/varies')
  await app.cache.invalidate('plain', { soft: true })
  await app.cache.invalidate('varies')
  t.strictSame((await redis.keys('*plain*')).concat(await redis.keys('*varies*')), [], 'each ends the other\'s entries')
})
