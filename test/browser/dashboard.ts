// The dashboard in a real browser, over two processes and a Redis of their own: `npm run test:browser`. Its screenshots stay
// in build/screenshots.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import axe from 'axe-core'
import { chromium, type Browser, type BrowserContext, type Locator, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { startRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'
import { PASSWORD, USER } from './shop/account.js'

interface Shop { base: string, child: ChildProcess }

const program = fileURLToPath(new URL('shop/app-process.ts', import.meta.url))
const screenshots = fileURLToPath(new URL('../../build/screenshots/', import.meta.url))
const account = { httpCredentials: { username: USER, password: PASSWORD } }

const redis = await startRedis()
const [one, other] = await Promise.all([startShop('tier'), startShop('')]) as [Shop, Shop]
const browser: Browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: ['--no-sandbox']
})
await mkdir(screenshots, { recursive: true })

t.teardown(async () => {
  await browser.close()
  await Promise.all([one, other].map(stop))
  await redis.stop()
})

async function startShop (tier: string, routes = 0): Promise<Shop> {
  const child = fork(program, [String(redis.port), tier, String(routes)])
  const [base] = await once(child, 'message') as [string]
  return { base, child }
}

async function stop ({ child }: Shop): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  await once(child, 'exit')
}

interface Look { width?: number, colorScheme?: 'light' | 'dark', shop?: Shop, processes?: string }

/** Opens the dashboard of the first process. What it does wrong, and whom it asks besides that, is collected. */
async function open (
  t: Test, { width = 1280, colorScheme = 'light', shop = one, processes = '2 processes' }: Look = {}
): Promise<{ page: Page, faults: string[] }> {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, ...account })
  t.teardown(async () => { await context.close() })
  const { page, faults } = await watched(context, shop)
  await page.goto(`${shop.base}/cache`)
  await page.getByText(processes).waitFor()
  return { page, faults }
}

async function watched (context: BrowserContext, { base }: Shop): Promise<{ page: Page, faults: string[] }> {
  const page = await context.newPage()
  const faults: string[] = []
  page.on('console', (message) => { faults.push(`${message.type()}: ${message.text()}`) })
  page.on('pageerror', (error) => { faults.push(String(error)) })
  page.on('request', (request) => { if (!request.url().startsWith(`${base}/cache`)) faults.push(`asks ${request.url()}`) })
  return { page, faults }
}

/** The cells of a row by their columns. */
async function cells (row: Locator): Promise<Record<string, string>> {
  const texts = await row.locator('td').evaluateAll((all) => all.map((cell) => [cell.getAttribute('data-label'), cell.textContent]))
  return Object.fromEntries(texts)
}

function rowOf (page: Page, section: string, text: string): Locator {
  return page.locator(`#${section} tbody tr`).filter({ hasText: text })
}

/** Resolves when the row says so: numbers come with the next look at the server. */
async function says (page: Page, section: string, text: string, wanted: Record<string, string>): Promise<void> {
  const found = async (): Promise<Record<string, string>> => await cells(rowOf(page, section, text).first())
  await until(async () => {
    const row = await found()
    return Object.entries(wanted).every(([name, value]) => row[name] === value)
  }, async () => `${text}: ${JSON.stringify(await found())}, not ${JSON.stringify(wanted)}`)
}

interface Said { status: string, text: string }

/** What was sent to each so far, by path. */
const sent = new Map<string, number>()

function sentTo (shop: Shop, path: string): number {
  return sent.get(shop.base + path) ?? 0
}

async function send (shop: Shop, path: string, headers: Record<string, string> = {}): Promise<Said> {
  sent.set(shop.base + path, sentTo(shop, path) + 1)
  const response = await fetch(shop.base + path, { headers })
  return { status: response.headers.get('cache-status') ?? '', text: await response.text() }
}

/** Until the entry is stored. */
async function fill (shop: Shop, path: string, headers: Record<string, string> = {}): Promise<void> {
  await until(async () => (await send(shop, path, headers)).status.includes('; hit'), `${path} is stored`)
}

