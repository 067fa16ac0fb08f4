// The numbers on the page. Counts are the plugin's own; it doesn't measure time, so that is done here.
import type { FastifyInstance } from 'fastify'

export interface RouteActivity {
  /** As declared: `GET /cities/:id`. */
  route: string
  requests: number
  hits: number
  misses: number
  hitRate: number
  /** Milliseconds, of the last ones; null where there was none. */
  hitMedian: number | null
  missMedian: number | null
}

const remembered = 500

/** The last durations, for their median. */
class Durations {
  readonly #ring: number[] = []
  #next = 0

  add (duration: number): void {
    this.#ring[this.#next] = duration
    this.#next = (this.#next + 1) % remembered
  }

  median (): number | null {
    const sorted = this.#ring.toSorted((a, b) => a - b)
    return sorted[Math.floor(sorted.length / 2)] ?? null
  }
}

/** Measures every cached route that is declared from here on; the function that it gives reads the numbers. */
export function measureActivity (app: FastifyInstance): () => RouteActivity[] {
  const measured = new Map<string, { hit: Durations, miss: Durations }>()
  app.addHook('onResponse', async (request, reply) => {
    const outcome = request.cacheOutcome
    // Errors are quick, and neither what a hit saves nor what it costs.
    if (outcome === null || outcome.type === 'bypass' || outcome.type === 'own' || reply.statusCode !== 200) return
    const route = `${request.method} ${request.routeOptions.url}`
    const durations = measured.get(route) ?? { hit: new Durations(), miss: new Durations() }
    measured.set(route, durations)
    durations[outcome.type === 'miss' ? 'miss' : 'hit'].add(reply.elapsedTime)
  })
  return () => Object.entries(app.cache.stats().routes).map(([route, stats]) => {
    const { hits, misses, hitRate } = stats
    const bypasses = Object.values(stats.bypasses).reduce((sum, count) => sum + count, 0)
    const durations = measured.get(route)
    return {
      route,
      requests: hits + misses + bypasses,
      hits,
      misses,
      hitRate,
      hitMedian: durations?.hit.median() ?? null,
      missMedian: durations?.miss.median() ?? null
    }
  })
}
