// What happens in one run of the model, and what must hold: some processes with the real cache over one Redis, readers that
// do what the hooks do, writers that change the row and then invalidate it, and whatever Redis evicts. Every step of
// theirs, and every command, is a task of fast-check's scheduler, which runs them in any order.
//
// The reference is one number for each moment: the newest version of the row whose invalidation had returned. Who begins
// then is not served an older one; his own handler's answer is always right.
//
// Writers that mutate may die behind any step of theirs: what they had sent and Redis had not done yet is not done. The
// database commits what it was told to commit, also then. Their quarantines run out some time later, which is the moment
// from which on nobody is served what is older than that commit.
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
  /** Writers mutate, most of them. */
  mutates?: boolean
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
type Part = 'all' | 'keys' | 'tags'

interface Writer {
  at: number
  process: number
  /** Which targets it names: those of one kind are enough. */
  part: Part
  /** Invalidates behind its commit, and no more. */
  isPlain: boolean
  /** Behind so many steps, if it has not come to its end; null: it doesn't. One that may has a process of its own. */
  diesAfter: number | null
  throws: boolean
  /** How long its quarantine lasts when it is dead, in steps. */
  lasts: number
}
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

/** How often it was what, in all runs. `orphans`: commits of writers that died before they could say so. */
export type Tally = Record<
  'hits' | 'collapsed' | 'stale' | 'refreshes' | 'misses' | 'stores' | 'refusals' | 'deaths' | 'orphans', number
>

const PROCESSES = 2
const LIFE = 60_000
const QUARANTINE_TIME = 60_000
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
const SLOW_WRITERS = [' QUARANTINE', 'works', 'the database', 'has committed', 'w0', 'w1', 'w2']
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
  const { varies = false, restarts = false, stale = false, mutates = false, targets } = mode
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
  const [keys, tags] = [targets.keys ?? [], targets.tags ?? []]
  const isDivided = mutates && keys.length > 0 && tags.length > 0
  const writer = fc.record({
    at,
    process,
    part: isDivided ? fc.constantFrom<Part>('all', 'keys', 'tags') : fc.constant<Part>('all'),
    isPlain: mutates ? fc.constantFrom(false, false, false, true) : fc.constant(true),
    diesAfter: mutates ? fc.option(fc.integer({ min: 1, max: 24 })) : fc.constant(null),
    throws: mutates ? fc.constantFrom(false, false, true) : fc.constant(false),
    lasts: mutates ? fc.nat({ max: LATEST }) : fc.constant(0)
  })
  return fc.record({
    isCluster: fc.boolean(),
    repliesComeLate: fc.boolean(),
    timeRuns: fc.boolean(),
    waits: fc.boolean(),
    readers: fc.array(reader, { minLength: 2, maxLength: 5 }),
    writers: fc.array(writer, { minLength: 1, maxLength: 3 }),
    evictions: fc.array(fc.record({ at, kind: fc.constantFrom(...evictable(mode)) }), { maxLength: 2 }),
    restarts: restarts ? fc.array(fc.record({ at, server: fc.nat(1) }), { minLength: 1, maxLength: 2 }) : fc.constant([]),
    slow: fc.array(fc.record({
      what: fc.constantFrom(...SLOW, ...SLOW_ACTORS, ...mutates ? SLOW_WRITERS : []),
      for: fc.integer({ min: 10, max: LATEST })
    }), { maxLength: 3 })
  })
}

export interface Play { mode: Mode, tally: Tally, broken?: Broken }

/** Throws what was found wrong, with what happened. */
export async function play (s: Scheduler, scenario: Scenario, { mode, tally, broken = {} }: Play): Promise<void> {
  const { setTimeout, setInterval } = globalThis
  // What waits for ever must not keep this process.
  globalThis.setTimeout = ((...args: Parameters<typeof setTimeout>) => setTimeout(...args).unref()) as typeof setTimeout
  // The dead never stop theirs.
  const intervals: NodeJS.Timeout[] = []
  globalThis.setInterval = ((...args: Parameters<typeof setInterval>) => {
    const interval = setInterval(...args)
    intervals.push(interval)
    return interval
  }) as typeof setInterval
  const run = new Run(s, scenario, { mode, tally, broken })
  wake = async () => { await run.step('a poll wakes up') }
  try {
    await run.whole()
  } finally {
    Object.assign(globalThis, { setTimeout, setInterval })
    intervals.forEach(clearInterval)
  }
}

// Polls for another process' lease sleep: here until it is their turn.
let wake: () => Promise<void>
timers.setTimeout = (async () => { await wake() }) as unknown as typeof timers.setTimeout
syncBuiltinESMExports()

const turn = async (): Promise<void> => { await new Promise((resolve) => { setImmediate(resolve) }) }

interface Serving {
  found: Extract<Found, { type: 'hit' | 'stale' }>
  least: number
  /** Whose quarantines were on when the reader began. */
  shut: string[]
}

