// The cost of triggers for writers in a storm of commits, by pgbench (Debian: postgresql-15, which has it in
// /usr/lib/postgresql/15/bin): transactions of one UPDATE of one row, by 1 client and by 16, without triggers, with them,
// and with NOTIFY. In turns, so that whatever else this machine does meets all of them.
//
//   npm run bench:postgres-storm -- [seconds of each run] [rounds]
import { execFile } from 'node:child_process'
import { access, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { installSql, uninstallSql, type Watch } from '../plugin/extras/postgres/index.js'
import { startPostgres } from '../test/helpers/postgres.js'

const [seconds = 3, rounds = 5] = process.argv.slice(2).map(Number)
const MANY = 100_000
const WATCH: Watch[] = [{ table: 'cities', keys: 'city:{id}', tags: ['country:{country}'], whole: { tags: ['cities'] } }]
const WAYS: Array<[string, string | null]> = [
  ['without triggers', null], ['with, notify: false', installSql(WATCH, { notify: false })], ['with, notify: true', installSql(WATCH, { notify: true })]
]

const pgbench = await findPgbench()
const postgres = await startPostgres()
const folder = await mkdtemp(join(tmpdir(), 'route-cache-pgbench-'))
const script = join(folder, 'update.sql')
const client = new pg.Client({ connectionString: postgres.url })
try {
  await writeFile(script, `\\set id random(1, ${MANY})\nUPDATE cities SET name = name WHERE id = :id;\n`)
  await client.connect()
  await client.query('create table cities (id integer primary key, name text not null, country text not null)')
  await client.query(`insert into cities select id, 'old', chr(65 + id % 26) || chr(65 + id / 26 % 9) from generate_series(1, ${MANY}) as id`)
  for (const clients of [1, 16]) await storm(clients)
} finally {
  await client.end()
  await postgres.stop()
  await rm(folder, { recursive: true })
}

async function storm (clients: number): Promise<void> {
  const found = new Map<string, number[]>(WAYS.map(([name]) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const [name, sql] of WAYS) {
      if (sql !== null) await client.query(sql)
      await client.query('vacuum analyze cities')
      found.get(name)!.push(await run(clients))
      await client.query(uninstallSql(WATCH))
    }
  }
  for (const [name, all] of found) {
    const sorted = all.toSorted((a, b) => a - b)
    console.log(`${clients} clients, ${name}: median ${sorted[sorted.length >> 1]!.toFixed(0)} commits a second (${sorted[0]!.toFixed(0)} to ` +
      `${sorted.at(-1)!.toFixed(0)}), ${rounds} rounds of ${seconds} s`)
  }
}

async function run (clients: number): Promise<number> {
  const { hostname, port, username, password } = new URL(postgres.url)
  const args = ['-n', '-M', 'prepared', '-T', String(seconds), '-c', String(clients), '-j', '1', '-f', script, '-h', hostname, '-p', port, '-U', username, 'postgres']
  const { stdout } = await promisify(execFile)(pgbench, args, { env: { ...process.env, PGPASSWORD: password } })
  return Number(/tps = ([\d.]+)/.exec(stdout)![1])
}

async function findPgbench (): Promise<string> {
  const versions = await readdir('/usr/lib/postgresql').catch(() => [])
  const places = [...(process.env.PATH ?? '').split(delimiter), ...versions.map((version) => `/usr/lib/postgresql/${version}/bin`)]
  for (const place of places) {
    const path = join(place, 'pgbench')
    if (await access(path).then(() => true, () => false)) return path
  }
  throw new Error('there is no pgbench; install it (Debian and Ubuntu: apt-get install postgresql-contrib, macOS: brew install postgresql)')
}
