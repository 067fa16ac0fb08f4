// The page in a real browser: `npm run test:browser`. Needs Chromium, so `npm test` leaves it out.
import { mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { chromium, type Browser, type Locator, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { buildApp } from '../../demo-app/app.js'
import { startPostgres } from '../helpers/postgres.js'
import { until as holding } from '../helpers/until.js'

const postgres = await startPostgres({ load: true })
const app = await buildApp({ databaseUrl: postgres.url })
const base = await app.listen({ host: '127.0.0.1', port: 0 })
const browser: Browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: ['--no-sandbox']
})

const screenshots = fileURLToPath(new URL('../../build/screenshots/', import.meta.url))
await mkdir(screenshots, { recursive: true })

t.teardown(async () => {
  await browser.close()
  await app.close()
  await postgres.stop()
})

/** Opens the page. What it does wrong, and whom it asks besides us, is collected. */
async function open (t: Test, width = 1280, colorScheme: 'light' | 'dark' = 'light'): Promise<{ page: Page, faults: string[] }> {
  const context = await browser.newContext({ viewport: { width, height: width === 390 ? 844 : 800 }, colorScheme })
  t.teardown(async () => await context.close())
  const page = await context.newPage()
  const faults: string[] = []
  page.on('console', (message) => { if (message.type() !== 'log') faults.push(message.text()) })
  page.on('pageerror', (error) => faults.push(String(error)))
  page.on('requestfailed', (request) => faults.push(`failed: ${request.url()}`))
  page.on('request', (request) => { if (!request.url().startsWith(`${base}/`)) faults.push(`asks ${request.url()}`) })
  await page.goto(base)
  await page.getByText('Entries live in this process').waitFor()
  return { page, faults }
}

/** What the dashboard beside the buttons says of a route, by its columns. */
async function numbers (page: Page, route: string): Promise<Record<string, string>> {
  const row = page.frameLocator('#dashboard').locator('#routes tbody tr').filter({ has: page.getByText(route, { exact: true }) })
  const cells = await row.locator('td').evaluateAll((all) => all.map((cell) => [cell.getAttribute('data-label'), cell.textContent]))
  return Object.fromEntries(cells)
}

/** The outcome on the newest line of the log, once there are `count` lines. */
async function newest (page: Page, count: number): Promise<string | null> {
  const lines = page.locator('#log li')
  await lines.nth(count - 1).waitFor()
  return await lines.first().getAttribute('data-outcome')
}

/** Resolves when the numbers say so: they come with the next look at the server. */
async function until (page: Page, route: string, wanted: Record<string, string | RegExp>): Promise<Record<string, string>> {
  let found: Record<string, string> = {}
  await holding(async () => {
    found = await numbers(page, route)
    return Object.entries(wanted).every(([name, value]) => new RegExp(value).test(found[name] ?? ''))
  }, async () => `${route}: ${JSON.stringify(found)}`)
  return found
}

t.test('a miss, a hit, an invalidation, a miss: in the log and in the numbers', async (t) => {
  const { page, faults } = await open(t)
  const route = 'GET /nearest'
  const article = page.locator(`[data-route="${route}"]`)
  const send = article.getByRole('button', { name: 'Send', exact: true })
  const none = { Requests: '^0$', 'Hit rate': '^–$', 'Hit p50 / p99': '^–$', 'Miss p50 / p99': '^–$' }
  t.match(await until(page, route, none), { Requests: '0', 'Hit rate': '–', 'Hit p50 / p99': '–', 'Miss p50 / p99': '–' })

  await send.click()
  t.equal(await newest(page, 1), 'miss')
  t.match(await until(page, route, { Requests: '^1$' }), { 'Hit rate': '0 %', Misses: '1', 'Hit p50 / p99': '–', 'Miss p50 / p99': /\d ms/ })
  await send.click()
  t.equal(await newest(page, 2), 'hit')
  t.match(await until(page, route, { Requests: '^2$' }), { 'Hit rate': '50 %', Misses: '1', 'Hit p50 / p99': /\d ms/ })

  await page.getByRole('button', { name: 'All nearest' }).click()
  t.equal(await newest(page, 3), 'change')
  t.match(await page.locator('#log li').first().textContent(), '{"removed":1}')
  await send.click()
  t.equal(await newest(page, 4), 'miss')

  await article.getByRole('button', { name: 'Send 50' }).click()
  t.equal(await newest(page, 5), 'hit')
  t.match(await until(page, route, { Requests: '^53$' }), { Requests: '53', 'Hit rate': '96 %' })
  t.same(faults, [])
})

