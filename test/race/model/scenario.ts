// What happens in one run of the model, and what must hold: some processes with the real cache over one Redis, readers that
// do what the hooks do, writers that change the row and then invalidate it, and whatever Redis evicts. Every step of
// theirs, and every command, is a task of fast-check's scheduler, which runs them in any order.
//
// The reference is one number for each moment: the newest version of the row whose invalidation had returned. Who begins
// then is not served an older one; his own handler's answer is always right.
import fc, { type Scheduler } from 'fast-check'
import timers from 'node:timers/promises'
import { syncBuiltinESMExports } from 'node:module'
import { ResponseCache } from '../../../plugin/cache.js'
import { NO_TARGETS, type Claim, type Found, type Targets } from '../../../plugin/claim.js'
import { fingerprint } from '../../../plugin/http/vary.js'
import { Stats } from '../../../plugin/stats.js'
import { Keys } from '../../../plugin/store/keys.js'
import { RedisStore } from '../../../plugin/store/redis.js'
import type { Store } from '../../../plugin/store/store.js'
import { Data, type DataOptions } from './data.js'
import { Network } from './network.js'

/** What is invalidated, what the policy says, and what only the handler does. */
export interface Mode {
  targets: Partial<Targets>
  /** The policy's tags. */
  known?: readonly string[]
  /** Those that the handler names. */
  late?: readonly string[]
  varies?: boolean
  restarts?: boolean
  /** Entries may be served stale, and refreshed; some are stale as soon as they are stored. */
  stale?: boolean
  /** Writers make them stale, no more: who begins then is served nothing older as fresh. */
  soft?: boolean
}

interface Reader {
  at: number
  process: number
  key: string
  x: string
  y: string
  members: readonly string[]
  end: End
  /** How long what it stores is fresh. */
  life: number
}
interface Writer { at: number, process: number }
/** How a handler's answer ends: stored; or not, with or without others waiting for the next one. */
type End = 'fill' | 'abandon' | 'pass'

export interface Scenario {
  isCluster: boolean
  repliesComeLate: boolean
  /** Otherwise it stands still: a clock that is lost begins behind what it was. */
  timeRuns: boolean
  waits: boolean
  readers: Reader[]
  writers: Writer[]
  evictions: Array<{ at: number, kind: string }>
  restarts: Array<{ at: number, server: number }>
  /** Steps that are held back for so many others, where one of these texts is in their label. */
  slow: Array<{ what: string, for: number }>
}

/** What is broken on purpose. */
export interface Broken extends Pick<DataOptions, 'scripts' | 'isUnseen'> {
  store?: (store: Store) => Store
}

/** How often it was what, in all runs. */
export type Tally = Record<'hits' | 'collapsed' | 'stale' | 'refreshes' | 'misses' | 'stores' | 'refusals', number>

