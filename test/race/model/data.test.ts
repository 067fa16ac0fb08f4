// The model's Redis answers as a real one does: the same random commands for both, every reply and what is left compared.
import fc from 'fast-check'
import type { Redis } from 'ioredis'
import t from 'tap'
import { Keys } from '../../../plugin/store/keys.js'
import { checksumOf, ENTRY, MARKER, MARKER_VERSION, LAYOUT_VERSION } from '../../../plugin/store/layout.js'
import type { RedisClient } from '../../../plugin/store/server/redis-client.js'
import { startRedis } from '../../helpers/redis.js'
import { BODIES, scripts, type ScriptName } from './bodies.js'
import { Data, type Argument } from './data.js'
import { Network, type World } from './network.js'

interface Command { label: string, run: (client: RedisClient) => Promise<unknown> }

const RUNS = 400
/** Times to live are compared to the nearest of these. */
const MINUTE = 60_000
/** Ahead of the server's time: the clock goes on from here. */
const FUTURE = '8000000000000000'

function headOf (dead: number, rescuable: number): Buffer {
  const head = Buffer.alloc(ENTRY.asOf, LAYOUT_VERSION)
  head.writeDoubleBE(0, ENTRY.softenedAt)
  head.writeDoubleBE(1e12, ENTRY.staleAt)
  head.writeDoubleBE(1e12 + dead * MINUTE, ENTRY.deadAt)
  head.writeDoubleBE(1e12 + rescuable * MINUTE, ENTRY.rescueUntil)
  return head
}

const keys = new Keys('shop')
const NAMES = {
  entry: [keys.entry('a'), keys.entry('b*?[x]\\^-')],
  lease: [keys.lease('a'), keys.lease('b*?[x]\\^-')],
  variant: [keys.variant('a', 'x'), keys.variant('a', 'y')],
  generation: [keys.tag('t'), keys.tag('u')]
}
const LIST = keys.variants('a')
const TOKENS = ['token', '~token', '~']
/** Two writers' tokens. */
const QUARANTINES = ['q1', 'q2']
const RESERVATIONS = ['?1', '?2']
const EPOCHS = ['epochepoch-1', 'epochepoch-2']

const one = (values: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...values)
const life = fc.integer({ min: 10, max: 99 }).map((minutes) => minutes * MINUTE)
const token = one(TOKENS)
const clock = fc.oneof(fc.integer({ min: 1, max: 9 }).map(String), fc.constant(FUTURE), one(['8000000000000001', '8000000000000002']))
const minutes = fc.integer({ min: 0, max: 9 })
/** Nothing in particular; or the head of an entry that ends so many minutes after it is stale. */
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: ENTRY.asOf - 1 }).map((array) => Buffer.from(array)),
  fc.tuple(minutes, minutes).map(([dead, rescuable]) => headOf(dead, rescuable))
)
const marker = one(EPOCHS).map((epoch) => Buffer.concat([Buffer.from([MARKER_VERSION, 255, 0, 10, 200]), Buffer.from(`${epoch}lang`)]))
const history = one(['historyhist1', 'historyhist2'])
const runs = one(['runs-1', 'runs-2', ''])
const some = fc.subarray(NAMES.generation)
const held = fc.oneof(one(NAMES.generation).map((name) => [name]), fc.constant(NAMES.generation))

function call (name: ScriptName, ofKeys: fc.Arbitrary<string[]>, ...args: fc.Arbitrary<Argument>[]): fc.Arbitrary<Command> {
  return fc.tuple(ofKeys, fc.tuple(...args)).map(([keys, values]) => ({
    label: `${name} ${keys.join(' ')} | ${values.map(String).join(' ')}`,
    run: async (client) => await scripts[name].run(client, keys, values)
  }))
}

/** Of a quarantine or a hold; '': of none. */
const holder = one([...QUARANTINES, ''])
const slots = fc.constantFrom(0, 1)
const pair = slots.map((i) => [NAMES.entry[i]!, NAMES.lease[i]!])
const NOTHING: fc.Arbitrary<string[]> = fc.constant([])
const somePairs = fc.oneof(pair, fc.constant<string[]>([NAMES.entry[0]!, NAMES.lease[0]!, NAMES.entry[1]!, NAMES.lease[1]!]))
const pairsOrNot = fc.oneof(NOTHING, somePairs)
const leaseAndEntry = pair.map(([entry, lease]) => [lease!, entry!])
/** Of nothing, of a marker, or of what may be there. */
const checksum = fc.oneof(fc.constant(''), marker.map(checksumOf), bytes.map(checksumOf))
const lease = one(NAMES.lease).map((name) => [name])
const onFloor = [keys.floor, keys.clock, keys.lastTag]
const instant = fc.constantFrom(1e12 - 0.5, 1e12 + MINUTE)
/** The history of a call's first step: none of those that there are, as they have the clock's value in them. */
const heldIn = one(['historyhist1', ''])
/** As they stand in a record. */
const prefixes = one(['user%3A', 'a,b'])
/** What tells that a command was done. */
const ONCE = [keys.once('1'), keys.once('2')]

