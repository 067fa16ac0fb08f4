// The race checker (`npm run race`), shortly: every mode on one Redis; and that it finds what it is there to find, in a
// history that was made up and in a plugin without one of its checks. In `npm test` some of the modes.
import { readFileSync } from 'node:fs'
import t from 'tap'
import { BROKEN_BUILDS, edited } from './checker/broken-build.js'
import { check } from './checker/checker.js'
import { compileApp } from './checker/compiled-app.js'
import { COMPOSITIONS, endsOf, type CompositionName } from './checker/composition.js'
import { History, type Begun, type Rule, type Seen } from './checker/history.js'
import { Random } from './checker/random.js'
import { DEFAULTS, readSettings } from './checker/settings.js'
import { IS_LONG } from '../helpers/extent.js'
import { COMPOSED_MODES, FORMS_OF, MODES, Workload, type Target } from './checker/workload.js'

/** Until a stale read is found, in seconds: at once as a rule, later on a busy machine. */
const PATIENCE = 180

const seen = (versions: Record<number, number>): Seen => ({ process: 0, outcome: '', versions })

interface MadeUp {
  history: History
  write: (version: number, begun?: Begun) => void
  read: (version: number, begun?: Begun) => boolean
}

function namesOf (target: Target): Set<string> {
  if (typeof target === 'string') return new Set([target])
  if (Array.isArray(target)) return new Set(target)
  const { keys = [], tags = [], prefix = '' } = 'all' in target ? {} : target
  return new Set([...keys, ...tags, prefix])
}

/** A history of one row, with a clock of its own: one millisecond for each thing that happens. */
function madeUp (rule?: Rule): MadeUp {
  let now = 0
  const history = new History(() => now++, rule)
  return {
    history,
    write: (version, begun = history.begin()) => { history.wrote(begun, seen({ 7: version })) },
    read: (version, begun = history.begin()) => history.read(begun, seen({ 7: version }))
  }
}

t.test('a read that began after a newer version\'s write had answered is stale', async (t) => {
  const { history, write, read } = madeUp()
  write(2)
  write(3)
  t.equal(read(3), true)
  t.equal(history.firstStale, null)
  t.equal(read(2), false)
  t.equal(read(1), false)
  // Version 2 was replaced by 3, which landed at 4; version 1 by 2, which landed at 2.
  t.match(history, { staleReads: 2, maxStaleness: 7, firstStale: 8 })
  t.match(history.incidents, [
    { row: 7, staleness: 3, read: { version: 2, floor: 3, from: 7, to: 8 } },
    { row: 7, staleness: 7, read: { version: 1, floor: 3, from: 9, to: 10 } }
  ])
  history.note('restarted')
  write(4)
  t.same(history.incidents[0]?.operations.map(({ kind, version }) => `${kind} ${version}`),
    ['write 2', 'write 3', 'read 3', 'read 2', 'read 1', 'fault 0', 'write 4'], 'with what came after it')
})

t.test('a read that began before may have either version', async (t) => {
  const { history, write, read } = madeUp()
  const [early, writing] = [history.begin(), history.begin()]
  t.equal(read(2), true, 'the write is not done, but committed')
  t.equal(read(1), true, 'invalidation may still be on its way')
  write(2, writing)
  t.equal(read(1, early), true)
  t.equal(read(1), false)
  t.equal(history.staleReads, 1)
})

t.test('the newest version that has answered counts, in whatever order the answers come', async (t) => {
  const { history, write, read } = madeUp()
  const second = history.begin()
  write(3)
  write(2, second)
  t.equal(read(3), true)
  t.equal(read(2), false)
  t.equal(history.incidents[0]?.read.floor, 3)
})

t.test('with tiers, what others have written may be given later, within the tolerance; one\'s own not', async (t) => {
  const { history, write } = madeUp({ tolerance: 9 })
  const read = (version: number, process: number): boolean => history.read(history.begin(), { process, outcome: '', versions: { 7: version } })
  write(2)
  t.equal(read(1, 0), false, 'process 0 has written')
  t.equal(read(1, 1), true, '3 ms behind it')
  t.equal(read(2, 1), true)
  write(3)
  t.equal(read(2, 1), true)
  t.equal(read(1, 1), false, '12 ms are too many')
  t.equal(read(2, 0), false)
  t.same(history.elsewhere, {
    invalidations: 2, oldForMs: { p50: 1, p99: 11, max: 11 }, reads: 3, readMs: { p50: 3, p99: 11, max: 11 }
  })
  t.equal(history.staleReads, 3)
})

t.test('only a response that says that it is stale may be older, for its stale time', async (t) => {
  const { history, write } = madeUp({ staleTime: 9 })
  const read = (version: number, isStale: boolean): boolean =>
    history.read(history.begin(), { ...seen({ 7: version }), isStale })
  write(2)
  t.equal(read(1, true), true, 'sent 1 ms behind the write')
  t.equal(read(1, false), false, 'as fresh')
  t.equal(read(1, true), true)
  t.equal(read(2, false), true)
  t.equal(read(1, true), true, '9 ms behind it')
  t.equal(read(1, true), false, '11 ms are too many')
  t.equal(history.staleReads, 2)
})

t.test('a response with several rows is stale when one of them is, and counts once', async (t) => {
  const history = new History()
  history.wrote(history.begin(), seen({ 1: 5, 2: 5, 3: 5 }))
  t.equal(history.read(history.begin(), seen({ 1: 5, 2: 4, 3: 4, 9: 1 })), false)
  t.equal(history.staleReads, 1)
  t.same(history.incidents.map(({ row }) => row), [2, 3])
})

