// The instruments, made with a meter: counters are read at each collection, durations are recorded at once.
import type { BatchObservableCallback, Histogram, Meter, ObservableCounter, ObservableGauge } from '@opentelemetry/api'
import type { Plan, PlannedTiming } from '../metrics/budget.js'
import { hearDurations } from '../metrics/durations.js'
import { measured } from '../metrics/feed.js'
import type { Observable, Timed } from '../metrics/instruments.js'
import type { Subject } from '../metrics/subject.js'

const NAMESPACE = 'route_cache.'

/** Until the function that it returns is called. */
export function measure ({ cache, name }: Subject, meter: Meter, plan: Plan): () => void {
  const observed = plan.readings.map((reading) => [reading, observable(meter, reading)] as const)
  const observe: BatchObservableCallback = (result) => {
    // Once, so that all of them fit.
    const stats = measured(cache)
    for (const [reading, instrument] of observed) {
      for (const [labels, value] of reading.read(stats)) result.observe(instrument, value, { cache: name, ...labels })
    }
  }
  const instruments = observed.map(([, instrument]) => instrument)
  meter.addBatchObservableCallback(observe, instruments)
  const histograms = new Map(Object.entries(plan.timings).map(([what, timing]) => [what as Timed, histogram(meter, timing)]))
  const end = hearDurations(cache, plan, (what, labels, seconds) => {
    histograms.get(what)!.record(seconds, { cache: name, ...labels })
  })
  return () => {
    end()
    meter.removeBatchObservableCallback(observe, instruments)
  }
}

function observable (meter: Meter, { kind, name, unit, help }: Observable): ObservableCounter | ObservableGauge {
  const options = { unit, description: help }
  const full = NAMESPACE + name
  return kind === 'counter' ? meter.createObservableCounter(full, options) : meter.createObservableGauge(full, options)
}

function histogram (meter: Meter, { name, unit, help, buckets }: PlannedTiming): Histogram {
  const advice = { explicitBucketBoundaries: [...buckets] }
  return meter.createHistogram(NAMESPACE + name, { unit, description: help, advice })
}