/** A call names something. */
function namesOf (names: string[], pairs: string[]): fc.Arbitrary<string[]> {
  return names.length + pairs.length > 0 ? fc.constant([...names, ...pairs]) : pair
}

/** Of keys alone. */
const ENDING = call('INVALIDATE', somePairs, fc.constant(0), holder, fc.constant(''), life, history, life)
const SOFTENING = call('SOFTEN', somePairs, fc.constant(0), history, life, instant)

const SCRIPTS: Record<ScriptName, fc.Arbitrary<Command>> = {
  FILL: fc.oneof(call('FILL', pair, token, bytes, life), call('FILL', pair, token, bytes, life, fc.constant(1))),
  FILL_VARIANT: one(['x', 'y', 'z']).chain((fingerprint) => call('FILL_VARIANT',
    fc.constant([NAMES.entry[0]!, NAMES.lease[0]!, keys.variant('a', fingerprint), LIST]),
    token, one(['', ...EPOCHS]), marker, bytes, life, fc.constant(fingerprint), one(['1', '2', '3']))),
  TAKE: fc.oneof(call('TAKE', leaseAndEntry, token, life), call('TAKE', leaseAndEntry, token, life, checksum)),
  TAKE_FIRST: call('TAKE_FIRST', one(NAMES.variant).map((variant) => [NAMES.entry[0]!, `lease:${variant}`, NAMES.lease[0]!]), token, life, checksum, marker, life),
  RENEW: call('RENEW', lease, token, life, token),
  RELEASE: fc.oneof(call('RELEASE', lease, token), call('RELEASE', lease, token, life)),
  END: fc.oneof(call('END', leaseAndEntry, token, life), one(NAMES.variant).chain((variant) =>
    call('END', fc.constant([`lease:${variant}`, variant, NAMES.entry[0]!]), token, life, one(EPOCHS)))),
  SEIZE: call('SEIZE', lease, token, life),
  INVALIDATE: fc.oneof(ENDING, fc.tuple(some, fc.boolean(), pairsOrNot).chain(([tags, isPrefixed, pairs]) => {
    const floor = tags.length > 0 || isPrefixed ? onFloor : []
    const under = isPrefixed ? prefixes : fc.constant('')
    const names = namesOf([...floor, ...tags], pairs)
    return call('INVALIDATE', names, fc.constant(tags.length), holder, under, life, history, life)
  })),
  SOFTEN_KEY: call('SOFTEN_KEY', somePairs, instant, one(QUARANTINES), fc.oneof(fc.constant(0), life)),
  UNLINK_VARIANTS: call('UNLINK_VARIANTS', fc.constant([LIST])),
  UNLINK_LEASES: call('UNLINK_LEASES', fc.subarray(NAMES.lease, { minLength: 1 })),
  QUARANTINE_KEY: call('QUARANTINE_KEY', somePairs, one(QUARANTINES), life),
  FLOOR: call('FLOOR', fc.constant(onFloor), runs, history),
  INVALIDATE_ALL: call('INVALIDATE_ALL', fc.constant(onFloor), history),
  RAISE: call('RAISE', held, clock, life, holder),
  SOFTEN_TAG: call('SOFTEN_TAG', held, clock, life, holder, fc.oneof(fc.constant(''), clock)),
  SOFTEN: fc.oneof(SOFTENING, fc.tuple(some, one(ONCE), pairsOrNot).chain(([tags, once, pairs]) => {
    const floor = tags.length > 0 ? [...onFloor, once] : []
    return call('SOFTEN', namesOf([...floor, ...tags], pairs), fc.constant(tags.length), history, life, instant)
  })),
  ADVANCE: call('ADVANCE', fc.constant(onFloor), history, one(QUARANTINES), fc.oneof(fc.constant(''), prefixes), life, heldIn),
  HOLD_PREFIXES: call('HOLD_PREFIXES', fc.constant([keys.floor]), one(QUARANTINES), prefixes, life, history),
  END_RECORD: call('END_RECORD', fc.constant([keys.floor]), holder, fc.oneof(fc.constant(0), life)),
  QUARANTINE_ANY_TAG: call('QUARANTINE_ANY_TAG', fc.constant(onFloor), history, life),
  QUARANTINE_TAGS: call('QUARANTINE_TAGS', held, one(QUARANTINES), life, one(['!', '#'])),
  CREATE: call('CREATE', some.map((tags) => [...onFloor, ...tags]), history, life),
  RESERVE: call('RESERVE', one(NAMES.generation).map((name) => [name]), one(RESERVATIONS), life),
  SETTLE: call('SETTLE', one(NAMES.generation).map((name) => [name]), one([...RESERVATIONS, '']), clock, life),
  EXTEND: call('EXTEND', one(NAMES.generation).map((name) => [name]), life, life)
}

