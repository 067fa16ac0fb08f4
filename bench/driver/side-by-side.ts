// Runs every subject side by side, in turns: round 1 all of them, round 2 all of them again. Each is started once for all
// rounds and workloads, with a Redis of its own; idle ones cost nothing. What serves with several processes is started for
// that workload alone.
import type { Load } from './load.js'
import type { Options, Size, Workload } from './options.js'
import { warmUp, type Phase } from './plan.js'
import { Server } from './server.js'
import { hotIds, runSlice, type Figures } from './slice.js'
import type { Subject } from './subjects.js'
import { bytesOfEntry, fill, traitsOf, type Traits } from './traits.js'

export interface Sample { workload: Workload, size: Size, subject: string, round: number, figures: Figures }

export interface Results {
  samples: Sample[]
  traits: Map<string, Traits>
  /** By `subject size`. */
  bytes: Map<string, number | null>
  notes: string[]
  /** How many subjects that must run did not. */
  missing: number
}

interface Run extends Results {
  options: Options
  load: Load
  signal: AbortSignal
  say: (text: string) => void
  servers: Map<string, Server>
}

export async function sideBySide (plan: readonly Phase[], run: Omit<Run, keyof Results | 'servers'>): Promise<Results> {
  const all: Run = { ...run, samples: [], traits: new Map(), bytes: new Map(), notes: [], missing: 0, servers: new Map() }
  try {
    for (const subject of new Set(plan.flatMap(({ subjects }) => subjects))) await start(subject, all)
    for (const [i, phase] of plan.entries()) await runPhase(phase, i, all)
  } finally {
    await Promise.all([...all.servers.values()].map(async (server) => await server.stop()))
  }
  const { samples, traits, bytes, notes, missing } = all
  return { samples, traits, bytes, notes, missing }
}

async function start (subject: Subject, run: Run): Promise<void> {
  run.signal.throwIfAborted()
  let server: Server | undefined
  try {
    server = await Server.start(subject)
    run.traits.set(subject.id, await traitsOf(server))
    await warm('hit', 1, server, { run, serial: 'w', isNew: true })
    run.servers.set(subject.id, server)
    if (server.version !== undefined) run.notes.push(`${subject.name}: ${server.version}`)
  } catch (error) {
    await server?.stop()
    if (subject.optional !== true) run.missing++
    run.notes.push(`${subject.name} is left out: ${reason(error as Error)}`)
  }
}

/** One line; the list of all options that an unknown one is refused with is left out. */
function reason ({ message }: Error): string {
  return message.split('\n')[0]!.replace(/(there is no such option); there are:.*/, '$1')
}

async function runPhase ({ workload, size, subjects }: Phase, serial: number, run: Run): Promise<void> {
  const { options, signal } = run
  const taking = subjects.filter(({ id }) => run.servers.has(id) && (workload !== '304' || run.traits.get(id)!.etag))
  run.say(`${workload}, ${size} kB: ${taking.length} subjects`)
  const group = new Map<Subject, Server>()
  // One that can't go on leaves; the others stay.
  const attempt = async (subject: Subject, work: () => Promise<void>): Promise<void> => {
    signal.throwIfAborted()
    try {
      await work()
    } catch (error) {
      signal.throwIfAborted()
      run.notes.push(`${workload}, ${size} kB: ${subject.name} is left out: ${reason(error as Error)}`)
      await leave(subject)
    }
  }
  const leave = async (subject: Subject): Promise<void> => {
    const server = group.get(subject)
    group.delete(subject)
    if (workload === 'processes') await server?.stop()
  }
  try {
    for (const subject of taking) {
      await attempt(subject, async () => {
        const server = workload === 'processes'
          ? await Server.start(subject, { processes: options.processes })
          : run.servers.get(subject.id)!
        group.set(subject, server)
        if (workload === 'hit') run.bytes.set(`${subject.id} ${size}`, await bytesOfEntry(server, size))
        await warm(workload, size, server, { run, serial: `${serial}w`, isNew: workload === 'processes' })
      })
    }
    for (let round = 1; round <= options.rounds; round++) {
      for (const [subject, server] of group) {
        await attempt(subject, async () => {
          const figures = await slice(workload, size, server, { seconds: options.seconds, serial: `${serial}r${round}`, run })
          run.samples.push({ workload, size, subject: subject.id, round, figures })
        })
      }
    }
  } finally {
    await Promise.all([...group.keys()].map(leave))
  }
}

interface Warming { run: Run, serial: string, isNew: boolean }

/** Compiled code, open connections, filled entries: not measured. */
async function warm (workload: Workload, size: Size, server: Server, { run, serial, isNew }: Warming): Promise<void> {
  if (workload === 'hit' || workload === 'processes') await fill(server, hotIds(size))
  await slice(workload, size, server, { seconds: warmUp(run.options.seconds, isNew), serial, run })
}

async function slice (
  workload: Workload, size: Size, server: Server, { seconds, serial, run }: { seconds: number, serial: string, run: Run }
): Promise<Figures> {
  const { load, options: { connections } } = run
  return await runSlice(workload, server, load, { size, connections, seconds, serial })
}