async function lookUp (page: Page, kind: 'Key' | 'GET request', what: string): Promise<string> {
  await page.locator('#look').getByRole('radio', { name: kind }).check()
  await page.locator('#look [name="what"]').fill(what)
  await page.evaluate("document.getElementById('found').replaceChildren()")
  await page.getByRole('button', { name: 'Look up' }).click()
  await page.locator('#found > p').first().waitFor()
  return await page.locator('#found').innerText()
}

t.test('live numbers of both processes, together and each', async (t) => {
  const { page, faults } = await open(t)
  const [route, path] = ['GET /items/:id', '/items/1']
  await says(page, 'routes', route, { Requests: '0', 'Hit rate': '–', 'Hit p50 / p99': '–', 'Miss p50 / p99': '–' })
  await fill(one, path)
  await fill(other, path)
  for (let i = 0; i < 8; i++) await send(i < 5 ? one : other, path)
  const [ofOne, ofOther] = [sentTo(one, path), sentTo(other, path)]
  await says(page, 'routes', route, { Requests: String(ofOne + ofOther), Bypassed: '0', 'Not stored': '0' })
  const { 'Hit p50 / p99': hit, 'Miss p50 / p99': miss } = await cells(rowOf(page, 'routes', route))
  t.match(hit, /^[\d.]+ ms \/ [\d.]+ ms$/)
  t.match(miss, /^[\d.]+ ms \/ [\d.]+ ms$/)

  const [pidOfOne, pidOfOther] = [one, other].map(({ child }) => `process ${child.pid}`) as [string, string]
  await says(page, 'processes', pidOfOne, { Requests: String(ofOne), State: 'fine', 'As of': 'now' })
  await says(page, 'processes', pidOfOther, { Requests: String(ofOther), Tier: 'none', State: 'fine' })
  t.match(await cells(rowOf(page, 'processes', pidOfOne)), { Tier: /\d names/ })
  const choice = page.locator('#process')
  await choice.selectOption({ label: await choice.locator('option').filter({ hasText: pidOfOther }).innerText() })
  await says(page, 'routes', route, { Requests: String(ofOther) })
  await choice.selectOption('')

  await page.locator('#route').selectOption(route)
  await page.getByText(`${ofOne + ofOther} requests in this time`).waitFor()
  t.match(await page.locator('#curve-text').innerText(), /: \d+ hits, \d+ miss(es)?, 0 bypassed. Hit rate \d\d % ?.$/)
  t.equal(await page.locator('#curve canvas').count(), 1)
  await page.locator('#route').selectOption('GET /hello')
  await page.getByText('No requests in this time.').waitFor()
  await page.locator('#route').selectOption('')

  await send(one, '/me', { authorization: 'Bearer x' })
  await send(other, '/me')
  await says(page, 'reasons', 'Authorization header', { Requests: '1', What: 'bypassed' })
  await says(page, 'reasons', 'its Cache-Control says private', { Requests: '1', What: 'not stored' })
  await says(page, 'store', String(redis.port), { 'When full': 'noeviction', Evicted: '0' })
  t.match(await page.locator('#store').innerText(), /(Redis|Valkey) \d+\.\d+[^]*hits without Redis/)
  t.same(faults, [])
})

t.test('a key is looked up, its tag invalidated: the next request of either process is a miss', async (t) => {
  const { page, faults } = await open(t)
  t.match(await lookUp(page, 'Key', 'item:2'), /miss, as nothing is stored for it[^]*Entry\s*none/)
  await fill(one, '/items/2')
  const found = await lookUp(page, 'Key', 'item:2')
  for (const part of [
    'key "item:2": hit, as what is stored is fresh', /Entry\s+status 200, \d+ B, stored \d+ s ago/, /Time\s+\d+ (s|min) to live/,
    'yes: nothing has invalidated it', /items\s+not invalidated since/, /team:red\s+not invalidated since/
  ]) t.match(found, part)
  const byRequest = await lookUp(page, 'GET request', '/items/2')
  for (const part of [
    'GET /items/2: hit', /Route\s+GET \/items\/:id/, /Key\s+item:2/,
    'ttl 600 s; tags items; staleWhileRevalidate; lookup in onRequest'
  ]) t.match(byRequest, part)

  await page.getByRole('button', { name: 'Invalidate tag team:red' }).click()
  await page.getByText('Invalidated: tag team:red.').waitFor()
  const after = await lookUp(page, 'Key', 'item:2')
  t.match(after, 'miss, as a tag of what is stored was invalidated since')
  t.match(after, /Valid\s+no: it was invalidated/)
  t.match(after, /team:red\s+invalidated since/)
  t.match((await send(other, '/items/2')).status, 'fwd=miss')
  t.same(faults, [])
})

