// What the command may be told. Unknown options and values are refused with what there is.
export const WORKLOADS = ['hit', '304', 'miss', 'stampede', 'invalidation', 'processes'] as const
export type Workload = typeof WORKLOADS[number]
/** Of a body, in kB. */
export const SIZES = [1, 16, 256] as const
export type Size = typeof SIZES[number]

export interface Options {
  task: 'subjects' | 'micro' | 'memory'
  quick: boolean
  /** Ids of subjects. Absent: all. */
  only: string[] | undefined
  workloads: readonly Workload[]
  /** Of hits; the other workloads take the smallest. */
  sizes: readonly Size[]
  rounds: number
  /** Of one subject in one round. */
  seconds: number
  connections: number
  /** How many serve at once in the workload `processes`. */
  processes: number
  /** Requests of `--memory`. */
  requests: number
  /** A folder. */
  out: string
}

const FULL = { workloads: WORKLOADS, sizes: SIZES, rounds: 5, seconds: 1 }
const QUICK = { workloads: ['hit', '304', 'miss'] as const, sizes: [1] as const, rounds: 5, seconds: 0.4 }
const KNOWN = ['--quick', '--only', '--workload', '--sizes', '--rounds', '--seconds', '--connections', '--processes', '--out',
  '--micro', '--memory', '--requests']

/** Throws for what is unknown or wrong. `subjects`: the ids that there are. */
export function readOptions (args: readonly string[], subjects: readonly string[], out: string): Options {
  const given = named(args)
  const quick = given.has('--quick')
  const defaults = quick ? QUICK : FULL
  if (given.has('--micro') && given.has('--memory')) throw new Error('--micro and --memory are two runs: name one')
  return {
    task: given.has('--micro') ? 'micro' : given.has('--memory') ? 'memory' : 'subjects',
    quick,
    only: given.has('--only') ? listed(given, '--only', subjects) : undefined,
    workloads: given.has('--workload') ? listed(given, '--workload', WORKLOADS) : defaults.workloads,
    sizes: given.has('--sizes') ? listed(given, '--sizes', SIZES.map(String)).map(Number) as Size[] : defaults.sizes,
    rounds: positive(given, '--rounds', defaults.rounds, true),
    seconds: positive(given, '--seconds', defaults.seconds, false),
    connections: positive(given, '--connections', 64, true),
    processes: positive(given, '--processes', 4, true),
    requests: positive(given, '--requests', 1_000_000, true),
    out: given.get('--out') ?? out
  }
}

const FLAGS = ['--quick', '--micro', '--memory']

function named (args: readonly string[]): Map<string, string> {
  const given = new Map<string, string>()
  for (let i = 0; i < args.length; i++) {
    const [name, inline] = args[i]!.split(/=(.*)/s) as [string, string?]
    if (!KNOWN.includes(name)) throw new Error(`there is no option ${args[i]}; there are: ${KNOWN.join(', ')}`)
    if (given.has(name)) throw new Error(`${name} is given twice`)
    if (FLAGS.includes(name)) {
      if (inline !== undefined) throw new Error(`${name} takes no value`)
      given.set(name, '')
      continue
    }
    const value = inline ?? args[++i]
    if (value === undefined || value === '' || value.startsWith('--')) throw new Error(`${name} needs a value`)
    given.set(name, value)
  }
  return given
}

function listed<T extends string> (given: Map<string, string>, name: string, known: readonly T[]): T[] {
  const values = given.get(name)!.split(',')
  const unknown = values.find((value) => !known.includes(value as T))
  if (unknown !== undefined) throw new Error(`${name} has no ${JSON.stringify(unknown)}; there are: ${known.join(', ')}`)
  return known.filter((value) => values.includes(value))
}

function positive (given: Map<string, string>, name: string, otherwise: number, whole: boolean): number {
  const text = given.get(name)
  if (text === undefined) return otherwise
  const value = Number(text)
  if (value > 0 && value < Infinity && (!whole || Number.isInteger(value))) return value
  throw new Error(`${name} is a ${whole ? 'whole number' : 'number'} above 0, not ${JSON.stringify(text)}`)
}
