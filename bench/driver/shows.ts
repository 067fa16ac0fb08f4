// The sentences that matter, each a ratio within rounds.
import type { Sample } from './side-by-side.js'
import { ratio, spread, type Spread } from './statistics.js'
import { BARE_REDIS, BARE_STRING, HAND_WRITTEN, OURS_MEMORY, OURS_REDIS, OURS_TIER, SUBJECTS, UNCACHED, type Subject } from './subjects.js'
import { cpuRatio, text } from './table.js'

export function shows (samples: readonly Sample[], bytes: ReadonlyMap<string, number | null>): string[] {
  const of = (workload: string, size: number): Sample[] =>
    samples.filter((one) => one.workload === workload && one.size === size)
  const hits = of('hit', 1)
  const large = of('hit', 256)
  const said = [
    sentence('Redis hit, 1 kB: CPU a request × the hand-written handler', cpuRatio(hits, OURS_REDIS, HAND_WRITTEN)),
    sentence('Redis hit, 1 kB: CPU a request × bare Fastify with a prepared string', cpuRatio(hits, OURS_REDIS, BARE_STRING)),
    best(hits, OURS_REDIS, ({ memory }) => memory !== true, 'Redis hit, 1 kB: CPU a request × the cheapest peer that asks Redis'),
    sentence('Tier hit, 1 kB: CPU a request × bare Fastify with a prepared string', cpuRatio(hits, OURS_TIER, BARE_STRING)),
    best(hits, OURS_TIER, isLikeTier, 'Tier hit, 1 kB: CPU a request × the cheapest peer that keeps responses in memory'),
    sentence('Hit of the in-process store, 1 kB: CPU a request × bare Fastify with a prepared string', cpuRatio(hits, OURS_MEMORY, BARE_STRING)),
    sentence('Redis hit, 256 kB: CPU a request × a bare route that reads a Buffer from Redis', cpuRatio(large, OURS_REDIS, BARE_REDIS)),
    sentence('304 from Redis, 1 kB: CPU a request × the 200 hit', across(of('304', 1), hits)),
    miss(of('miss', 1)),
    bytes.get(`${OURS_REDIS} 1`) == null ? null : `An entry of 1 kB takes ${bytes.get(`${OURS_REDIS} 1`)!.toFixed(0)} bytes in Redis`
  ]
  return said.filter((one) => one !== null)
}

function sentence (what: string, value: Spread | null): string | null {
  return value === null ? null : `${what}: ${text(value, 2)}`
}

/** Rounds of two workloads: of one round, but not side by side. */
function across (samples: readonly Sample[], base: readonly Sample[]): Spread | null {
  const cpu = (list: readonly Sample[]): Array<{ round: number, value: number }> => list
    .filter(({ subject }) => subject === OURS_REDIS).map(({ round, figures }) => ({ round, value: figures.cpu }))
  return ratio(cpu(samples), cpu(base))
}

/** The split of a miss: what it costs on top of the uncached route, and what it asks of Redis. */
function miss (samples: readonly Sample[]): string | null {
  const own = samples.filter(({ subject }) => subject === OURS_REDIS)
  const added = spread(own.map(({ round, figures }) => {
    const base = samples.find((one) => one.subject === UNCACHED && one.round === round)
    return base === undefined ? null : figures.cpu - base.figures.cpu
  }))
  if (added === null) return null
  const commands = spread(own.map(({ figures }) => figures.redisCommands))
  return `A miss with its fill, 1 kB: ${text(added, 0)} µs of CPU on top of the uncached route, ${text(commands, 2)} Redis commands, ` +
    'those that scripts call included'
}

function best (samples: readonly Sample[], ours: string, among: (peer: Subject) => boolean, what: string): string | null {
  const found = SUBJECTS.filter((subject) => subject.packages !== undefined && among(subject))
    .map(({ id, name }) => ({ name, value: cpuRatio(samples, ours, id) }))
    .filter((one): one is { name: string, value: Spread } => one.value !== null)
    .sort((a, b) => b.value.median - a.value.median)[0]
  return found === undefined ? null : `${what} (${found.name}): ${text(found.value, 2)}`
}

function isLikeTier ({ memory, keeps }: Subject): boolean {
  return memory === true && keeps === 'response'
}
