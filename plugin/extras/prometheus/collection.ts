// The metrics of all caches that share a registry and a prefix of names: each metric exists once, and each cache is a value
// of its label `cache`.
import { Counter, Gauge, Histogram, type OpenMetricsContentType, type PrometheusContentType, type Registry } from 'prom-client'
import type { RouteCache } from '../../index.js'
import type { Plan, PlannedTiming } from '../metrics/budget.js'
import { hearDurations } from '../metrics/durations.js'
import { measured, type Measured } from '../metrics/feed.js'
import type { Observable, Timed, Timing } from '../metrics/instruments.js'

/** The registry that keeps metrics, in either of prom-client's two formats. */
export type MetricsRegistry = Registry<PrometheusContentType> | Registry<OpenMetricsContentType>

/** Prometheus' base units, and their suffixes in names. https://prometheus.io/docs/practices/naming/#base-units */
const UNITS: Record<string, string> = { s: '_seconds', By: '_bytes' }

/** As Prometheus has it: with the unit, and of a counter, with `_total`. */
function metricName (prefix: string, { kind, name, unit }: Observable | Timing): string {
  return `${prefix}${name.replaceAll('.', '_')}${UNITS[unit] ?? ''}${kind === 'counter' ? '_total' : ''}`
}

export interface CollectionParts {
  register: MetricsRegistry
  prefix: string
  plan: Plan
  /** Told that the last cache has gone, and with it the metrics. */
  onEmpty: () => void
}

interface Member { cache: RouteCache, end: () => void }

export class Collection {
  readonly #parts: CollectionParts
  readonly #members = new Map<string, Member>()
  readonly #histograms: Map<Timed, Histogram>
  #snapshot: ReadonlyArray<readonly [string, Measured]> | null = null

  constructor (parts: CollectionParts) {
    this.#parts = parts
    const { readings, timings } = parts.plan
    for (const reading of readings) this.#expose(reading)
    this.#histograms = new Map(Object.entries(timings).map(([what, timing]) => [what as Timed, this.#time(timing)]))
  }

  has (name: string): boolean {
    return this.#members.has(name)
  }

  add (name: string, cache: RouteCache): void {
    const end = hearDurations(cache, this.#parts.plan, (what, labels, seconds) => {
      this.#histograms.get(what)!.observe({ cache: name, ...labels }, seconds)
    })
    this.#members.set(name, { cache, end })
  }

  /** The histograms keep this cache's values while they serve other caches. */
  remove (name: string): void {
    this.#members.get(name)?.end()
    this.#members.delete(name)
    if (this.#members.size > 0) return
    const { register, prefix, plan: { readings, timings }, onEmpty } = this.#parts
    for (const metric of [...readings, ...Object.values(timings)]) register.removeSingleMetric(metricName(prefix, metric))
    onEmpty()
  }

  /** A counter or gauge that is set whenever it is collected. */
  #expose (reading: Observable): void {
    const { register, prefix } = this.#parts
    const common = { name: metricName(prefix, reading), help: reading.help, labelNames: ['cache', ...reading.labels], registers: [register] }
    const each = (put: (labels: Record<string, string>, value: number) => void): void => {
      for (const [cache, stats] of this.#read()) {
        for (const [labels, value] of reading.read(stats)) put({ cache, ...labels }, value)
      }
    }
    if (reading.kind === 'counter') {
      const counter: Counter = new Counter({
        ...common,
        collect: () => {
          counter.reset()
          each((labels, value) => { counter.inc(labels, value) })
        }
      })
      return
    }
    const gauge: Gauge = new Gauge({
      ...common,
      collect: () => {
        gauge.reset()
        each((labels, value) => { gauge.set(labels, value) })
      }
    })
  }

  #time (timing: PlannedTiming): Histogram {
    const { register, prefix } = this.#parts
    return new Histogram({
      name: metricName(prefix, timing),
      help: timing.help,
      labelNames: ['cache', ...timing.labels],
      buckets: [...timing.buckets],
      registers: [register]
    })
  }

  /** One reading for all metrics that are collected together, so that they fit. */
  #read (): ReadonlyArray<readonly [string, Measured]> {
    if (this.#snapshot === null) {
      this.#snapshot = [...this.#members].map(([name, { cache }]) => [name, measured(cache)] as const)
      queueMicrotask(() => { this.#snapshot = null })
    }
    return this.#snapshot
  }
}