const ALL = [...Object.values(NAMES).flat(), ...onFloor]
const PATTERNS = [
  keys.entryPattern('', ''), keys.entryPattern('b*?[', ''), keys.leasePattern('a', ''), keys.variantPattern('a', '')
]

function plainly<T> (weight: number, input: fc.Arbitrary<T>, { label, run }: {
  label: string, run: (client: RedisClient, input: T) => Promise<unknown>
}): fc.WeightedArbitrary<Command> {
  const arbitrary = input.map((input) => ({
    label: `${label} ${String(input)}`, run: async (client: RedisClient) => await run(client, input)
  }))
  return { weight, arbitrary }
}

const set = async (client: RedisClient, [name, value, life]: [string, string, number]): Promise<unknown> =>
  await client.set(name, value, 'PX', life, 'NX', 'GET')

/** Under a lease of its own: something lies there then. */
const storing = fc.tuple(slots, bytes, life).map(([i, bytes, life]): Command => ({
  label: `store ${NAMES.entry[i]}`,
  run: async (client) => {
    await client.unlink(NAMES.lease[i]!)
    await set(client, [NAMES.lease[i]!, 'token', life])
    return await scripts.FILL.run(client, [NAMES.entry[i]!, NAMES.lease[i]!], ['token', bytes, life])
  }
}))

/** Variants one after the other, each under a lease of its own, the later ones under the marker of the first. */
const someVariants = fc.shuffledSubarray(['x', 'y', 'z'], { minLength: 1 })
const varying = fc.tuple(someVariants, marker, life).map(([fingerprints, marker, life]): Command => ({
  label: `vary ${fingerprints.join(' ')}`,
  run: async (client) => {
    const [entry, lease] = [NAMES.entry[0]!, NAMES.lease[0]!]
    const replies: unknown[] = []
    for (const [i, fingerprint] of fingerprints.entries()) {
      await client.unlink(lease)
      await set(client, [lease, 'token', life])
      const under = i === 0 ? '' : marker.subarray(MARKER.epoch, MARKER.members)
      replies.push(await scripts.FILL_VARIANT.run(client, [entry, lease, keys.variant('a', fingerprint), LIST],
        ['token', under, marker, Buffer.from(fingerprint), life, fingerprint, 2]))
    }
    return replies
  }
}))

const commands: fc.Arbitrary<Command> = fc.oneof(
  { weight: 12, arbitrary: fc.oneof(...Object.values(SCRIPTS)) },
  {
    weight: 12,
    arbitrary: fc.oneof(
      storing, varying, SCRIPTS.FILL, SCRIPTS.FILL_VARIANT, ENDING, SOFTENING, SCRIPTS.RELEASE, SCRIPTS.RELEASE,
      SCRIPTS.RENEW, SCRIPTS.END
    )
  },
  { weight: 6, arbitrary: fc.oneof(SCRIPTS.QUARANTINE_TAGS, SCRIPTS.RAISE, SCRIPTS.SOFTEN_TAG, SCRIPTS.QUARANTINE_KEY) },
  { weight: 6, arbitrary: fc.oneof(SCRIPTS.HOLD_PREFIXES, SCRIPTS.ADVANCE, SCRIPTS.END_RECORD, SCRIPTS.SOFTEN) },
  plainly(2, fc.tuple(one(NAMES.generation), clock, life), { label: 'set', run: set }),
  plainly(3, fc.tuple(one(NAMES.lease), token, life), { label: 'set', run: set }),
  plainly(1, one(ALL), { label: 'get', run: async (client, name) => await client.getBuffer(name) }),
  plainly(1, fc.subarray(ALL, { minLength: 1 }), { label: 'mget', run: async (client, names) => await client.mgetBuffer(...names) }),
  plainly(2, fc.subarray(ALL, { minLength: 1, maxLength: 3 }), {
    label: 'unlink', run: async (client, names) => await client.unlink(...names)
  }),
  plainly(2, one(PATTERNS), { label: 'scan', run: async (client, pattern) => (await scanned(client, pattern)).sort() })
)

