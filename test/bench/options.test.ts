// What `npm run bench` may be told, and what it refuses.
import t from 'tap'
import { readOptions, type Options } from '../../bench/driver/options.js'
import { chosen, estimate, phases } from '../../bench/driver/plan.js'
import { SUBJECTS } from '../../bench/driver/subjects.js'
import { ofPs } from '../../bench/driver/usage.js'

const read = (...args: string[]): Options => readOptions(args, ['a', 'b', 'c'], 'there')

t.test('defaults', async (t) => {
  const { workloads, ...rest } = read()
  t.same(rest, {
    task: 'subjects', quick: false, only: undefined, sizes: [1, 16, 256], rounds: 5, seconds: 1, connections: 64, processes: 4, requests: 1_000_000, out: 'there'
  })
  t.equal(workloads.length, 6)
  t.match(read('--quick'), { quick: true, sizes: [1], rounds: 5 })
})

t.test('what is given', async (t) => {
  const args = ['--only', 'c,a', '--workload=miss,hit', '--sizes', '256', '--rounds', '2', '--seconds', '0.5', '--out', 'here']
  t.match(read(...args), { only: ['a', 'c'], workloads: ['hit', 'miss'], sizes: [256], rounds: 2, seconds: 0.5, out: 'here' })
  t.equal(read('--micro').task, 'micro')
  t.match(read('--memory', '--requests', '1000'), { task: 'memory', requests: 1000 })
})

t.test('what is refused, with what there is', async (t) => {
  t.throws(() => read('--fast'), { message: /no option --fast; there are: --quick, --only, --workload/ })
  t.throws(() => read('hit'), { message: /no option hit; there are/ })
  t.throws(() => read('--only', 'd'), { message: '--only has no "d"; there are: a, b, c' })
  t.throws(() => read('--workload', 'hits'), { message: /--workload has no "hits"; there are: hit, 304/ })
  t.throws(() => read('--sizes', '2'), { message: '--sizes has no "2"; there are: 1, 16, 256' })
  for (const value of ['0', '-1', 'x', '1.5']) t.throws(() => read('--rounds', value), { message: /--rounds is a whole number above 0/ })
  t.throws(() => read('--seconds', '0'), { message: '--seconds is a number above 0, not "0"' })
  t.throws(() => read('--rounds', '--quick'), { message: '--rounds needs a value' })
  t.throws(() => read('--out'), { message: '--out needs a value' })
  t.throws(() => read('--quick=yes'), { message: '--quick takes no value' })
  t.throws(() => read('--quick', '--quick'), { message: '--quick is given twice' })
  t.throws(() => read('--micro', '--memory'), { message: /name one/ })
})

t.test('the plan: who takes part in what, and for how long', async (t) => {
  const ids = SUBJECTS.map(({ id }) => id)
  t.equal(new Set(ids).size, ids.length)
  const all = readOptions([], ids, '')
  const plan = phases(all, chosen(all))
  t.same(plan.map(({ workload, size }) => `${workload} ${size}`),
    ['hit 1', 'hit 16', 'hit 256', '304 1', 'miss 1', 'stampede 1', 'invalidation 1', 'processes 1'])
  const subjects = plan.map((phase) => phase.subjects.map(({ id }) => id))
  t.notOk(subjects[0]!.includes('bare-buffer'))
  t.ok(subjects[2]!.includes('bare-buffer'))
  t.notOk(subjects[3]!.includes('hand-written'), 'it has no validators')
  t.ok(subjects[6]!.includes('hand-written') && !subjects[6]!.includes('bare-string'))
  t.ok(estimate(plan, all) < 25 * 60, 'a full run')

  const quick = readOptions(['--quick'], ids, '')
  const short = phases(quick, chosen(quick))
  t.ok(short.every((phase) => phase.subjects.every(({ id }) => /^(?:ours|bare)-/.test(id))), 'ours and the bare route only')
  t.ok(estimate(short, quick) < 55, 'a quick run')
  t.same(phases(readOptions(['--only', 'bare-string', '--workload', 'miss'], ids, ''), SUBJECTS.filter(({ id }) => id === 'bare-string')), [])
})

t.test('CPU time as ps has it', async (t) => {
  t.equal(ofPs('00:01:02\n'), 62)
  t.equal(ofPs('1-02:03:04'), 86_400 + 7_384)
  t.equal(ofPs('  3:04.50'), 184.5)
})