t.test('variants, by the headers of a request', async (t) => {
  const { page, faults } = await open(t)
  await fill(one, '/hello', { 'accept-language': 'de' })
  t.match(await lookUp(page, 'Key', 'hello'), /miss[^]*Selected by\s+accept-language/)
  await page.getByText('With request headers').click()
  await page.getByLabel('One on each line').fill('Accept-Language: de')
  t.match(await lookUp(page, 'Key', 'hello'), /hit, as what is stored is fresh[^]*Selected by\s+accept-language/)
  t.match(await lookUp(page, 'GET request', '/hello'), /GET \/hello: hit/)
  t.same(faults, [])
})

t.test('a key, a prefix, softly: by the form, and by keyboard alone', async (t) => {
  const { page, faults } = await open(t)
  const form = page.locator('#invalidate')
  const done = page.locator('#done')
  await fill(one, '/items/3')
  await form.locator('[name="what"]').focus()
  await page.keyboard.type('item:3')
  await page.keyboard.press('Enter')
  await done.getByText('Invalidated: key item:3. 1 entry went.').waitFor()
  t.equal(await page.locator(':focus').getAttribute('name'), 'what', 'the focus stays')
  t.match((await send(other, '/items/3')).status, 'fwd=miss')

  await fill(one, '/items/3')
  await form.locator('[name="what"]').focus()
  await page.keyboard.press('Tab')
  t.equal(await page.locator(':focus').innerText(), 'Invalidate')
  await page.keyboard.press('Tab')
  t.equal(await page.locator(':focus').getAttribute('name'), 'soft')
  await page.keyboard.press('Space')
  await page.keyboard.press('Shift+Tab')
  await page.keyboard.press('Enter')
  await done.getByText('Softly invalidated: key item:3. 1 entry became stale.').waitFor()
  t.match((await send(other, '/items/3')).status, /; hit; ttl=-\d/, 'served stale')

  await fill(one, '/items/3')
  await fill(one, '/items/4')
  // Arrows choose among radio buttons.
  await form.getByRole('radio', { name: 'Key', exact: true }).focus()
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('ArrowDown')
  t.equal(await page.locator('#invalidate-label').innerText(), 'Beginning of keys')
  t.equal(await form.getByRole('checkbox').isDisabled(), true, 'what begins so can\'t be made stale')
  await form.locator('[name="what"]').fill('item:')
  await page.keyboard.press('Enter')
  await done.getByText(/Invalidated: all keys that begin with item:. \d entries went./).waitFor()
  for (const path of ['/items/3', '/items/4']) t.match((await send(other, path)).status, 'fwd=miss', path)

  await form.getByRole('radio', { name: 'Tag' }).check()
  await form.locator('[name="what"]').fill('team:redd')
  await page.keyboard.press('Enter')
  await done.getByText('Invalidated: tag team:redd. Nothing had this tag, so nothing has changed.').waitFor()
  await form.getByRole('radio', { name: 'Key', exact: true }).check()
  await form.locator('[name="what"]').fill('boook:3')
  await page.keyboard.press('Enter')
  await done.getByText('Invalidated: key boook:3. Nothing was stored under this key, so nothing has changed.').waitFor()
  await form.getByRole('radio', { name: 'Tag' }).check()
  await form.locator('[name="what"]').fill('  ')
  await form.getByRole('button', { name: 'Invalidate' }).click()
  await done.getByText('a tag').waitFor()
  t.match(await done.getAttribute('class'), 'failed', 'what is wrong is said')
  t.same(faults.filter((fault) => !fault.includes('400 (Bad Request)')), [])
})

