// The command: options, then one of its three tasks. Exit code 1: a subject gave wrong answers or did not start; 2: nothing
// could be run.
import { fileURLToPath } from 'node:url'
import { startRedis } from '../../test/helpers/redis.js'
import { Load } from './load.js'
import { loadAverage, machine, redisVersion } from './machine.js'
import { readOptions, type Options } from './options.js'
import { chosen, estimate, phases } from './plan.js'
import { showMemory } from '../memory.js'
import { showMicro } from '../micro.js'
import { keep, markdown } from './report.js'
import { sideBySide } from './side-by-side.js'
import { SUBJECTS } from './subjects.js'

const BUILD = fileURLToPath(new URL('../../build/bench', import.meta.url))
const interrupt = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt.abort())

try {
  process.exitCode = await run(readOptions(process.argv.slice(2), SUBJECTS.map(({ id }) => id), BUILD))
} catch (error) {
  process.exitCode = interrupt.signal.aborted ? 130 : 2
  console.error(`bench: ${interrupt.signal.aborted ? 'interrupted' : (error as Error).message}`)
}

async function run (options: Options): Promise<number> {
  switch (options.task) {
    case 'subjects': return await compare(options)
    case 'micro': return await showMicro()
    case 'memory': return await showMemory(options, interrupt.signal)
  }
}

async function compare (options: Options): Promise<number> {
  const say = (text: string): void => console.error(`bench: ${text}`)
  const subjects = chosen(options)
  const plan = phases(options, subjects)
  if (plan.length === 0) throw new Error('none of these subjects takes part in these workloads')
  const before = loadAverage()
  say(`${subjects.length} subjects, about ${Math.ceil(estimate(plan, options) / 60 * 10) / 10} minutes`)
  const load = await Load.start()
  try {
    const results = await sideBySide(plan, { options, load, signal: interrupt.signal, say })
    const packages = ['fastify', 'ioredis', 'autocannon', ...subjects.flatMap(({ packages = [] }) => packages)]
    const where = machine(before, await versionOfRedis(), [...new Set(packages)])
    const text = markdown(plan, results, where, options)
    console.log(text)
    const { samples, traits, bytes, notes } = results
    await keep(options.out, text, {
      machine: where, options, traits: Object.fromEntries(traits), bytes: Object.fromEntries(bytes), notes, samples
    })
    return results.missing > 0 || samples.some(({ figures }) => figures.wrong > 0) ? 1 : 0
  } finally {
    await load.stop()
  }
}

async function versionOfRedis (): Promise<string> {
  const server = await startRedis()
  try {
    return await redisVersion(server.client())
  } finally {
    await server.stop()
  }
}
