// What the chaos suite makes of what it has seen: percentiles, when hits were back, and the command line.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { FAULT_NAMES } from './faults.js'
import { Load } from './load.js'
import { Samples } from './samples.js'
import { readSettings } from './settings.js'
import { until } from '../helpers/until.js'

/** One cached request each 10 ms from `from` on. */
function add (samples: Samples, from: number, hits: boolean[], took = 1): void {
  for (const [i, isHit] of hits.entries()) {
    const due = from + 10 * i
    samples.end(samples.begin('cached', due), due + took, isHit ? 'hit' : 'miss')
  }
}

const all = (count: number, isHit: boolean): boolean[] => Array.from({ length: count }, () => isHit)

t.test('percentiles of a span, of the requests that were due in it', async (t) => {
  const samples = new Samples()
  add(samples, 0, all(50, true), 1)
  add(samples, 500, all(99, false), 3)
  add(samples, 1490, all(1, false), 90)
  samples.end(samples.begin('uncached', 1500), 1507, 'uncached')
  samples.begin('cached', 1510)
  t.same(samples.percentiles('cached', 0, 500), { p50: 1, p99: 1, count: 50 })
  t.same(samples.percentiles('cached', 500, 1500), { p50: 3, p99: 90, count: 100 })
  t.same(samples.percentiles('uncached', 0, 2000), { p50: 7, p99: 7, count: 1 })
  t.equal(samples.percentiles('cached', 3000, 4000).count, 0)
  t.equal(samples.hitRate(0, 1000), 0.5)
  t.same(samples.outcomes(400, 600), { hit: 10, miss: 10 })
})

t.test('hits are back with the first of many', async (t) => {
  const samples = new Samples()
  add(samples, 0, all(30, true))
  t.equal(samples.recovery(0, 1), null, 'too few to tell')
  add(samples, 300, [...all(5, true), ...all(30, false)])
  add(samples, 650, all(49, true))
  t.equal(samples.recovery(300, 1), null)
  add(samples, 1140, all(30, true))
  // The window from 570 on has 8 misses, then 42 hits: but it begins with a miss.
  t.equal(samples.recovery(300, 1), 350)
  t.equal(samples.recovery(300, 0.5), 0, 'as many as before')
})

t.test('a cache that says nothing of itself: who has the run of another answer was given a copy', async (t) => {
  let runs = 0
  const server = createServer(({ method, url }, response) => {
    const row = Number(url?.split('/')[2])
    if (method === 'POST') return response.writeHead(503).end('{ "code": "REFUSED" }')
    // A copy for all of an even row, another's for row 1, an error for row 3, a run for each of the others.
    if (row === 3) return response.writeHead(500).end()
    response.end(JSON.stringify({ row: row === 1 ? 2 : row, version: 0, run: row % 2 === 0 ? -row : ++runs }))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => { server.close() })
  const load = new Load({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, rate: 250 })
  const began = performance.now()
  load.start()
  const { samples } = load
  await until(async () => samples.reads > 500 && samples.writes > 10 && load.failed > 0, 'there were not enough requests')
  await load.stop()
  t.same(Object.keys(load.samples.outcomes(0, Infinity)).sort(), ['failed', 'hit', 'miss'])
  t.ok(load.samples.hitRate(began, Infinity) > 0.4, 'about half')
  t.equal(load.hung, 0)
  t.ok(load.failed > 0)
  t.ok(load.causes.every((cause) => /: 500 |which is another's/.test(cause)), load.causes.join('; '))
  t.equal(load.refusals.REFUSED, load.samples.writes)
  t.equal(load.history.staleReads, 0)
})

t.test('what a run is asked for', async (t) => {
  t.match(readSettings([]), { task: 'rows', faults: FAULT_NAMES, seconds: 5, rate: 250, seed: 1, broken: undefined })
  t.match(readSettings(['--fault', 'blackhole,drip', '--seconds', '2']), { faults: ['blackhole', 'drip'], seconds: 2 })
  t.match(readSettings(['--soak', '--seconds', '60', '--seed', '7']), { task: 'soak', seconds: 60, seed: 7 })
  t.notOk(readSettings(['--soak']).faults.includes('cluster-failover'))
  t.match(readSettings(['--list']), { task: 'list' })
  const refused: Array<[string[], RegExp]> = [
    [['--fault', 'fire'], /--fault is one of stopped, killed, .*; not "fire"/],
    [['--seconds', 'long'], /--seconds is a number from 0.5 on, not "long"/],
    [['--seconds', ''], /not ""/],
    [['--soak', '--seconds', '5'], /from 30 on/],
    [['--rate', '10'], /--rate is a number from 200 on/],
    [['--soak', '--fault', 'cluster-node'], /not "cluster-node"/],
    [['--broken', 'all'], /--broken is one of deaf, /],
    [['--fire'], /--fire/]
  ]
  for (const [args, message] of refused) t.throws(() => readSettings(args), { message })
})

t.test('the command says what it can\'t do', async (t) => {
  const start = fileURLToPath(new URL('start.mjs', import.meta.url))
  const child = spawn(process.execPath, [start, '--fault', 'fire'], { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => { said += text })
  const [code] = await once(child, 'close')
  t.equal(code, 2)
  t.match(said, /^chaos: --fault is one of stopped/m)
  t.match(said, /npm run chaos -- \[options\]/)
})