class Run {
  readonly #s: Scheduler
  readonly #scenario: Scenario
  readonly #mode: Mode
  readonly #tally: Tally
  readonly #data: Data
  readonly #network: Network
  readonly #processes: Process[]
  /** Writer by writer. */
  readonly #mutators: Process[]
  readonly #lines: string[] = []
  readonly #wrongs: string[] = []
  #isUnderWay = false
  #version = 0
  /** The newest version whose invalidation has returned. */
  #returned = 0
  #busy = 0
  #steps = 0
  /** How many steps who dies has left. */
  readonly #left = new Map<string, number>()
  readonly #deaths = new Map<string, () => void>()
  /** Writers whose quarantines are on. */
  readonly #shut = new Set<string>()
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
    this.#processes = Array.from({ length: PROCESSES }, (_, i) => this.#process(`p${i}`, broken.store))
    this.#mutators = scenario.writers.map(({ isPlain, diesAfter, process }, i) =>
      isPlain || diesAfter === null ? this.#processes[process]! : this.#process(`w${i}`, broken.store))
  }

  #process (name: string, broken: Broken['store'] = (store) => store): Process {
    const client = this.#network.client(name)
    const redis = new RedisStore({ client, keys: new Keys('shop'), writeDeadline: 0, now: NOW })
    const tokens = new Set<string>()
    const quarantine = redis.quarantine.bind(redis)
    redis.quarantine = async (targets, token, time) => {
      tokens.add(token)
      return await quarantine(targets, token, time)
    }
    const store = broken(redis)
    const stats = new Stats('redis', 0)
    const log = {
      debug: () => {},
      info: () => {},
      warn: (details: object, message: string) => { this.#failure(`${message}: ${String((details as { err?: unknown }).err)}`) },
      error: (_: object, message: string) => { this.#failure(message) }
    }
    const instance = { cache: {}, prefix: '' }
    const cache = new ResponseCache({ store, stats, log, instance, ...PARTS })
    const caller = { counters: stats.route('GET /'), log, source: { instance, route: 'GET /' } }
    return { tokens, cache, caller, hint: { members: [] } }
  }

  /** Waits for its turn. */
  async step (label: string): Promise<void> {
    if (!this.#isUnderWay) return
    const slow = this.#scenario.slow.find(({ what }) => label.includes(what))
    if (slow !== undefined) await this.#after(slow.for)
    await this.#s.schedule(Promise.resolve(), label)
    await this.#live(label.slice(0, label.indexOf(' ')))
    if (this.#scenario.timeRuns) this.#data.micros++
    this.#say(label)
  }

  /** Who is dead gets no further. */
  async #live (name: string): Promise<void> {
    const left = this.#left.get(name)
    if (left === undefined) return
    if (left === 0) await new Promise(() => {})
    this.#left.set(name, left - 1)
    if (left > 1) return
    this.#say(`${name} dies behind this:`)
    this.#deaths.get(name)!()
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
    for (const { cache } of new Set([...this.#processes, ...this.#mutators])) await cache.connect()
    this.#isUnderWay = true
    readers.forEach((reader, i) => { this.#act(`reader ${i}`, async (name) => { await this.#read(name, reader) }, reader.at) })
    writers.forEach((writer, i) => {
      const name = writer.isPlain ? `writer ${i}` : `w${i}`
      this.#act(name, async () => {
        await (writer.isPlain ? this.#write(name, writer) : this.#mutate(name, writer, this.#mutators[i]!))
      }, writer.at)
    })
    for (const { at, kind } of evictions.filter(({ kind }) => !this.#isBeyond(kind))) {
      this.#act(`Redis evicts ${kind}`, async () => { this.#evict(EVICTED[kind]!) }, at)
    }
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
      // Twice: in the first one reads may be sent that were waiting for others.
      await turn()
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
    const [least, shut] = [this.#returned, [...this.#shut]]
    const request: Record<string, string> = { x, y }
    const { known = [], stale = false } = this.#mode
    const selection = { needs: [], hint, fingerprint: (of: readonly string[]) => fingerprint(of, request), tags: known }
    const waitTimeout = this.#scenario.waits ? LONG : 0
    const may = { mayBeStale: stale, mayRescue: false, mayBeEarly: false }
    const question = { key, selection, toFill: true, toRefresh: false, ...may, waitTimeout }
    const found = await cache.lookup(question, caller)
    if (found.type === 'unknown') return this.#say(`${name} does without`)
    if (found.type === 'miss') {
      this.#tally.misses++
      this.#say(`${name} (p${process}) misses, ${found.claim === null ? 'without' : 'with'} the lease`)
      return await this.#run(name, reader, found.claim)
    }
    this.#served(name, reader, { found, least, shut })
    if (found.type === 'hit') return
    cache.refresh({ key, selected: found.selected, waitTimeout }, caller, async (right) => {
      this.#tally.refreshes++
      await this.#run(`the refresh of ${name}`, reader, { ...right, selection })
    })
  }

  #served (name: string, { process, key, x, y }: Reader, { found, least, shut }: Serving): void {
    const row = JSON.parse(String(found.entry.body)) as Row
    const collapsed = found.type === 'hit' && found.collapsed
    this.#tally.hits++
    if (collapsed) this.#tally.collapsed++
    if (found.type === 'stale') this.#tally.stale++
    const how = `${found.type}${collapsed ? ', collapsed' : ''}`
    this.#say(`${name} (p${process}, began at ${least}) is served version ${row.version}: ${how}`)
    const mayBeOld = this.#mode.soft === true && found.type === 'stale'
    if (row.version < least && !mayBeOld) this.#wrong(`${name} is served version ${row.version} after ${least} had been invalidated`)
    const writer = shut.find((name) => this.#shut.has(name))
    const isWhole = this.#scenario.evictions.every(({ kind }) => kind !== 'lease' && kind !== 'generation')
    if (writer !== undefined && isWhole) this.#wrong(`${name} is served version ${row.version} in the quarantine of ${writer}`)
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
    const times = { life, stale: stale ? LIFE : 0, rescue: 0, cost: 0 }
    cache.fill(claim, { status: 200, headers: [], body, kind: 'text', isEncoded: false, members, tags: late, ...times }, caller)
  }

  #targets (part: Part): Targets {
    const { keys = [], tags = [], ...others } = this.#mode.targets
    return { ...NO_TARGETS, ...others, keys: part === 'tags' ? [] : keys, tags: part === 'keys' ? [] : tags }
  }

  /**
   * Redis may lose the quarantine of who lives: he invalidates in the end. Not that of who dies, too. And not the clock of a
   * Cluster whose time has stepped back: who read the floor before it began a new history, and a generation after, takes
   * what had been dropped for valid. That is wrong in plain modes as well, where it takes the loss of both names.
   */
  #isBeyond (kind: string): boolean {
    const { writers, isCluster, timeRuns } = this.#scenario
    const mutators = writers.filter(({ isPlain }) => !isPlain)
    if (kind === 'clock') return mutators.length > 0 && isCluster && !timeRuns
    return mutators.some(({ diesAfter }) => diesAfter !== null) && (kind === 'lease' || kind === 'generation')
  }

  async #mutate (name: string, writer: Writer, { cache: { invalidation }, tokens }: Process): Promise<void> {
    const { part, throws, lasts, diesAfter } = writer
    let version = 0
    let transaction = Promise.resolve()
    if (diesAfter !== null) this.#left.set(name, diesAfter)
    const death = new Promise<'dead'>((resolve) => { this.#deaths.set(name, () => { resolve('dead') }) })
    const thrown = new Error('work that throws')
    const ended = invalidation.mutate(this.#targets(part), async () => {
      this.#shut.add(name)
      await this.step(`${name} works`)
      transaction = this.step(`the database commits what ${name} has written`).then(() => { version = ++this.#version })
      await transaction
      await this.step(`${name} has committed ${version}`)
      this.#shut.delete(name)
      if (throws) throw thrown
    }).catch((error: unknown) => { if (error !== thrown) this.#failure(`${name} could not mutate: ${String(error)}`) })
    if (await Promise.race([ended, death]) === 'dead') {
      this.#tally.deaths++
      await transaction
      if (version > 0) this.#tally.orphans++
      await this.#after(lasts)
      await this.step(`the quarantine of ${name} runs out`)
      for (const token of tokens) this.#data.runOut(token)
      this.#shut.delete(name)
      if (this.#scenario.timeRuns) this.#data.micros += QUARANTINE_TIME * 1_000
    }
    this.#returned = Math.max(this.#returned, version)
    this.#say(`${name}: what is older than ${version} is not served from here on`)
  }

  async #write (name: string, { process, part }: Writer): Promise<void> {
    const version = ++this.#version
    this.#say(`${name} (p${process}) has written version ${version}`)
    await this.step(`${name} invalidates`)
    try {
      const { invalidation } = this.#processes[process]!.cache
      const targets = this.#targets(part)
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

interface Process {
  cache: ResponseCache
  caller: Parameters<ResponseCache['lookup']>[1]
  hint: { members: readonly string[] }
  /** Of its quarantines. */
  tokens: Set<string>
}

interface Row { version: number, key: string, members: readonly string[], request: Record<string, string> }

const NOW = (): number => 1_000
const LIMITS = { deadline: 0, quarantineTime: QUARANTINE_TIME, breakerThreshold: 5, maxWaiters: 100, maxJournal: 100 }
const PARTS = { ...LIMITS, jitter: 0, now: NOW, random: Math.random, enabled: true }