t.test('at 1280 and 390 px, light and dark: screenshots, nothing sideways, no violation found by axe', async (t) => {
  await fill(one, '/items/5')
  for (const width of [1280, 390]) {
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page, faults } = await open(t, { width, colorScheme })
      await lookUp(page, 'Key', 'item:5')
      const name = `${width} px, ${colorScheme}`
      const ground = await page.evaluate('getComputedStyle(document.body).backgroundColor')
      t.equal(ground, colorScheme === 'light' ? 'rgb(244, 245, 247)' : 'rgb(18, 21, 26)', name)
      t.equal(await page.evaluate('document.documentElement.scrollWidth'), width, `${name}: as wide as the screen`)
      const [legend, text] = await page.evaluate(`[document.querySelector('.u-legend').getBoundingClientRect().bottom,
        document.getElementById('curve-text').getBoundingClientRect().top]`) as [number, number]
      t.ok(legend <= text, `${name}: the curve's legend ends at ${legend} px, the text begins at ${text}`)
      await page.screenshot({ path: `${screenshots}dashboard-${width}-${colorScheme}.png`, fullPage: true })
      t.same(faults, [], `${name}: neither errors nor requests to others`)
      t.same(await violations(page), [], `${name}: axe`)
    }
  }
})

t.test('200 routes: less than 100 kB of document; sorted, searched, filtered, a page at a time', async (t) => {
  const large = await startShop('', 200)
  t.teardown(async () => { await stop(large) })
  const pathOf = (i: number): string => `/api/v1/departments/7/${['orders', 'invoices', 'articles', 'suppliers'][i % 4]}-${i}/1`
  for (let i = 0; i < 200; i++) {
    await send(large, pathOf(i), { authorization: 'Bearer x' })
    await send(large, pathOf(i))
    for (let hits = 0; hits < i % 7; hits++) await send(large, pathOf(i))
  }
  for (const width of [1280, 390]) {
    const { page, faults } = await open(t, { width, shop: large, processes: '1 process' })
    const routes = page.locator('#routes tbody tr')
    const matching = page.locator('#matching')
    const numbers = async (name: string): Promise<number[]> => (await page.locator(`#routes [data-label="${name}"]`).allInnerTexts()).map(Number)
    await matching.getByText('203 routes', { exact: true }).waitFor()
    const bytes = await page.evaluate('new TextEncoder().encode(document.documentElement.outerHTML).length') as number
    t.ok(bytes < 100_000, `${width} px: ${bytes} bytes`)
    t.comment(`${width} px: ${bytes} bytes of document`)
    await page.screenshot({ path: `${screenshots}dashboard-200-routes-${width}.png` })
    await page.screenshot({ path: `${screenshots}dashboard-200-routes-${width}-full.png`, fullPage: true })
    t.equal(await page.evaluate('document.documentElement.scrollWidth'), width)
    const tops = await Promise.all(['#look', '#invalidate'].map(async (form) => {
      const box = await page.locator(form).boundingBox()
      return box!.y + box!.height
    }))
    t.ok(tops.every((bottom) => bottom < 900), `looking up and invalidating are on the first screen: ${tops}`)

    const shown = await numbers('Requests')
    const size = width === 1280 ? 25 : 10
    t.equal(shown.length, size)
    t.strictSame(shown, [...shown].sort((a, b) => b - a), 'the busiest first')
    const sort = async (name: string): Promise<void> => {
      if (width === 1280) await page.locator('#routes thead').getByRole('button', { name, exact: true }).click()
      else await page.locator('#filter [name="sort"]').selectOption(name)
    }
    await sort('Route')
    t.match(await routes.first().innerText(), 'articles-10/', 'by path')
    await page.locator('#routes').getByRole('button', { name: 'Next' }).click()
    await page.locator('#routes').getByText(`${size + 1} to ${2 * size} of 203`).waitFor()
    await page.locator('#filter').getByLabel('Find').fill('ORDERS departments')
    await matching.getByText('50 of 203 routes').waitFor()
    await page.locator('#routes').getByText(`${size + 1} to ${2 * size} of 50`).waitFor()
    await page.locator('#filter').getByLabel('Find').fill('orders-40/')
    await matching.getByText('1 of 203 routes').waitFor()
    t.match(await routes.innerText(), /orders-40[^]*"?page"?/, 'with its note')
    t.equal(await page.locator('#reasons tbody tr').count(), 1, 'and its reasons alone')
    await page.locator('#filter').getByLabel('Find').fill('')
    await page.locator('#filter').getByLabel('Only').selectOption('notes')
    await matching.getByText('20 of 203 routes').waitFor()
    await page.locator('#filter').getByLabel('Only').selectOption('refused')
    await matching.getByText('0 of 203 routes').waitFor()
    await page.locator('#routes').getByText('No such route.').waitFor()
    await page.locator('#filter').getByLabel('Only').selectOption('')
    await page.locator('#filter').getByLabel('Find').fill('suppliers-199')
    await page.getByRole('button', { name: /suppliers-199/ }).click()
    await page.getByText('5 requests in this time').waitFor()
    t.match(await page.locator('#route').inputValue(), /suppliers-199/, 'its curve is chosen')
    t.same(faults, [], `${width} px`)
    t.same(await violations(page), [], `${width} px: axe`)
  }
})

