// What a run is asked for on the command line.
import { parseArgs } from 'node:util'
import { BROKEN_BUILDS, type BrokenBuildName } from './broken-build.js'
import { ROWS_APART } from './forms.js'
import { COMPOSED_MODES, MODES, PLAIN_MODES, type ModeName } from './workload.js'

/** `sentinel`: a primary and its replica, found by three sentinels. */
const TARGETS = ['standalone', 'cluster', 'sentinel'] as const
/** The package of the processes' clients; `mixed`: node-redis in every other process. */
export const CLIENTS = ['ioredis', 'node-redis', 'mixed'] as const
export type ClientName = typeof CLIENTS[number]
/** What happens in the middle of a run, and where it can. */
const FAULTS = {
  none: TARGETS,
  pressure: TARGETS,
  restart: ['standalone'],
  failover: ['cluster', 'sentinel'],
  handover: ['cluster', 'sentinel'],
  untrack: ['standalone', 'cluster'],
  standstill: ['sentinel']
} as const satisfies Record<string, ReadonlyArray<Settings['target']>>
export type FaultName = keyof typeof FAULTS

export interface Settings {
  /** For each mode. */
  seconds: number
  /** How many processes have the plugin. */
  processes: number
  modes: ModeName[]
  target: typeof TARGETS[number]
  seed: number
  /** How many rows the reads and writes of a mode collide on. */
  rows: number
  /** The share of operations that are writes: below a sixth, as each brings five readers with it. */
  writes: number
  /** How many operations are under way at once. */
  concurrency: number
  /** How many other names Redis holds, so that a SCAN takes several steps. */
  ballast: number
  fault: FaultName
  /** Whether all processes have a tier in front of Redis. */
  memory: boolean
  /** Whether every other process does not hear from the sentinels that a primary was replaced. */
  blind: boolean
  client: ClientName
  /** A checkout whose plugin/index.ts is run. Undefined: this one. */
  plugin: string | undefined
  /** A checkout, or an unpacked package, whose plugin every second process runs. Undefined: all run the same one. */
  beside: string | undefined
  /** Without which of its checks. Undefined: whole. */
  broken: BrokenBuildName | undefined
  /** Appended to every redis-server's command line. */
  redisArgs: string[]
  /** Whether a mode ends with its first stale read. */
  untilStale: boolean
}

export const DEFAULTS: Settings = {
  seconds: 15,
  processes: 4,
  modes: ['key'],
  target: 'standalone',
  seed: 1,
  rows: 12,
  writes: 0.05,
  concurrency: 32,
  ballast: 2000,
  fault: 'none',
  memory: false,
  blind: false,
  client: 'ioredis',
  plugin: undefined,
  beside: undefined,
  broken: undefined,
  redisArgs: [],
  untilStale: false
}

export const USAGE = `npm run race -- [options]
  --seconds N       of each mode (${DEFAULTS.seconds})
  --processes P     with the plugin (${DEFAULTS.processes})
  --mode M          ${PLAIN_MODES.join('|')},
                    ${COMPOSED_MODES.slice(0, 7).join('|')}|
                    ${COMPOSED_MODES.slice(7).join('|')}:
                    several with commas; composed: all of responses made of cached values; all (key)
  --target T        ${TARGETS.join('|')} (standalone)
  --seed S          of all choices (${DEFAULTS.seed})
  --rows N          that they collide on (${DEFAULTS.rows})
  --writes SHARE    of all operations (${DEFAULTS.writes})
  --concurrency N   operations under way at once (${DEFAULTS.concurrency})
  --ballast N       other names in Redis (${DEFAULTS.ballast})
  --fault NAME      ${Object.keys(FAULTS).join('|')} (${DEFAULTS.fault})
  --memory          every process with a tier: exact for its own writes, for others' within a second
  --blind           every other process without failoverDetector: exact for a process' own writes, for others' within 15 s
  --client NAME     of the processes: ${CLIENTS.join('|')} (${DEFAULTS.client})
  --plugin DIR      a checkout, or an unpacked package, whose plugin is run instead of this one's
  --beside DIR      another one, run by every second process (p1, p3, ...): two builds under one prefix
  --broken NAME     without one of its checks: ${Object.keys(BROKEN_BUILDS).join('|')}
  --redis-args ARGS for every redis-server: "--maxmemory 3mb --maxmemory-policy allkeys-lru"
  --until-stale     end a mode with its first stale read
  --json            the totals as JSON in the last line`

