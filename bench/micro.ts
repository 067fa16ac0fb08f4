// `npm run bench -- --micro`: the cost of a lookup's own work, without Fastify and Redis: an entry's bytes, and keys.
import { decode, encode, type Entry } from '../plugin/entry/entry.js'
import { buildKey, defaultKey, fillTemplate, parseTemplate } from '../plugin/key/key.js'
import { spread } from './driver/statistics.js'
import { line, text } from './driver/table.js'

const ROUNDS = 7
const SLICE = 100
const BATCH = 200
const NAME = 'item:1'

/** In turns, round by round; nanoseconds a call. Always resolves to 0, an exit code. */
export async function showMicro (): Promise<number> {
  const works = [...codec(1), ...codec(64), ...keys()]
  const times = works.map((): number[] => [])
  for (const { work } of works) perCall(work)
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, { work }] of works.entries()) times[i]!.push(perCall(work))
  }
  console.log(`${line(['work', 'ns a call, median (min-max)'])}\n${line(['---', '---:'])}`)
  for (const [i, { name }] of works.entries()) console.log(line([name, text(spread(times[i]!), 0)]))
  return 0
}

interface Work { name: string, work: () => unknown }

function codec (kilobytes: number): Work[] {
  const entry = typical(kilobytes)
  const bytes = encode(entry, NAME)
  if (decode(bytes, NAME) === null) throw new Error('the entry does not decode')
  return [
    { name: `encode an entry, body of ${kilobytes} kB`, work: () => encode(entry, NAME) },
    { name: `decode an entry, body of ${kilobytes} kB`, work: () => decode(bytes, NAME) }
  ]
}

function typical (kilobytes: number): Entry {
  const now = 1_790_000_000_000
  return {
    status: 200,
    headers: [
      ['content-type', 'application/json; charset=utf-8'], ['etag', 'W/"3b-aGVsbG8gd29ybGQgaGVsbG8"'],
      ['cache-control', 'public, max-age=60'], ['vary', 'accept-encoding'], ['last-modified', 'Mon, 23 Nov 2026 09:00:00 GMT'],
      ['x-request-cost', '12']
    ],
    body: Buffer.alloc(kilobytes * 1024, '{"id":1}'),
    encoded: [],
    kind: 'text',
    epoch: '',
    history: 'abcdefghijkl',
    tags: ['items'],
    storedAt: now,
    softenings: [],
    staleAt: now + 600_000,
    deadAt: now + 600_000,
    rescueUntil: now + 600_000,
    cost: 12,
    asOf: now * 1000
  }
}

function keys (): Work[] {
  const parts = parseTemplate('item:{id}:{query.page}')
  const values: Record<string, unknown> = { id: 'h1-7', page: 2 }
  const source = { params: { id: 'h1-7' }, query: { page: 2, sort: 'name', filter: 'a b' } }
  return [
    { name: 'a key from a compiled template of two places', work: () => fillTemplate(parts, ({ name }) => values[name]) },
    { name: 'cache.key(): the template compiled each time', work: () => buildKey('item:{id}:{query.page}', values) },
    { name: 'the default key: path, a param, three of the query', work: () => defaultKey('/items/:id', source) }
  ]
}

/** So that no result is thought to be unused. */
let kept: unknown

function perCall (work: () => unknown): number {
  const began = performance.now()
  let calls = 0
  let took = 0
  do {
    for (let i = 0; i < BATCH; i++) kept = work()
    calls += BATCH
    took = performance.now() - began
  } while (took < SLICE)
  if (kept === undefined) throw new Error('nothing was made')
  return took * 1e6 / calls
}
