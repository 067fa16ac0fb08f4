// The instruments, made with a meter: counters are read at each collection, durations are recorded at once.
import type { BatchObservableCallback, Histogram, Meter, ObservableCounter, ObservableGauge } from '@opentelemetry/api'
import { hearDurations } from '../metrics/durations.js'
import { measured } from '../metrics/feed.js'
import { BUCKETS, readings, timings, type Observable, type Timing } from '../metrics/instruments.js'
import type { Subject } from '../metrics/subject.js'

const NAMESPACE = 'route_cache.'

/** Until the function that it returns is called. */
export function measure ({ cache, name }: Subject, meter: Meter): () => void {
  const observed = readings.map((reading) => [reading, observable(meter, reading)] as const)
  const observe: BatchObservableCallback = (result) => {
    // Once, so that all of them fit.
    const stats = measured(cache)
    for (const [reading, instrument] of observed) {
      for (const [labels, value] of reading.read(stats)) result.observe(instrument, value, { cache: name, ...labels })
    }
  }
  const instruments = observed.map(([, instrument]) => instrument)
  meter.addBatchObservableCallback(observe, instruments)
  const histograms = {
    lookup: histogram(meter, timings.lookup),
    handler: histogram(meter, timings.handler),
    fill: histogram(meter, timings.fill),
    invalidation: histogram(meter, timings.invalidation)
  }
  const end = hearDurations(cache, (what, labels, seconds) => {
    histograms[what].record(seconds, { cache: name, ...labels })
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

function histogram (meter: Meter, { name, unit, help }: Timing): Histogram {
  const advice = { explicitBucketBoundaries: [...BUCKETS] }
  return meter.createHistogram(NAMESPACE + name, { unit, description: help, advice })
}
