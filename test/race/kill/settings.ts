// What a run is asked for on the command line.
import { parseArgs } from 'node:util'
import { CLIENTS, type ClientName } from '../checker/settings.js'
import { STEPS, type Step } from './step.js'

export interface Settings {
  /** How often at each step. */
  times: number
  target: 'standalone' | 'cluster'
  client: ClientName
  steps: Step[]
  /** Whether the quarantine does not occupy the lease's name. */
  isBroken: boolean
  /** How many rounds are under way at once. */
  lanes: number
}

export const DEFAULTS: Settings = { times: 50, target: 'standalone', client: 'ioredis', steps: [...STEPS], isBroken: false, lanes: 10 }

export const USAGE = `npm run race:kill -- [options]
  --times N           at each step: ${STEPS.join(', ')} (${DEFAULTS.times})
  --target T          standalone|cluster (${DEFAULTS.target})
  --client NAME       ${CLIENTS.join('|')} (${DEFAULTS.client})
  --step NAME         this one only
  --lanes N           rounds at once (${DEFAULTS.lanes})
  --broken quarantine with a quarantine that leaves the lease's name free`

/** Throws an error whose message says what is wrong; null: only the usage is asked for. */
export function readSettings (args: string[]): Settings | null {
  const names = ['times', 'target', 'client', 'step', 'lanes', 'broken']
  const options = Object.fromEntries(names.map((name) => [name, { type: 'string' as const }]))
  const { values } = parseArgs({ args, options: { ...options, help: { type: 'boolean' as const } } })
  if (values.help === true) return null
  const { times, target, client, step, lanes, broken } = values as Record<string, string | undefined>
  return {
    times: numberOf('times', times, DEFAULTS.times),
    target: target === undefined ? DEFAULTS.target : oneOf('target', target, ['standalone', 'cluster']),
    client: client === undefined ? DEFAULTS.client : oneOf('client', client, CLIENTS),
    steps: step === undefined ? DEFAULTS.steps : [oneOf('step', step, STEPS)],
    isBroken: broken !== undefined && oneOf('broken', broken, ['quarantine']) === 'quarantine',
    lanes: numberOf('lanes', lanes, DEFAULTS.lanes)
  }
}

function numberOf (option: string, text: string | undefined, absent: number): number {
  const value = Number(text ?? absent)
  if (Number.isInteger(value) && value > 0 && value <= 1000) return value
  throw new Error(`--${option} is a whole number from 1 to 1000, not "${text}"`)
}

function oneOf<Name extends string> (option: string, text: string, names: readonly Name[]): Name {
  const name = names.find((one) => one === text)
  if (name === undefined) throw new Error(`--${option} is one of ${names.join(', ')}; not "${text}"`)
  return name
}