t.test('the same commands, the same replies, and the same is left', async (t) => {
  const server = await startRedis()
  t.teardown(async () => { await server.stop() })
  const real = server.client()
  const seen = new Set<string>()

  const lists = fc.array(commands, { minLength: 5, maxLength: 60 })
  await fc.assert(fc.asyncProperty(lists, fc.boolean(), async (list, isAhead) => {
    const data = new Data({ now: Date.now })
    const fake = new Network({ data, isCluster: false, world: STILL }).client('p')
    await real.flushall()
    if (isAhead) await real.set(keys.clock, FUTURE)
    if (isAhead) data.set(keys.clock, FUTURE)
    for (const { label, run } of list) {
      const expected = await run(real)
      data.micros = await timeOf(real, data.get(keys.clock))
      const given = await run(fake)
      if (coarse(plain(given)) !== coarse(plain(expected))) {
        throw new Error(`${label}: ${JSON.stringify(given)}, but a real one says ${JSON.stringify(expected)}`)
      }
      seen.add(`${label.split(' ')[0]} ${JSON.stringify(given)?.slice(0, 2)}`)
      if (label.startsWith('vary') && (given as number[]).includes(2)) seen.add('vary 2')
    }
    const here = await leftIn(fake, data.names, (name) => data.pttl(name))
    const listed = await real.zrange(LIST, '0', '-1')
    if (listed.length > 0) await real.set(LIST, listed.join(','), 'KEEPTTL')
    const there = await leftIn(real, await real.keys('*'), async (name) => await real.pttl(name))
    if (here !== there) throw new Error(`left is\n${here}\nbut in a real one\n${there}`)
  }), { numRuns: RUNS })

  t.strictSame(Object.keys(BODIES).filter((name) => !(name in SCRIPTS)), [], 'every script was among them')
  for (const reply of ['FILL 1', 'FILL 0', 'FILL_VARIANT 1', 'FILL_VARIANT 0', 'vary 2', 'RELEASE 1', 'END 1', 'INVALIDATE [1', 'RENEW 1', 'RAISE 1',
    'SOFTEN_TAG 1', 'QUARANTINE_TAGS 1', 'QUARANTINE_KEY [1', 'HOLD_PREFIXES "h', 'SOFTEN 1']) {
    t.ok(seen.has(reply), `was seen: ${reply}`)
  }
})

function isEnding (value: Buffer | null): boolean {
  return value !== null && /^[!#]|;/.test(String(value))
}

function plain (reply: unknown): string {
  if (Buffer.isBuffer(reply)) return reply.toString('latin1')
  return Array.isArray(reply) ? reply.map(plain).join(' ') : String(reply)
}

/** Ends of quarantines and of records as whole minutes from now, which they are. */
function coarse (text: string): string {
  return text.replace(/(?<=[!#,])(\d{13})(?=[@,])/g, (end) => String(Math.round((Number(end) - Date.now()) / MINUTE)))
}

/** Nobody waits for his turn. */
const STILL: World = {
  step: async () => {}, say: () => {}, cut: () => null, after: async () => {}, done: () => {}, repliesComeLate: false
}

/** The time that the real server had, if it took its clock's value from there. */
async function timeOf (real: Redis, last: string | null): Promise<number> {
  const value = Number(await real.get(keys.clock) ?? 0)
  return last !== null && value === Number(last) + 1 ? 0 : value
}

async function scanned (client: RedisClient, pattern: string): Promise<string[]> {
  const all = new Set<string>()
  let cursor = '0'
  do {
    const [next, names] = await client.scan!(cursor, 'MATCH', pattern, 'COUNT', 500)
    for (const name of names) all.add(name)
    cursor = next
  } while (cursor !== '0')
  return [...all]
}

type Pttl = (name: string) => number | Promise<number>

async function leftIn (client: RedisClient, names: string[], pttl: Pttl): Promise<string> {
  const lines = await Promise.all(names.sort().map(async (name) => {
    const time = await pttl(name)
    const value = await client.getBuffer(name)
    return `${name} ${isEnding(value) ? coarse(String(value)) : value?.toString('base64')} ${time < 0 ? time : Math.round(time / MINUTE)}`
  }))
  return lines.join('\n')
}
