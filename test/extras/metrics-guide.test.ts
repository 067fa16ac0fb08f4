// Every example of docs/metrics.md is run, against what was built: a block behind `<!-- run: name -->` is what the case of
// that name gets.
import { execFile } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import t from 'tap'

// Inside the repository, so that the package's name resolves as it does for users.
const folder = new URL(`../../.cache/metrics-guide-${process.pid}/`, import.meta.url)
const guide = await readFile(new URL('../../docs/metrics.md', import.meta.url), 'utf8')
const blocks = new Map([...guide.matchAll(/<!-- run: (\w+) -->\n```\w+\n([^]*?)```/g)].map(([, name, code]) => [name!, code!]))

t.before(async () => { await mkdir(folder, { recursive: true }) })
t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })

/** What the code prints, with the package's own names resolved as users' are. */
async function run (name: string, code: string): Promise<string> {
  const file = new URL(`${name}.mjs`, folder)
  await writeFile(file, code)
  const { stdout } = await promisify(execFile)(process.execPath, [file.pathname], { timeout: 60_000 })
  return stdout
}

t.test('each block is run by a case here', async (t) => {
  t.strictSame([...blocks.keys()], ['prometheus', 'opentelemetry', 'rate', 'events'])
})

t.test('prometheus', async (t) => {
  const printed = await run('prometheus', `${blocks.get('prometheus')}
    for (let i = 0; i < 3; i++) await app.inject('/users/1')
    console.log((await app.inject('/metrics')).body)
    await app.close()
  `)
  t.match(printed, '\nroute_cache_requests_total{cache="shop",route="GET /users/:id",outcome="hit",reason=""} 2\n')
  t.match(printed, '\nroute_cache_lookup_duration_seconds_count{cache="shop",outcome="hit"} 2\n')
})

// There is no Prometheus here. What a query can get wrong without one is what it names.
t.test('rate', async (t) => {
  const printed = await run('rate', `${blocks.get('prometheus')}
    for (let i = 0; i < 3; i++) await app.inject('/users/1')
    console.log((await app.inject('/metrics')).body)
    await app.close()
  `)
  const selectors = [...blocks.get('rate')!.matchAll(/rate\((\w+)\{outcome=~"([^"]+)"\}\[5m\]\)/g)]
  t.equal(selectors.length, 2)
  // A rare outcome has no series before it has happened: instruments.ts names them all.
  const named = await readFile(new URL('../../plugin/extras/metrics/instruments.ts', import.meta.url), 'utf8')
  const outcomes = Array.from(named.matchAll(/\boutcome: '(\w+)'/g), ([, outcome]) => outcome!)
  for (const [, name, wanted] of selectors) {
    t.match(printed, new RegExp(`^${name!}\\{[^}]*\\broute="GET /users/:id"[^}]*\\boutcome="hit"[^}]*\\} 2$`, 'm'))
    for (const outcome of wanted!.split('|')) t.ok(outcomes.includes(outcome), outcome)
  }
})

t.test('opentelemetry', async (t) => {
  const printed = await run('opentelemetry', `${blocks.get('opentelemetry')}
    app.get('/', { cache: true }, async () => 'x')
    console.log((await app.inject('/')).body)
    await app.close()
  `)
  t.equal(printed, 'x\n')
})

t.test('events', async (t) => {
  const printed = await run('events', `${blocks.get('events')}
    import fastify from 'fastify'
    import routeCache from 'fastify-route-cache'
    const app = fastify()
    await app.register(routeCache, { prefix: 'shop' })
    app.get('/', { cache: { key: 'k' } }, async (request, reply) => { reply.noCache().send('x') })
    await app.inject('/')
    await app.close()
  `)
  t.equal(printed, 'shop: GET / did not store k: no-cache-called\n')
})
