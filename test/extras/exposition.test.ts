// The check of what Prometheus scrapes finds what it is there to find.
import t from 'tap'
import { lint, parseExposition } from './exposition.js'

const HEAD = '# HELP a_seconds A.\n# TYPE a_seconds histogram\n'
const BUCKETS = 'a_seconds_bucket{le="1"} 1\na_seconds_bucket{le="+Inf"} 2\n'

t.test('what is no exposition', async (t) => {
  t.strictSame(parseExposition('# HELP a A.\n# TYPE a gauge\na{x="1\\n\\"",y=""} -2.5e-3\n').get('a'), {
    name: 'a', type: 'gauge', help: 'A.', samples: [{ name: 'a', labels: { x: '1\n"', y: '' }, value: -0.0025 }]
  })
  t.ok(parseExposition(`${HEAD}${BUCKETS}a_seconds_sum 3\na_seconds_count 2\n`))
  const wrong: Record<string, string> = {
    'no end': '# HELP a A.\n# TYPE a gauge\na 1',
    'no help': '# TYPE a gauge\na 1\n',
    'no type': '# HELP a A.\na 1\n',
    'another type': '# HELP a A.\n# TYPE a number\na 1\n',
    'twice the metric': '# HELP a A.\n# TYPE a gauge\na 1\n# HELP a A.\n# TYPE a gauge\n',
    'twice the series': '# HELP a A.\n# TYPE a gauge\na{x="1"} 1\na{x="1"} 2\n',
    'no number': '# HELP a A.\n# TYPE a gauge\na one\n',
    'not a number': '# HELP a A.\n# TYPE a gauge\na NaN\n',
    'below 0': '# HELP a A.\n# TYPE a counter\na -1\n',
    'a label\'s name': '# HELP a A.\n# TYPE a gauge\na{x-y="1"} 1\n',
    'a label twice': '# HELP a A.\n# TYPE a gauge\na{x="1",x="2"} 1\n',
    'no quotes': '# HELP a A.\n# TYPE a gauge\na{x=1} 1\n',
    'another\'s sample': '# HELP a A.\n# TYPE a gauge\nb 1\n',
    'a comment': '# Something\n',
    'no count': `${HEAD}${BUCKETS}a_seconds_sum 3\n`,
    'another count': `${HEAD}${BUCKETS}a_seconds_sum 3\na_seconds_count 3\n`,
    'buckets that shrink': `${HEAD}a_seconds_bucket{le="1"} 3\na_seconds_bucket{le="+Inf"} 2\na_seconds_sum 3\na_seconds_count 2\n`,
    'no last bucket': `${HEAD}a_seconds_bucket{le="1"} 2\na_seconds_sum 3\na_seconds_count 2\n`
  }
  for (const [what, text] of Object.entries(wrong)) t.throws(() => parseExposition(text), what)
})

t.test('what promtool finds fault with', async (t) => {
  const of = (name: string, type: string, help = 'A.', label = 'x'): string[] =>
    lint([{ name, type, help, samples: [{ name, labels: { [label]: '1' }, value: 1 }] }])
  for (const [name, type] of [['a_total', 'counter'], ['a_seconds_total', 'counter'], ['a_bytes', 'gauge'], ['a_seconds', 'histogram']]) {
    t.strictSame(of(name!, type!), [], name!)
  }
  const wrong = [
    ['a', 'counter'], ['a_total', 'gauge'], ['a_milliseconds', 'gauge'], ['a_ms', 'gauge'], ['a_kb', 'gauge'], ['a_sec_total', 'counter'],
    ['aName', 'gauge'], ['a:b', 'gauge'], ['a_gauge', 'gauge'], ['a_count', 'gauge'], ['a', 'histogram']
  ]
  for (const [name, type] of wrong) t.equal(of(name!, type!).length, 1, `${type} ${name}`)
  t.equal(of('a', 'gauge', '').length, 1)
  t.equal(of('a', 'gauge', 'A.', 'quantile').length, 1)
  t.equal(of('a', 'gauge', 'A.', 'le').length, 1)
})