t.test('settings that make no sense are refused', async (t) => {
  t.match(readSettings(['--mode', 'all', '--target', 'cluster', '--redis-args', '--maxmemory 3mb']).settings,
    { modes: MODES, target: 'cluster', redisArgs: ['--maxmemory', '3mb'], seconds: DEFAULTS.seconds })
  const limit = ['--redis-args', '--maxmemory 3mb']
  t.match(readSettings(['--fault', 'pressure', ...limit]).settings, { fault: 'pressure', redisArgs: ['--maxmemory', '3mb'] })
  t.match(readSettings(['--fault', 'failover', '--target', 'sentinel']).settings, { target: 'sentinel', fault: 'failover' })
  for (const args of [['x'], ['pressure'], ['untrack'], ['failover'], ['handover'], ['restart', '--target', 'cluster'], ['restart', '--target', 'sentinel']]) {
    t.throws(() => readSettings(['--fault', ...args]), Error, args.join(' '))
  }
  t.match(readSettings(['--mode', 'composed,key', '--beside', '/former']).settings,
    { modes: [...COMPOSED_MODES, 'key'], beside: '/former' })
  t.throws(() => readSettings(['--beside', '/former', '--processes', '1']), /needs two/)
  for (const args of [['--mode', 'keys'], ['--target', 'x'], ['--seconds', 'x'], ['--processes', '0'], ['--writes', '0.3'], ['--broken', 'x'], ['--blind'], ['--x']]) {
    t.throws(() => readSettings(args), Error, args.join(' '))
  }
})

t.test('every broken build is an edit of the plugin as it is', async (t) => {
  for (const [name, build] of Object.entries(BROKEN_BUILDS)) {
    const text = readFileSync(new URL(`../../plugin/${build.file}`, import.meta.url), 'utf8')
    t.not(edited(build.file, text, build), text, name)
    t.throws(() => edited(build.file, '', build), /0 times/)
  }
})

t.test('a response that is made of cached values is ended by one call with all of them', async (t) => {
  const random = new Random(1)
  for (const mode of COMPOSED_MODES.filter((mode) => mode !== 'composed-prefixes')) {
    const workload = new Workload(mode, 12)
    for (let times = 0; times < 50; times++) {
      const { rows, targets } = workload.write(random)
      const calls = targets.map(namesOf)
      for (const form of FORMS_OF[mode]) {
        for (const row of rows) {
          const { keys, tags, prefixes } = endsOf(COMPOSITIONS[form as CompositionName], row)
          const names = [...keys, ...tags, ...prefixes]
          if (!calls.some((call) => names.every((name) => call.has(name)))) t.fail(`${mode}: ${form} of ${row}`, { targets })
        }
      }
    }
  }
})

t.test('processes that read, write and invalidate: nothing stale in any mode', async (t) => {
  const modes = MODES.filter((_, i) => IS_LONG || i % 3 === 0)
  const runs = await check({ ...DEFAULTS, modes, processes: 2, seconds: 1.2, concurrency: 16, writes: 0.08 })
  t.equal(runs.length, modes.length)
  for (const { mode, causes, incidents, staleReads, failed, hits, fills, writes } of runs) {
    t.match({ mode, staleReads, failed, causes, incidents }, { mode, staleReads: 0, failed: 0, causes: [], incidents: [] })
    t.ok(hits > 0 && fills > 0 && writes > 0, `${mode}: ${hits} hits, ${fills} fills, ${writes} writes`)
  }
})

t.test('with tiers: nothing stale of a process\' own, nor for long of others, also where connections break', async (t) => {
  const memory = { ...DEFAULTS, memory: true, processes: 2, concurrency: 16 }
  const runs = [
    ...await check({ ...memory, modes: ['key', 'mix'], seconds: 2 }), ...await check({ ...memory, fault: 'untrack', seconds: 3 })
  ]
  for (const { mode, causes, incidents, staleReads, failed, tierHits, elsewhere } of runs) {
    t.match({ mode, staleReads, failed, causes, incidents }, { mode, staleReads: 0, failed: 0, causes: [], incidents: [] })
    t.ok(tierHits > 0 && elsewhere!.invalidations > 0, `${mode}: ${tierHits} hits of tiers, ${elsewhere?.invalidations} invalidations`)
  }
})

t.test('a tier that is not told of what others write is found', async (t) => {
  const [run] = await check({
    ...DEFAULTS, memory: true, broken: 'deaf', processes: 2, seconds: PATIENCE, concurrency: 16, writes: 0.01, untilStale: true
  })
  t.ok(run?.staleReads, `after ${run?.firstStale} s`)
})

t.test('in a call whose targets end one after the other, stale reads are found', async (t) => {
  const [run] = await check({
    ...DEFAULTS, broken: 'together', modes: ['composed-key-tag'], processes: 2, seconds: PATIENCE, concurrency: 16, untilStale: true
  })
  t.ok(run?.staleReads, `after ${run?.firstStale} s`)
})

t.test('two builds side by side: every second process runs the other one, a package as it is', async (t) => {
  const beside = t.testdir({ dist: { esm: { 'index.js': 'export default process.exit(7)' } } })
  await t.rejects(check({ ...DEFAULTS, beside, processes: 2, ballast: 0 }), /ended before it listened, with 7/)
  await t.rejects(compileApp(beside, 'lease'), /only source can be broken/)
  await t.rejects(compileApp(t.testdirName.replace(/[^/]+$/, 'nowhere')), /ENOENT/)
})

t.test('without the check of the lease, stale reads are found', async (t) => {
  const [run] = await check({ ...DEFAULTS, broken: 'lease', processes: 2, seconds: PATIENCE, concurrency: 16, untilStale: true })
  t.ok(run?.staleReads, `after ${run?.firstStale} s`)
  t.match(run?.incidents[0], { operations: [{}] })
})
