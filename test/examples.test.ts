// Each program of examples/ is started as its head says, and answers what stands beside each request there.
import { spawn } from 'node:child_process'
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { freePorts, startRedis } from './helpers/redis.js'

const folder = new URL('../examples/', import.meta.url)
// Inside the repository, so that the package's name resolves as it does for users: to what was built.
const copies = new URL(`../.cache/examples-${process.pid}/`, import.meta.url)
const names = (await readdir(folder)).filter((name) => name.endsWith('.mjs'))
const server = await startRedis()
await mkdir(copies, { recursive: true })
t.teardown(async () => {
  await rm(copies, { recursive: true, force: true })
  await server.stop()
})
t.ok(names.length > 2)

interface Asked { method: string, headers: Record<string, string>, path: string, said: string }

function requestsOf (head: string): Asked[] {
  return Array.from(head.matchAll(/^\/\/ +curl -i ((?:-\w '?[^']+?'? )*)localhost:3000(\S+) +# (.+)$/gm), ([, options, path, said]) => ({
    method: /-X (\w+)/.exec(options!)?.[1] ?? 'GET',
    headers: Object.fromEntries(Array.from(options!.matchAll(/-H '([^:]+): ([^']+)'/g), ([, name, value]) => [name, value])),
    path: path!,
    said: said!
  }))
}

/** Its port, once it answers. */
async function start (t: Test, name: string, code: string): Promise<number> {
  // A test that means a hit must not see a bypass because this machine was busy.
  const patient = code.replace('register(routeCache, {', 'register(routeCache, { deadline: 30,')
  await writeFile(new URL(name, copies), patient)
  const [port] = await freePorts(1)
  const env = { ...process.env, PORT: String(port), REDIS_URL: server.url }
  const child = spawn(process.execPath, [fileURLToPath(new URL(name, copies))], { env, stdio: ['ignore', 'ignore', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`)
    const answer = await fetch(`http://127.0.0.1:${port}/`).catch(() => null)
    if (answer !== null) return port!
    await delay(20)
  }
}

for (const name of names) {
  t.test(name, async (t) => {
    const code = await readFile(new URL(name, folder), 'utf8')
    const requests = requestsOf(code)
    t.ok(requests.length > 3)
    const port = await start(t, name, code)
    for (const { method, headers, path, said } of requests) {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, headers: { 'accept-encoding': 'identity', ...lower(headers) } })
      const text = await response.text()
      const [, field] = /^([\w-]+): /.exec(said) ?? []
      t.equal(field === undefined ? text : `${field}: ${response.headers.get(field)}`, said, `${method} ${path}`)
    }
  })
}

function lower (headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}
