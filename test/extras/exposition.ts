// The text that Prometheus scrapes, read strictly: what the format asks for, and what `promtool check metrics` finds fault
// with. https://prometheus.io/docs/instrumenting/exposition_formats/ https://prometheus.io/docs/practices/naming/

export interface Sample { name: string, labels: Record<string, string>, value: number }

export interface Metric { name: string, type: string, help: string, samples: Sample[] }

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/
const NUMBER = /^(?:[-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?)|[-+]Inf|NaN)$/i
const TYPES = ['counter', 'gauge', 'histogram', 'summary', 'untyped']

/** Throws where the text is not of the format 0.0.4. */
export function parseExposition (text: string): Map<string, Metric> {
  if (!text.endsWith('\n')) throw new Error('the last line has no end')
  const metrics = new Map<string, Metric>()
  let metric: Metric | null = null
  let help: [string, string] | null = null
  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? []
    if (kind === 'HELP') {
      if (metrics.has(name)) throw new Error(`twice: ${line}`)
      help = [name, rest]
    } else if (kind === 'TYPE') {
      if (!NAME.test(name) || !TYPES.includes(rest) || metrics.has(name)) throw new Error(`no type, or twice: ${line}`)
      if (help?.[0] !== name) throw new Error(`no HELP right in front: ${line}`)
      metric = { name, type: rest, help: help[1], samples: [] }
      metrics.set(name, metric)
    } else if (line.startsWith('#')) {
      throw new Error(`a comment that is neither HELP nor TYPE: ${line}`)
    } else {
      const sample = parseSample(line)
      if (metric === null || !namesOf(metric).includes(sample.name)) throw new Error(`a sample behind another metric's type: ${line}`)
      metric.samples.push(sample)
    }
  }
  for (const one of metrics.values()) checkSamples(one)
  return metrics
}

function namesOf ({ name, type }: Metric): string[] {
  return type === 'histogram' ? ['_bucket', '_sum', '_count'].map((suffix) => name + suffix) : [name]
}

function parseSample (line: string): Sample {
  const [, name = '', inner = '', value = ''] = /^([^\s{]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
  if (!NAME.test(name) || !NUMBER.test(value)) throw new Error(`no sample: ${line}`)
  const labels: Record<string, string> = {}
  let left = inner
  while (left !== '') {
    const [whole, label, text] = LABEL.exec(left) ?? []
    if (whole === undefined || label! in labels) throw new Error(`no labels, or one twice: ${line}`)
    labels[label!] = text!.replace(/\\(["\\n])/g, (_, escaped: string) => escaped === 'n' ? '\n' : escaped)
    left = left.slice(whole.length)
  }
  return { name, labels, value: numberOf(value) }
}

function numberOf (text: string): number {
  return /inf$/i.test(text) ? (text.startsWith('-') ? -Infinity : Infinity) : Number(text)
}

function checkSamples ({ name, type, samples }: Metric): void {
  const series = samples.map((sample) => sample.name + JSON.stringify(Object.entries(sample.labels).sort()))
  if (new Set(series).size !== series.length) throw new Error(`${name} has a series twice`)
  if (samples.some(({ value }) => Number.isNaN(value))) throw new Error(`${name} has a value that is no number`)
  if (type === 'counter' && samples.some(({ value }) => value < 0)) throw new Error(`${name} counts below 0`)
  if (type === 'histogram') checkHistogram(name, samples)
}

/** Of each of its series: buckets grow, the last is of all, and there are sum and count. */
function checkHistogram (name: string, samples: readonly Sample[]): void {
  const series = new Map<string, Sample[]>()
  for (const sample of samples) {
    const { le, ...labels } = sample.labels
    const id = JSON.stringify(Object.entries(labels).sort())
    series.set(id, [...series.get(id) ?? [], sample])
  }
  for (const [id, parts] of series) {
    const buckets = parts.filter((sample) => sample.name.endsWith('_bucket'))
    const count = parts.filter((sample) => sample.name.endsWith('_count'))
    const sum = parts.filter((sample) => sample.name.endsWith('_sum'))
    const bounds = buckets.map(({ labels: { le = '' } }) => numberOf(le))
    const isGrowing = (values: number[]): boolean => values.every((value, i) => i === 0 || value >= values[i - 1]!)
    const isRight = count.length === 1 && sum.length === 1 && bounds.at(-1) === Infinity &&
      new Set(bounds).size === bounds.length && isGrowing(bounds) && isGrowing(buckets.map(({ value }) => value)) &&
      buckets.at(-1)!.value === count[0]!.value
    if (!isRight) throw new Error(`${name}${id} is no histogram`)
  }
}

/** Other units than the base ones, and shortened ones, as a part of a name. */
const WRONG_UNITS = /_(?:ms|msec|milliseconds|us|micros|microseconds|ns|nanoseconds|sec|secs|s|minutes|hours|days|b|kb|kib|mb|kilobytes|megabytes|bits|percent)(?:_|$)/

/** What is wrong with the names, one line each; none: nothing. */
export function lint (metrics: Iterable<Metric>): string[] {
  return [...metrics].flatMap(({ name, type, help, samples }) => [
    ...help.trim() === '' ? [`${name} has no help`] : [],
    ...type === 'counter' && !name.endsWith('_total') ? [`${name} is a counter and does not end in _total`] : [],
    ...type !== 'counter' && name.endsWith('_total') ? [`${name} ends in _total and is no counter`] : [],
    ...['_count', '_sum', '_bucket', '_info'].filter((end) => name.endsWith(end)).map((end) => `${name} ends in ${end}`),
    .../_(?:counter|gauge|histogram|summary)(?:_|$)/.test(name) ? [`${name} has its type in its name`] : [],
    ...WRONG_UNITS.test(name) ? [`${name} is not in base units`] : [],
    ...type === 'histogram' && !/_(?:seconds|bytes)$/.test(name) ? [`${name} has no unit`] : [],
    ...name !== name.toLowerCase() || name.includes(':') ? [`${name} is not in snake case`] : [],
    ...['quantile', ...type === 'histogram' ? [] : ['le']].filter((label) => samples.some(({ labels }) => label in labels))
      .map((label) => `${name} has the reserved label ${label}`)
  ])
}
