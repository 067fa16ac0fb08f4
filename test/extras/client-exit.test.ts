// A process that has closed its cache, or run the command, ends by itself soon, though Redis is away: no timer of a command
// and no socket keeps it. Counted in the process' own ticks, of which a busy machine makes fewer, never more.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { freePorts, startRedis } from '../helpers/redis.js'
import { startForwarder } from '../helpers/tcp.js'

const TICK = 50
/** In ticks, a second. Before, it was two for the socket, and a `writeDeadline` for each command. */
const SOON = 20
const root = new URL('../../', import.meta.url)
const COUNT = `
  let ticks = 0
  setInterval(() => { ticks++ }, ${TICK}).unref()
  process.on('exit', () => { console.log('ticks', ticks) })`

/** Gives what the program has printed; `cut` is called when it prints `cut`. */
async function run (t: Test, program: string, cut = (): void => {}): Promise<string> {
  const child = spawn(process.execPath, ['--import=./test/helpers/typescript.mjs', '--input-type=module', '-e', program], {
    cwd: root, stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => child.kill('SIGKILL'))
  let printed = ''
  child.stdout.on('data', (chunk) => {
    printed += chunk
    if (/cut\n$/.test(printed)) cut()
  })
  await once(child, 'close')
  return printed
}

function endsSoon (t: Test, printed: string, name: string): void {
  const ticks = Number(/^ticks (\d+)$/m.exec(printed)?.[1])
  t.ok(ticks < SOON, `${name}: it went on for ${ticks} ticks of ${TICK} ms\n${printed}`)
}

const worker = (port: number, options = ''): string => `
  import { once } from 'node:events'
  import { createCache } from './plugin/extras/client/index.ts'
  const cache = await createCache({ redis: { url: 'redis://127.0.0.1:${port}' }, writeDeadline: 10, logger: false, ${options} })
  await cache.getOrSet('k', {}, () => 1)
  console.log('cut')
  if (${options.includes('memory')}) await new Promise((resolve) => setTimeout(resolve, 300))
  const untold = cache.invalidate('k').catch(({ code }) => code)
  const lost = cache.put('l', 1).catch(({ code }) => code)
  await cache.close({ timeout: 0.1 }).catch(({ code }) => { console.log('closed', code) })
  console.log('calls', await untold, await lost)
  ${COUNT}`

t.test('a worker, where nothing listens', async (t) => {
  const [port] = await freePorts(1) as [number]
  const printed = await run(t, worker(port))
  t.match(printed, /^closed FRC_STORE\ncalls FRC_STORE FRC_STORE$/m)
  endsSoon(t, printed, 'refused')
})

t.test('a worker, where nothing answers', async (t) => {
  const silent = createServer()
  await once(silent.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => { silent.close() })
  const printed = await run(t, worker((silent.address() as AddressInfo).port))
  t.match(printed, /^closed FRC_STORE\ncalls FRC_STORE FRC_STORE$/m)
  endsSoon(t, printed, 'silent')
})

t.test('a worker whose Redis goes, without and with a tier', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  for (const options of ['', 'memory: {}']) {
    const way = await startForwarder(server.port)
    t.teardown(() => { way.close() })
    const printed = await run(t, worker(way.port, options), () => { way.turn(null) })
    t.match(printed, /^calls /m)
    endsSoon(t, printed, `gone ${options}`)
  }
})

t.test('the command, where nothing listens', async (t) => {
  const [port] = await freePorts(1) as [number]
  const printed = await run(t, `
    import { runCommand } from './plugin/extras/command/command.ts'
    console.log((await runCommand(['keys', '--url', 'redis://127.0.0.1:${port}', '--prefix', 'shop'], {})).problem)
    ${COUNT}`)
  t.match(printed, /ECONNREFUSED/)
  endsSoon(t, printed, 'command')
})