const MOST_WRITES = 0.16
const BROKEN_NAMES = Object.keys(BROKEN_BUILDS) as BrokenBuildName[]

const options = {
  ...Object.fromEntries(['seconds', 'processes', 'mode', 'target', 'seed', 'rows', 'writes', 'concurrency', 'ballast', 'fault',
    'client', 'plugin', 'beside', 'broken', 'redis-args'].map((name) => [name, { type: 'string' as const }])),
  memory: { type: 'boolean' as const },
  blind: { type: 'boolean' as const },
  'until-stale': { type: 'boolean' as const },
  json: { type: 'boolean' as const },
  help: { type: 'boolean' as const }
}

/** Throws an error whose message says what is wrong. */
export function readSettings (args: string[]): { settings: Settings, json: boolean, help: boolean } {
  const values: Record<string, string | boolean | undefined> = parseArgs({ args: joined(args), options }).values
  const text = (name: string, absent: string): string => String(values[name] ?? absent)
  const number = (name: keyof Settings, least: number, most = 1e9): number => {
    const value = Number(values[name] ?? DEFAULTS[name])
    if (value >= least && value <= most) return value
    throw new Error(`--${name} is a number from ${least} to ${most}, not "${values[name]}"`)
  }
  const settings: Settings = {
    seconds: number('seconds', 0.1),
    processes: number('processes', 1),
    modes: modesOf(text('mode', 'key')),
    target: oneOf('target', text('target', 'standalone'), TARGETS),
    seed: number('seed', 0),
    rows: number('rows', 2, ROWS_APART),
    writes: number('writes', 0, MOST_WRITES),
    concurrency: number('concurrency', 1),
    ballast: number('ballast', 0),
    fault: oneOf('fault', text('fault', 'none'), Object.keys(FAULTS) as FaultName[]),
    memory: values.memory === true,
    blind: values.blind === true,
    client: oneOf('client', text('client', 'ioredis'), CLIENTS),
    plugin: values.plugin === undefined ? undefined : String(values.plugin),
    beside: values.beside === undefined ? undefined : String(values.beside),
    broken: values.broken === undefined ? undefined : oneOf('broken', String(values.broken), BROKEN_NAMES),
    redisArgs: text('redis-args', '').split(/\s+/).filter((word) => word !== ''),
    untilStale: values['until-stale'] === true
  }
  mustBePossible(settings)
  return { settings, json: values.json === true, help: values.help === true }
}

function mustBePossible ({ fault, target, redisArgs, memory, beside, processes, blind, client }: Settings): void {
  if (client !== 'ioredis' && target === 'sentinel') throw new Error('--client node-redis: the plugin refuses its sentinels')
  if (blind && target !== 'sentinel') throw new Error('--blind is about sentinels: it needs --target sentinel')
  const targets: readonly string[] = FAULTS[fault]
  if (!targets.includes(target)) throw new Error(`--fault ${fault} is for --target ${targets.join(' or ')}`)
  if (fault === 'untrack' && !memory) throw new Error('--fault untrack breaks the connections of tiers: it needs --memory')
  if (beside !== undefined && processes < 2) throw new Error('--beside is for every second process: it needs two')
  if (fault === 'pressure' && !redisArgs.includes('--maxmemory')) {
    throw new Error('--fault pressure needs a limit: --redis-args "--maxmemory 3mb --maxmemory-policy allkeys-lru"')
  }
}

/** `--redis-args "--maxmemory 3mb"`: a value that begins with a dash is taken only behind a `=`. */
function joined (args: string[]): string[] {
  const at = args.indexOf('--redis-args')
  return at < 0 || at + 1 >= args.length ? args : args.toSpliced(at, 2, `--redis-args=${args[at + 1]}`)
}

function modesOf (text: string): ModeName[] {
  if (text === 'all') return [...MODES]
  return text.split(',').flatMap((name) => name === 'composed' ? COMPOSED_MODES : oneOf('mode', name, MODES))
}

function oneOf<Name extends string> (option: string, text: string, names: readonly Name[]): Name {
  const name = names.find((one) => one === text)
  if (name === undefined) throw new Error(`--${option} is one of ${names.join(', ')}; not "${text}"`)
  return name
}
