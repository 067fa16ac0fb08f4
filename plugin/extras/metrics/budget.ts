// How many series the metrics of an app make: which metrics have the label `route`, and whether there are histograms, the
// dearest by far. What an exporter makes is planned here, by its options.
import { SWITCH, isObject, isSwitch, OptionReader } from '../../options/reader.js'
import type { Measured } from './feed.js'
import { BUCKETS, ROUTE_BUCKETS, readings, timings, type Labels, type Observable, type Timed, type Timing } from './instruments.js'

export interface BudgetOptions {
  /**
   * `route`: whether metrics have the label `route`. false: none has; figures are those of all routes together. true: all
   * that can, the durations of lookups and fills among them. Default: the counters and the handlers' durations have it.
   */
  labels?: { route?: boolean | undefined } | undefined
  /** Whether durations are measured, as histograms. Default true. */
  histograms?: boolean | undefined
}

/** The names of these options. */
export const BUDGET_NAMES = ['labels', 'histograms'] as const

export interface Budget {
  /** Undefined: where it matters most. */
  route: boolean | undefined
  histograms: boolean
}

/** A histogram with its bounds, in seconds. */
export interface PlannedTiming extends Timing { buckets: readonly number[] }

export interface Plan {
  readings: readonly Observable[]
  timings: Partial<Record<Timed, PlannedTiming>>
}

/** Throws FRC_OPTION where one of them is wrong. */
export function readBudget (where: string, options: object): Budget {
  const reader = new OptionReader(where, options)
  const labels = reader.read<object>('labels', {}, isObject, 'it is { route }: whether metrics have the label "route"')
  const inner = new OptionReader(where, labels, 'labels.').onlyKnows(['route'])
  return {
    route: inner.read<boolean | undefined>('route', undefined, isSwitch, SWITCH),
    histograms: reader.isOn('histograms', true)
  }
}

/** `buckets`: of all histograms, in place of ours. */
export function planned ({ route, histograms }: Budget, buckets?: readonly number[]): Plan {
  const timed = (name: Timed): PlannedTiming => {
    const timing = timings[name]
    const hasRoute = route ?? timing.isOfRoute
    const labels = timing.labels.filter((label) => label !== 'route' || hasRoute)
    return { ...timing, labels, buckets: buckets ?? (labels.includes('route') ? ROUTE_BUCKETS : BUCKETS) }
  }
  return {
    readings: route === false ? readings.map(together) : readings,
    timings: histograms ? Object.fromEntries(Object.keys(timings).map((name) => [name, timed(name as Timed)])) : {}
  }
}

/** Of all routes and values as one. */
function together (reading: Observable): Observable {
  if (!reading.labels.includes('route')) return reading
  const read = (stats: Measured): Array<readonly [Labels, number]> => {
    const all = { ...stats, routes: {}, values: stats.total }
    return Array.from(reading.read(all), ([{ route, ...labels }, value]) => [labels, value] as const)
  }
  return { ...reading, labels: reading.labels.filter((label) => label !== 'route'), read }
}