t.test('axe finds what is wrong', async (t) => {
  const { page } = await open(t)
  await page.evaluate("document.getElementById('curve').removeAttribute('aria-labelledby')")
  t.same(await violations(page), ['role-img-alt'])
})

async function violations (page: Page): Promise<string[]> {
  await page.evaluate(axe.source)
  return await page.evaluate('window.axe.run().then(({ violations }) => violations.map(({ id }) => id))')
}

t.test('whom the guard does not know sees nothing', async (t) => {
  const context = await browser.newContext()
  t.teardown(async () => { await context.close() })
  for (const path of ['/cache', '/cache/', '/cache/dashboard.js', '/cache/api/overview']) {
    // A page would have Chromium ask for a password.
    const response = await context.request.get(one.base + path)
    t.equal(response.status(), 401, path)
    t.equal(await response.text(), 'The guard of this dashboard did not let you through.\n')
  }
})

t.test('another site\'s page can\'t invalidate with the visitor\'s password', async (t) => {
  await fill(one, '/items/6')
  const context = await browser.newContext(account)
  t.teardown(async () => { await context.close() })
  const site = createServer((_, response) => { response.setHeader('content-type', 'text/html').end('<title>other site</title>') })
  site.listen(0, '127.0.0.1')
  await once(site, 'listening')
  t.teardown(() => { site.close(); site.closeAllConnections() })
  const page = await context.newPage()
  // The visitor has been there: the browser knows the password.
  await page.goto(`${one.base}/cache/`)
  await page.goto(`http://localhost:${(site.address() as AddressInfo).port}/`)
  const target = JSON.stringify({ target: 'item:6' })
  const tries = (type: string, mode: string): string => `fetch('${one.base}/cache/api/invalidate', { method: 'POST', mode: '${mode}',
    credentials: 'include', headers: { 'content-type': '${type}' }, body: '${target}' }).then(() => 'sent', () => 'refused')`
  t.equal(await page.evaluate(tries('text/plain', 'no-cors')), 'refused')
  t.equal(await page.evaluate(tries('application/json', 'cors')), 'refused')
  await page.evaluate(`(() => {
    const form = document.createElement('form')
    Object.assign(form, { method: 'POST', enctype: 'text/plain', action: '${one.base}/cache/api/invalidate' })
    const input = document.createElement('input')
    Object.assign(input, { name: '{"target":"item:6","x":"', value: '"}' })
    form.append(input)
    document.body.append(form)
    form.submit()
  })()`)
  await page.waitForURL(/invalidate/)
  t.match(await page.content(), 'another site has asked for this')
  t.match((await send(one, '/items/6')).status, '; hit', 'it is there yet')
})

t.test('a process that ends leaves the list; where Redis is away, the page says so', async (t) => {
  const { page } = await open(t)
  await stop(other)
  await page.getByText('Entries live in Redis. 1 process').waitFor()
  await redis.stop()
  await page.getByText(/This process is not connected to Redis \(\w+\): requests run their handlers\./).waitFor()
  t.match(await page.locator('#state').innerText(), /others are not known, as Redis is not connected/)
  t.match(await cells(rowOf(page, 'processes', String(one.child.pid))), { 'As of': 'now' })
})
