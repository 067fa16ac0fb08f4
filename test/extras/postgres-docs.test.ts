// The examples of docs/postgres.md are run: a block behind `<!-- run: name -->` is what the case of that name gets.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { startPostgres } from '../helpers/postgres.js'
import { openSite } from './postgres-site.js'

// Inside the repository, so that the package's name resolves as it does for users: to what was built.
const folder = new URL(`../../.cache/postgres-docs-${process.pid}/`, import.meta.url)
const page = await readFile(new URL('../../docs/postgres.md', import.meta.url), 'utf8')
const blocks = new Map(Array.from(page.matchAll(/<!-- run: (\w+) -->\n```\w+\n([^]*?)```/g), ([, name, code]) => [name!, code!]))

const postgres = await startPostgres()
t.before(async () => { await mkdir(folder, { recursive: true }) })
t.teardown(async () => {
  await rm(folder, { recursive: true, force: true })
  await postgres.stop()
})

const TABLE = `drop table cities; create table cities (id integer primary key, name text, country_code text);
  insert into cities values (1, 'Cordoba', 'AR')`

t.test('the app, and what psql does to it', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(TABLE)
  const update = /^\$ psql -c "(.*)"$/m.exec(blocks.get('psql')!)![1]
  const printed = await run(t, `${blocks.get('app')}
    const say = async (url) => { const { body, headers } = await app.inject(url); console.log(url, /hit/.test(headers['cache-status']), body.includes('Córdoba')) }
    for (const url of ['/cities/1', '/cities/1', '/countries/AR/cities', '/countries/AR/cities']) await say(url)
    await app.pg.query(${JSON.stringify(update)})
    await app.postgresInvalidation.caughtUp()
    for (const url of ['/cities/1', '/countries/AR/cities']) await say(url)
    await app.close()`, site.url)
  t.same(printed.trim().split('\n'), [
    '/cities/1 false false', '/cities/1 true false', '/countries/AR/cities false false', '/countries/AR/cities true false',
    '/cities/1 false true', '/countries/AR/cities false true'
  ])
})

t.test('the migration, and the rights that the app needs then', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(TABLE)
  const printed = await run(t, blocks.get('migration')!, site.url)
  const uninstall = printed.lastIndexOf('\nDO ') + 1
  await site.query(printed.slice(0, uninstall))
  await site.query(`create role app login password 'app'; grant select, update on cities to app; ${blocks.get('grants')}`)
  const url = new URL(site.url)
  url.username = url.password = 'app'
  const app = blocks.get('app')!.replace('  install: true\n', '')
  t.not(app, blocks.get('app'))
  const said = await run(t, `${app}
    await app.inject('/cities/1')
    await app.pg.query("update cities set name = 'new'")
    await app.postgresInvalidation.caughtUp()
    console.log((await app.inject('/cities/1')).json().name, app.postgresInvalidation.changes)
    await app.close()`, url.href)
  t.equal(said.trim(), 'new 1')
  await site.query(printed.slice(uninstall))
  t.same(await site.query('select 1 from pg_trigger where not tgisinternal'), [])
})

t.test('what stands for all rows', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(TABLE)
  const app = blocks.get('app')!.replace(/\[\{ table.*\]/, '[cities]').replace("key: 'city:{id}'", "key: 'city:{id}', tags: ['cities']")
  const said = await run(t, `${blocks.get('whole')}${app}
    app.get('/other', { cache: { key: 'other' } }, async () => 'other')
    for (const url of ['/cities/1', '/other']) await app.inject(url)
    await app.pg.query('truncate cities')
    await app.postgresInvalidation.caughtUp()
    for (const key of ['city:1', 'other']) console.log(await app.cache.inspect(key) !== null)
    await app.close()`, site.url)
  t.equal(said, 'false\ntrue\n')
})

t.test('each block is run by a case here', async (t) => {
  t.same([...blocks.keys()].sort(), ['app', 'grants', 'migration', 'psql', 'skip', 'whole'])
})

t.test('writes of its own', async (t) => {
  const site = await openSite(t, postgres.url)
  await site.query(TABLE)
  const app = blocks.get('app')!.replace(/await app\.register\(fastifyPostgres.*\n/, blocks.get('skip')!)
  const said = await run(t, `${app}
    await app.pg.query("update cities set name = 'new'")
    await app.postgresInvalidation.caughtUp()
    console.log(app.postgresInvalidation.changes)
    await app.close()`, site.url)
  t.equal(said.trim(), '0')
})

async function run (t: Test, code: string, url: string): Promise<string> {
  const file = new URL(`${t.name.replaceAll(/\W/g, '-')}.mjs`, folder)
  await writeFile(file, code)
  const child = spawn(process.execPath, [file.pathname], { env: { ...process.env, DATABASE_URL: url }, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  let printed = ''
  child.stdout.on('data', (chunk) => { printed += chunk })
  const [code0] = await once(child, 'close')
  t.equal(code0, 0, 'it ran to its end')
  return printed
}
