// The tables of `npm run bench`, from samples that are made up.
import t from 'tap'
import type { Sample } from '../../bench/driver/side-by-side.js'
import { shows } from '../../bench/driver/shows.js'
import type { Figures } from '../../bench/driver/slice.js'
import { rows, table, text } from '../../bench/driver/table.js'

const FIGURES: Figures = {
  answered: 500,
  requests: 1000,
  p50: 1,
  p99: 2,
  cpu: 50,
  redisCpu: 3,
  redisCommands: 1,
  runs: 0,
  wrong: 0,
  example: undefined,
  stale: null,
  invalidations: null
}

function sample (subject: string, round: number, figures: Partial<Figures>, more: Partial<Sample> = {}): Sample {
  return { workload: 'hit', size: 1, subject, round, figures: { ...FIGURES, ...figures }, ...more }
}

t.test('a row a subject, in the order in which they ran', async (t) => {
  const samples = [
    sample('ours-redis', 1, { cpu: 60, wrong: 1, example: 'this' }), sample('bare-string', 1, { cpu: 50 }), sample('hand-written', 1, { cpu: 120, runs: 250 }),
    sample('ours-redis', 2, { cpu: 100, wrong: 2 }), sample('bare-string', 2, { cpu: 50 }), sample('hand-written', 2, { cpu: 100 })
  ]
  const [ours, bare, byHand] = rows(samples, new Map([['ours-redis', 'ours']]))
  t.match(ours, { name: 'ours', wrong: 3, example: 'this', cpu: { median: 80 } })
  t.match(ours!.toBare, { median: 1.6, min: 1.2, max: 2 })
  t.match(ours!.toHandWritten, { median: 0.75, min: 0.5, max: 1 })
  t.match(bare, { subject: 'bare-string', toBare: { median: 1 }, wrong: 0, example: undefined })
  t.match(byHand, { name: 'hand-written', ran: 0.25, toHandWritten: { median: 1 } })
})

t.test('where nothing is prepared, bare is the uncached route', async (t) => {
  const [ours] = rows([sample('ours-redis', 1, { cpu: 90 }), sample('bare-object', 1, { cpu: 30 })], new Map())
  t.equal(ours!.toBare!.median, 3)
  t.equal(ours!.toHandWritten, null)
})

t.test('text', async (t) => {
  t.equal(text({ median: 1.234, min: 1, max: 2, count: 5 }, 1), '1.2 (1.0-2.0)')
  t.equal(text({ median: 1, min: 0.999, max: 1.001, count: 5 }, 1), '1.0', 'no spread that is not seen')
  t.equal(text({ median: 7, min: 7, max: 7, count: 1 }, 0), '7')
  t.equal(text(null, 1), '-')
})

t.test('every line of a table has as many cells', async (t) => {
  const samples = [sample('ours-redis', 1, {}), sample('bare-string', 1, { redisCpu: null, redisCommands: null })]
  for (const workload of ['hit', 'stampede', 'invalidation']) {
    const lines = table(workload, rows(samples, new Map()), [{ head: 'more', cell: () => 'x' }]).split('\n')
    t.equal(lines.length, 4)
    t.equal(new Set(lines.map((line) => line.split(' | ').length)).size, 1, workload)
    t.match(lines[2], / x \|$/)
  }
})

t.test('a column that says nothing of any row is left out', async (t) => {
  const head = (samples: Sample[]): string => table('304', rows(samples, new Map())).split('\n')[0]!
  t.notMatch(head([sample('ours-memory', 1, { redisCpu: null, redisCommands: null })]), /Redis|×/)
  t.match(head([sample('ours-memory', 1, { redisCpu: null }), sample('ours-redis', 1, {})]), /Redis CPU/)
})

t.test('what is shown: ratios within rounds, and only of what took part', async (t) => {
  const samples = [
    sample('ours-redis', 1, { cpu: 60 }), sample('hand-written', 1, { cpu: 120 }), sample('nest', 1, { cpu: 200 }),
    sample('koa-cash', 1, { cpu: 80 }), sample('fastify-lcache', 1, { cpu: 40 }), sample('layered-loader', 1, { cpu: 30 }),
    sample('ours-tier', 1, { cpu: 20 }),
    sample('ours-redis', 1, { cpu: 30 }, { workload: '304' }),
    sample('ours-redis', 1, { cpu: 170, redisCommands: 6 }, { workload: 'miss' }),
    sample('bare-object', 1, { cpu: 50 }, { workload: 'miss' })
  ]
  t.same(shows(samples, new Map([['ours-redis 1', 1352]])), [
    'Redis hit, 1 kB: CPU a request × the hand-written handler: 0.50',
    'Redis hit, 1 kB: CPU a request × the cheapest peer that asks Redis (koa-cash on Koa, Redis): 0.75',
    'Tier hit, 1 kB: CPU a request × the cheapest peer that keeps responses in memory (fastify-lcache, in-process): 0.50',
    '304 from Redis, 1 kB: CPU a request × the 200 hit: 0.50',
    'A miss with its fill, 1 kB: 120 µs of CPU on top of the uncached route, 6.00 Redis commands, those that scripts call included',
    'An entry of 1 kB takes 1352 bytes in Redis'
  ])
  t.same(shows([], new Map()), [])
})