t.test('a write is seen by the next read', async (t) => {
  const { page, faults } = await open(t)
  const article = page.locator('[data-route="GET /users/:id"]')
  const send = article.getByRole('button', { name: 'Send', exact: true })
  await send.click()
  await send.click()
  t.equal(await newest(page, 2), 'hit')
  await page.getByRole('button', { name: 'Rename user 1' }).click()
  t.equal(await newest(page, 3), 'change')
  t.match(await page.locator('#log li').first().textContent(), 'Brandt-Sommer')
  await send.click()
  t.equal(await newest(page, 4), 'miss')
  t.same(faults, [])
})

t.test('by keyboard, with an error that is shown', async (t) => {
  const { page } = await open(t)
  const input = page.getByLabel('Path to request for GET /cities/:id')
  await input.fill('/cities/0')
  await input.press('Enter')
  t.equal(await newest(page, 1), 'error')
  t.match(await page.locator('#log li').first().textContent(), 'id must be a whole number')
  await input.press('Tab')
  t.equal(await page.locator(':focus').textContent(), 'Send')
  await input.fill('/cities/2')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Space')
  t.equal(await newest(page, 2), 'miss')
})

t.test('a narrow screen needs no scrolling sideways, in light and in dark', async (t) => {
  for (const colorScheme of ['light', 'dark'] as const) {
    const { page, faults } = await open(t, 390, colorScheme)
    await page.getByRole('button', { name: 'Send', exact: true }).first().click()
    await newest(page, 1)
    const [content, screen] = await page.evaluate('[document.documentElement.scrollWidth, window.innerWidth]') as [number, number]
    t.equal(screen, 390)
    t.ok(content <= screen, `${content} px wide`)
    t.same(faults, [])
  }
})

/** Presses it, and resolves with what then stands below it, which is all on the screen. */
async function effectOf (t: Test, button: Locator, cards = 2): Promise<string> {
  const effect = button.locator('xpath=ancestor::*[self::article or @id="changes"][1]').locator('.effect')
  const earlier = await effect.innerText()
  await button.click()
  await holding(async () => (await effect.innerText()) !== earlier && await effect.locator('.answer').count() === cards, 'it shows no effect')
  const { x, y, width, height } = (await effect.boundingBox())!
  const screen = button.page().viewportSize()!
  const isSeen = x >= 0 && y >= 0 && x + width <= screen.width && y + height <= screen.height
  t.ok(isSeen, `${await button.innerText()}: ${JSON.stringify({ x, y, width, height, screen })}`)
  return await effect.innerText()
}

t.test('each button shows its effect below it, on the screen, also a small one', async (t) => {
  for (const width of [1280, 390]) {
    const { page, faults } = await open(t, width)
    const sends = page.locator('#routes article').getByRole('button', { name: 'Send', exact: true })
    t.equal(await sends.count(), 5)
    await page.getByRole('button', { name: 'All nearest' }).click()
    for (let i = 0; i < 5; i++) {
      await effectOf(t, sends.nth(i), 1)
      const found = await effectOf(t, sends.nth(i))
      t.match(found, /^Now\s+hit\s+[\d.]+ ms\s[^]*200 · GET \/[^]*fastify-route-cache; hit; ttl=\d+[^]*\{"[^]*Before\s+(miss|hit)\s+[\d.]+ ms/, found)
      if (i === 0) await page.screenshot({ path: `${screenshots}demo-${width}-send.png` })
    }
    await effectOf(t, page.locator('#routes article').getByRole('button', { name: 'Send 50' }).last())
    t.match(await effectOf(t, page.getByRole('button', { name: 'User 1', exact: true }), 2), /removed/)
    t.match(await effectOf(t, page.getByRole('button', { name: 'Rename user 1' })), /Ada Brandt/)

    const race = page.getByRole('button', { name: 'Race a writer' })
    const [ours, theirs] = (await effectOf(t, race)).split('A cache by hand')
    t.match(ours, /refused, not kept\.[^]*New\. Right\./)
    t.match(theirs, /kept for all\.[^]*Old, until its ttl ends\./)
    await page.screenshot({ path: `${screenshots}demo-${width}-race.png` })
    const [one, many] = (await effectOf(t, page.getByRole('button', { name: 'Send 50, cold' }))).split('A cache by hand')
    t.match(one, 'The handler ran 1 time.')
    t.match(many, /The handler ran \d\d times\./)
    await page.screenshot({ path: `${screenshots}demo-${width}-crowd.png` })
    await page.screenshot({ path: `${screenshots}demo-${width}-full.png`, fullPage: true })
    t.equal(await page.evaluate('document.documentElement.scrollWidth'), width)
    t.same(faults, [])
  }
})
