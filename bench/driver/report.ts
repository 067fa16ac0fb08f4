// What is printed and kept: Markdown with all tables, and JSON with every sample.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Machine } from './machine.js'
import type { Options } from './options.js'
import type { Phase } from './plan.js'
import type { Results, Sample } from './side-by-side.js'
import { shows } from './shows.js'
import { SUBJECTS } from './subjects.js'
import { rows, table, type Row } from './table.js'

const WHAT: Record<string, string> = {
  hit: 'Hits: 16 keys in turns',
  304: 'Hits with If-None-Match, answered 304: one key',
  miss: 'Misses: each request another key; × bare is of the uncached route',
  stampede: 'Stampede: 500 requests at once for a cold key, a handler of 200 ms; × bare is of the uncached route',
  invalidation: 'Hits of one key that is invalidated 20 times a second, a handler of 5 ms; stale is what was older than an ' +
    'invalidation that had returned before the request began',
  processes: 'Hits of 16 keys over several processes on one Redis: requests/s of all, CPU of all a request'
}

const HITS: readonly string[] = ['hit', '304', 'processes']
/** Fewer are lookups that gave up waiting for Redis. */
const MOST_RUN = 0.01

function isNoHit ({ subject, ran }: Row): boolean {
  return ran > MOST_RUN && SUBJECTS.find(({ id }) => id === subject)!.keeps !== 'nothing'
}

export function markdown (plan: readonly Phase[], results: Results, machine: Machine, options: Options): string {
  const names = new Map(SUBJECTS.map(({ id, name }) => [id, name]))
  const notes = [...results.notes]
  const sections = plan.map(({ workload, size }) => {
    const list = rows(ofPhase(results.samples, workload, size), names)
    notes.push(...list.filter(({ wrong }) => wrong > 0).map(({ name, wrong, example }) =>
      `${workload}, ${size} kB, ${name}: ${wrong} wrong answers, such as: ${example ?? '?'}`))
    if (HITS.includes(workload)) {
      notes.push(...list.filter(isNoHit).map(({ name, ran }) =>
      `${workload}, ${size} kB, ${name}: the handler ran for ${(ran * 100).toFixed(1)} % of what were to be hits`))
    }
    if (list.length === 0) return ''
    return `### ${WHAT[workload]}, ${size} kB\n\n${table(workload, list, workload === 'hit' ? [bytesColumn(results, size)] : [])}\n`
  })
  return [
    '## Side by side', '', head(machine, options), '', ...sections, '### What a stored response loses', '', kept(results, names), '',
    ...shows(results.samples, results.bytes).map((show) => `- ${show}`), '',
    ...notes.length === 0 ? [] : ['Notes:', '', ...notes.map((note) => `- ${note}`), '']
  ].join('\n')
}

export async function keep (folder: string, markdownText: string, data: unknown): Promise<void> {
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'bench.md'), markdownText)
  await writeFile(join(folder, 'bench.json'), `${JSON.stringify(data, null, 1)}\n`)
}

export function ofPhase (samples: readonly Sample[], workload: string, size: number): Sample[] {
  return samples.filter((sample) => sample.workload === workload && sample.size === size)
}

function bytesColumn ({ bytes }: Results, size: number): { head: string, cell: (row: Row) => string } {
  return {
    head: 'bytes/entry in Redis',
    cell: ({ subject }) => {
      const value = bytes.get(`${subject} ${size}`) ?? null
      return value === null ? '-' : value.toFixed(0)
    }
  }
}

function kept ({ traits }: Results, names: ReadonlyMap<string, string>): string {
  const lines = [...traits].filter(([, { loses }]) => loses !== '-')
    .map(([id, { loses, etag }]) => `| ${names.get(id)} | ${loses} | ${etag ? 'yes' : 'no'} |`)
  return ['| subject | a hit of a 203 with a content type and a header of its own loses | answers If-None-Match with 304 |',
    '| --- | --- | --- |', ...lines].join('\n')
}

function head (machine: Machine, { rounds, seconds, connections, processes }: Options): string {
  const { cpu, cores, memory, node, redis, load, packages, date } = machine
  return `${date.slice(0, 10)}, ${cpu}, ${cores} cores, ${memory}; load average ${load.before.join(' ')} before, ` +
    `${load.after.join(' ')} after. Node ${node.slice(1)}, Redis ${redis}; ` +
    `${Object.entries(packages).map(([name, version]) => `${name} ${version}`).join(', ')}.\n\n` +
    `Median (min-max) of ${rounds} rounds, in each round all subjects in turns, ${seconds} s each, ${connections} connections ` +
    `(autocannon); ${processes} processes where there are several. Each subject is a process with a Redis of its own, started ` +
    'once for all rounds and warmed up. CPU is the user and system time of the server process; ratios are of CPU a request, ' +
    'made within each round.'
}