const PROCESSES = 2
const LIFE = 60_000
/** Longer than a run takes: nobody waits in vain, unless he waits for ever. */
const LONG = 600_000
/** Of a run that ends; a poll for a lease that nobody has is one without end. */
const MOST_STEPS = 2_000
/** Of that many steps an actor may begin after the first. */
const LATEST = 80
/** Any order comes about without them, but those where one waits long while others get far hardly ever. */
const SLOW = [
  ' FILL', ' TAKE', ' CREATE', ' RESERVE', ' SETTLE', ' RAISE', ' INVALIDATE', ' UNLINK', ' SCAN 0 lease', ' SCAN 0 shop', ' FLOOR', ' GET shop#tag',
  ' GET shop:', ' GET {', ' reply to'
].flatMap((command) => ['', 'p0', 'p1'].map((process) => `${process}${command}`))
const SLOW_ACTORS = ['reads the row', 'answers', 'invalidates', 'starts again', 'reader 0', 'reader 1', 'p0', 'p1']
const VARYING: readonly string[][] = [['x'], ['x'], ['x', 'y'], []]
const EVICTED: Record<string, RegExp> = {
  entry: /^shop:/, variant: /^\{shop:/, lease: /^lease:/, generation: /^shop#tag:/, clock: /:clock$/, floor: /^shop#floor$/, last: /:tags$/
}

/** Names that decide in this mode. */
function evictable ({ targets, varies = false }: Mode): string[] {
  return ['clock', 'floor', 'entry', 'lease', ...varies ? ['variant'] : [],
    ...targets.tags === undefined ? [] : ['generation', 'generation', 'generation', 'last', 'clock']]
}

export function scenarios (mode: Mode): fc.Arbitrary<Scenario> {
  const { varies = false, restarts = false, stale = false } = mode
  const at = fc.nat({ max: LATEST })
  const process = fc.nat({ max: PROCESSES - 1 })
  const reader = fc.record({
    at,
    process,
    key: fc.constantFrom('k:1', 'k:1', 'k:2'),
    x: varies ? fc.constantFrom('a', 'b') : fc.constant('a'),
    y: varies ? fc.constantFrom('a', 'b') : fc.constant('a'),
    members: fc.constantFrom(...(varies ? VARYING : [[]])),
    end: fc.constantFrom<End>('fill', 'fill', 'fill', 'fill', 'abandon', 'pass'),
    life: stale ? fc.constantFrom(0, 0, LIFE) : fc.constant(LIFE)
  })
  return fc.record({
    isCluster: fc.boolean(),
    repliesComeLate: fc.boolean(),
    timeRuns: fc.boolean(),
    waits: fc.boolean(),
    readers: fc.array(reader, { minLength: 2, maxLength: 5 }),
    writers: fc.array(fc.record({ at, process }), { minLength: 1, maxLength: 3 }),
    evictions: fc.array(fc.record({ at, kind: fc.constantFrom(...evictable(mode)) }), { maxLength: 2 }),
    restarts: restarts ? fc.array(fc.record({ at, server: fc.nat(1) }), { minLength: 1, maxLength: 2 }) : fc.constant([]),
    slow: fc.array(fc.record({
      what: fc.constantFrom(...SLOW, ...SLOW_ACTORS), for: fc.integer({ min: 10, max: LATEST })
    }), { maxLength: 3 })
  })
}

export interface Play { mode: Mode, tally: Tally, broken?: Broken }

/** Throws what was found wrong, with what happened. */
export async function play (s: Scheduler, scenario: Scenario, { mode, tally, broken = {} }: Play): Promise<void> {
  const { setTimeout } = globalThis
  // What waits for ever must not keep this process.
  globalThis.setTimeout = ((...args: Parameters<typeof setTimeout>) => setTimeout(...args).unref()) as typeof setTimeout
  const run = new Run(s, scenario, { mode, tally, broken })
  wake = async () => { await run.step('a poll wakes up') }
  try {
    await run.whole()
  } finally {
    globalThis.setTimeout = setTimeout
  }
}

// Polls for another process' lease sleep: here until it is their turn.
let wake: () => Promise<void>
timers.setTimeout = (async () => { await wake() }) as unknown as typeof timers.setTimeout
syncBuiltinESMExports()

const turn = async (): Promise<void> => { await new Promise((resolve) => { setImmediate(resolve) }) }

type Served = Extract<Found, { type: 'hit' | 'stale' }>

class Run {
  readonly #s: Scheduler
  readonly #scenario: Scenario
  readonly #mode: Mode
  readonly #tally: Tally
  readonly #data: Data
  readonly #network: Network
  readonly #processes: Process[]
  readonly #lines: string[] = []
  readonly #wrongs: string[] = []
  #isUnderWay = false
  #version = 0
  /** The newest version whose invalidation has returned. */
  #returned = 0
  #busy = 0
  #steps = 0
  readonly #heldBack: Array<{ until: number, resolve: () => void }> = []

  constructor (s: Scheduler, scenario: Scenario, { mode, tally, broken }: Required<Play>) {
    this.#s = s
    this.#scenario = scenario
    this.#mode = mode
    this.#tally = tally
    this.#data = new Data(broken)
    const world = {
      step: async (label: string) => { await this.step(label) },
      say: (line: string) => { this.#say(line) },
      repliesComeLate: scenario.repliesComeLate
    }
    this.#network = new Network({ data: this.#data, isCluster: scenario.isCluster, world })
    this.#processes = Array.from({ length: PROCESSES }, (_, i) => this.#process(i, broken.store))
  }

  #process (number: number, broken: Broken['store'] = (store) => store): Process {
    const client = this.#network.client(`p${number}`)
    const store = broken(new RedisStore({ client, keys: new Keys('shop'), writeDeadline: 0, now: NOW }))
    const stats = new Stats('redis', 0)
    const log = {
      debug: () => {},
      info: () => {},
      warn: (details: object, message: string) => { this.#failure(`${message}: ${String((details as { err?: unknown }).err)}`) },
      error: (_: object, message: string) => { this.#failure(message) }
    }
    const limits = { deadline: 0, quarantineTime: 60_000, breakerThreshold: 5, maxWaiters: 100, maxJournal: 100 }
    const cache = new ResponseCache({ store, stats, log, ...limits, now: NOW, enabled: true })
    return { cache, caller: { counters: stats.route('GET /'), log }, hint: { members: [] } }
  }

  /** Waits for its turn. */
  async step (label: string): Promise<void> {
    if (!this.#isUnderWay) return
    const slow = this.#scenario.slow.find(({ what }) => label.includes(what))
    if (slow !== undefined) await this.#after(slow.for)
    await this.#s.schedule(Promise.resolve(), label)
    if (this.#scenario.timeRuns) this.#data.micros++
    this.#say(label)
  }

  /** So many steps later; or as soon as nobody else has one. */
  async #after (steps: number): Promise<void> {
    await new Promise<void>((resolve) => { this.#heldBack.push({ until: this.#steps + steps, resolve }) })
  }

  /** Lets go on who was held back for long enough, or if there is nobody else, who has been for the longest. */
  async #letGo (): Promise<void> {
    this.#heldBack.sort((a, b) => a.until - b.until)
    while (this.#heldBack.length > 0 && (this.#heldBack[0]!.until <= this.#steps || this.#s.count() === 0)) {
      this.#heldBack.shift()!.resolve()
      await turn()
    }
  }

  async whole (): Promise<void> {
    const { readers, writers, evictions, restarts } = this.#scenario
    for (const { cache } of this.#processes) await cache.connect()
    this.#isUnderWay = true
    readers.forEach((reader, i) => { this.#act(`reader ${i}`, async (name) => { await this.#read(name, reader) }, reader.at) })
    writers.forEach((writer, i) => { this.#act(`writer ${i}`, async (name) => { await this.#write(name, writer) }, writer.at) })
    for (const { at, kind } of evictions) this.#act(`Redis evicts ${kind}`, async () => { this.#evict(EVICTED[kind]!) }, at)
    for (const { at, server } of restarts) this.#act(`server ${server}`, async (name) => { await this.#restart(name, server) }, at)
    await this.#drain()
    // What is left is looked at by all.
    for (const process of this.#processes.keys()) {
      for (const { key, x, y } of readers) {
        const members = this.#mode.varies === true ? ['x'] : []
        const reader: Reader = { at: 0, process, key, x, y, members, end: 'fill', life: LIFE }
        this.#act(`p${process} afterwards`, async (name) => { await this.#read(name, reader) })
      }
    }
    await this.#drain()
    this.#count()
    if (this.#wrongs.length > 0) throw new Error(`${this.#wrongs.join('\n')}\n${this.#lines.join('\n')}`)
  }

  #count (): void {
    for (const { cache } of this.#processes) {
      const { stores, refusals } = cache.stats.total
      this.#tally.stores += stores
      this.#tally.refusals += (refusals.lease ?? 0) + (refusals.outdated ?? 0)
    }
  }

  /** Runs what is scheduled, and what that schedules, until there is no more. */
  async #drain (): Promise<void> {
    const first = this.#steps
    await this.#letGo()
    while (this.#s.count() > 0 && this.#wrongs.length === 0) {
      const steps = this.#steps++ - first
      if (steps > MOST_STEPS) return this.#wrong('it goes on and on')
      // A server that starts again may hold leases of fills that have ended.
      if (steps === MOST_STEPS / 2 && this.#mode.restarts === true) this.#evict(EVICTED.lease!)
      await this.#s.waitOne()
      await turn()
      await this.#letGo()
    }
    if (this.#wrongs.length === 0 && this.#busy > 0) this.#wrong(`${this.#busy} wait for ever`)
  }

  #act (name: string, work: (name: string) => Promise<void>, at = 0): void {
    this.#busy++
    this.#after(at).then(async () => { await this.step(`${name} begins`) }).then(async () => { await work(name) })
      .catch((error: unknown) => { this.#wrong(`${name} failed: ${String(error)}`) })
      .finally(() => { this.#busy-- })
  }

  async #read (name: string, reader: Reader): Promise<void> {
    const { process, key, x, y } = reader
    const { cache, caller, hint } = this.#processes[process]!
    const least = this.#returned
    const request: Record<string, string> = { x, y }
    const { known = [], stale = false } = this.#mode
    const selection = { needs: [], hint, fingerprint: (of: readonly string[]) => fingerprint(of, request), tags: known }
    const waitTimeout = this.#scenario.waits ? LONG : 0
    const question = { key, selection, toFill: true, toRefresh: false, mayBeStale: stale, waitTimeout }
    const found = await cache.lookup(question, caller)
    if (found.type === 'unknown') return this.#say(`${name} does without`)
    if (found.type === 'miss') {
      this.#tally.misses++
      this.#say(`${name} (p${process}) misses, ${found.claim === null ? 'without' : 'with'} the lease`)
      return await this.#run(name, reader, found.claim)
    }
    this.#served(name, reader, { found, least })
    if (found.type === 'hit') return
    cache.refresh({ key, selected: found.selected, waitTimeout }, caller, async (right) => {
      this.#tally.refreshes++
      await this.#run(`the refresh of ${name}`, reader, { ...right, selection })
    })
  }

  #served (name: string, { process, key, x, y }: Reader, { found, least }: { found: Served, least: number }): void {
    const row = JSON.parse(String(found.entry.body)) as Row
    const collapsed = found.type === 'hit' && found.collapsed
    this.#tally.hits++
    if (collapsed) this.#tally.collapsed++
    if (found.type === 'stale') this.#tally.stale++
    const how = `${found.type}${collapsed ? ', collapsed' : ''}`
    this.#say(`${name} (p${process}, began at ${least}) is served version ${row.version}: ${how}`)
    const mayBeOld = this.#mode.soft === true && found.type === 'stale'
    if (row.version < least && !mayBeOld) this.#wrong(`${name} is served version ${row.version} after ${least} had been invalidated`)
    if (row.key !== key) this.#wrong(`${name} asked for ${key} and is served ${row.key}`)
    const request: Record<string, string> = { x, y }
    const other = row.members.find((member) => row.request[member] !== request[member])
    if (other !== undefined) this.#wrong(`${name} is served another's variant`)
  }

  /** What the handler does, and what becomes of its answer. */
  async #run (name: string, { process, key, x, y, members, end, life }: Reader, claim: Claim | null): Promise<void> {
    const { cache, caller } = this.#processes[process]!
    await this.step(`${name} reads the row`)
    const row: Row = { version: this.#version, key, members, request: { x, y } }
    await this.step(`${name} answers ${row.version}`)
    if (claim === null) return
    if (end !== 'fill') return cache.abandon(claim, caller, end === 'pass')
    const body = Buffer.from(JSON.stringify(row))
    const { late = [], stale = false } = this.#mode
    const times = { life, stale: stale ? LIFE : 0 }
    cache.fill(claim, { status: 200, headers: [], body, kind: 'text', members, tags: late, ...times }, caller)
  }

  async #write (name: string, { process }: Writer): Promise<void> {
    const version = ++this.#version
    this.#say(`${name} (p${process}) has written version ${version}`)
    await this.step(`${name} invalidates`)
    try {
      const { invalidation } = this.#processes[process]!.cache
      const targets = { ...NO_TARGETS, ...this.#mode.targets }
      await (this.#mode.soft === true ? invalidation.soften(targets) : invalidation.run(targets))
    } catch (error) {
      return this.#failure(`${name} could not invalidate: ${String(error)}`)
    }
    this.#returned = Math.max(this.#returned, version)
    this.#say(`${name} has invalidated what is older than ${version}`)
  }

  #evict (kind: RegExp): void {
    this.#data.unlink(...this.#data.names.filter((name) => kind.test(name)))
  }

  async #restart (name: string, server: number): Promise<void> {
    const saved = this.#data.copy()
    await this.step(`${name} starts again, with what it had then`)
    this.#network.restart(server % this.#network.size, saved)
  }

  /** Where nothing fails, nothing may be said to fail. */
  #failure (message: string): void {
    if (this.#mode.restarts === true) this.#say(message)
    else this.#wrong(message)
  }

  #wrong (message: string): void {
    this.#wrongs.push(message)
    this.#say(`WRONG: ${message}`)
  }

  #say (line: string): void {
    this.#lines.push(`${this.#lines.length + 1}. ${line}`)
  }
}

interface Process { cache: ResponseCache, caller: Parameters<ResponseCache['lookup']>[1], hint: { members: readonly string[] } }
interface Row { version: number, key: string, members: readonly string[], request: Record<string, string> }

const NOW = (): number => 1_000
