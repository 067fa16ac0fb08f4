// What a run is asked for on the command line.
import { parseArgs } from 'node:util'
import { BROKEN_BUILDS } from '../race/checker/broken-build.js'
import { BROKEN_APPS, CLIENTS, type ClientName } from './app-config.js'
import type { Broken } from './app.js'
import { FAULT_NAMES, faultOf, stageOf, type FaultName } from './faults.js'
import { DEFAULT_RATE } from './load.js'

export interface Settings {
  task: 'rows' | 'soak' | 'list' | 'help'
  faults: FaultName[]
  /** Of each fault; of the whole soak. */
  seconds: number
  /** Requests a second. */
  rate: number
  seed: number
  broken: Broken | undefined
  client: ClientName
}

const SECONDS = { rows: 5, soak: 600 }
const LEAST_SECONDS = { rows: 0.5, soak: 30 }
/** Such a load is what the suite is about. */
const LEAST_RATE = 200
const BROKEN_NAMES = [...Object.keys(BROKEN_APPS), ...Object.keys(BROKEN_BUILDS)] as Broken[]

export const USAGE = `npm run chaos -- [options]
  --fault NAME      one fault, or several with commas; of a soak, those to choose from (all)
  --seconds N       how long a fault lasts, with as much load before and after it (${SECONDS.rows}); of a soak, all in all (${SECONDS.soak})
  --rate N          requests a second, at least ${LEAST_RATE} (${DEFAULT_RATE})
  --seed S          of all choices (1; of a soak: random)
  --soak            one process under mixed load with a random fault every 5 s: what has grown, failed or was stale?
  --broken NAME     an app that fails: ${BROKEN_NAMES.join('|')}
  --client NAME     of the app: ${CLIENTS.join('|')} (ioredis)
  --list            the faults`

const options = {
  ...Object.fromEntries(['fault', 'seconds', 'rate', 'seed', 'broken', 'client'].map((name) => [name, { type: 'string' as const }])),
  ...Object.fromEntries(['soak', 'list', 'help'].map((name) => [name, { type: 'boolean' as const }]))
}

/** Throws an error whose message says what is wrong. */
export function readSettings (args: string[]): Settings {
  const values: Record<string, string | boolean | undefined> = parseArgs({ args, options }).values
  const number = (name: string, absent: number, least: number): number => {
    const value = Number(values[name] ?? absent)
    if (values[name] !== '' && value >= least && value <= 1e9) return value
    throw new Error(`--${name} is a number from ${least} on, not "${values[name]}"`)
  }
  const isSoak = values.soak === true
  const task = isSoak ? 'soak' : 'rows'
  return {
    task: values.help === true ? 'help' : values.list === true ? 'list' : task,
    faults: faultsOf(values.fault === undefined ? undefined : String(values.fault), isSoak),
    seconds: number('seconds', SECONDS[task], LEAST_SECONDS[task]),
    rate: number('rate', DEFAULT_RATE, LEAST_RATE),
    seed: number('seed', isSoak ? Math.floor(Math.random() * 1e6) : 1, 0),
    client: oneOf('client', String(values.client ?? 'ioredis'), CLIENTS),
    broken: values.broken === undefined ? undefined : oneOf('broken', String(values.broken), BROKEN_NAMES)
  }
}

export function faultList (): string {
  const width = Math.max(...FAULT_NAMES.map((name) => name.length))
  return FAULT_NAMES.map((name) => `${name.padEnd(width)}  ${faultOf(name).what}`).join('\n')
}

function faultsOf (text: string | undefined, isSoak: boolean): FaultName[] {
  const all = isSoak ? FAULT_NAMES.filter((name) => stageOf(name) === 'single') : FAULT_NAMES
  return text === undefined ? all : text.split(',').map((name) => oneOf('fault', name, all))
}

function oneOf<Name extends string> (option: string, text: string, names: readonly Name[]): Name {
  const name = names.find((one) => one === text)
  if (name === undefined) throw new Error(`--${option} is one of ${names.join(', ')}; not "${text}"`)
  return name
}
