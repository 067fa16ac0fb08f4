// What happens in one run of the model, and what must hold: some processes with the real cache over one Redis, readers that
// do what the hooks do, writers that change the row and then invalidate it, and whatever Redis evicts. Every step of
// theirs, and every command, is a task of fast-check's scheduler, which runs them in any order.
//
// The reference is one number for each moment: the newest version of the row whose invalidation had returned. Who begins
// then is not served an older one, nor anything that was made of one; his own handler's answer is always right, also where
// it is made of cached values. So a row says of which version it is, and what is made of others the oldest of theirs.
//
// Writers that mutate may die behind any step of theirs: what they had sent and Redis had not done yet is not done. The
// database commits what it was told to commit, also then. Their quarantines run out some time later, which is the moment
// from which on nobody is served what is older than that commit.
//
// A handler that answers that there is no such page ends what lay there when its lease was taken: who begins behind that is
// not served it any more. And nothing else: what others answered since, and stored, stays.
//
// When all is over, nobody may be left with a lease that nobody uses: whoever came then would wait for it.
import type { Scheduler } from 'fast-check'
import timers from 'node:timers/promises'
import { syncBuiltinESMExports } from 'node:module'
import { ResponseCache } from '../../../plugin/cache/cache.js'
import { bodyOf } from '../../../plugin/entry/entry.js'
import { NO_TARGETS, type Claim, type Found, type Selection, type Spare, type Targets } from '../../../plugin/cache/claim.js'
import { askFor, type First } from '../../../plugin/cache/lookup.js'
import { fingerprint } from '../../../plugin/http/headers.js'
import { Complaints } from '../../../plugin/telling/events.js'
import { Stats } from '../../../plugin/telling/stats.js'
import { Keys } from '../../../plugin/store/keys.js'
import { promised, RedisStore } from '../../../plugin/store/redis/redis.js'
import type { RedisClient } from '../../../plugin/store/server/redis-client.js'
import { PASS } from '../../../plugin/store/redis/scripts.js'
import type { Store } from '../../../plugin/store/store.js'
import { getOrSet } from '../../../plugin/calls/value.js'
import { BODIES, isEntry, isHold, isQuarantine, type Body } from './bodies.js'
import { Data, type DataOptions } from './data.js'
import type { Mode } from './modes.js'
import { Network, type Done, type World } from './network.js'
import { EVICTED, LIFE, PROCESSES, type Cut, type Part, type Reader, type Scenario, type Writer } from './scenario.js'

/** What is broken on purpose. */
export interface Broken extends Pick<DataOptions, 'scripts' | 'isUnseen'> {
  store?: (store: Store) => Store
  client?: (client: RedisClient) => RedisClient
  /** What is confirmed is filled, whatever lies there by then. */
  isBlind?: boolean
}

const COUNTS = [
  'hits', 'collapsed', 'stale', 'refreshes', 'misses', 'stores', 'refusals', 'ends', 'deaths', 'orphans', 'parts', 'cuts', 'renewals',
  'confirmed'
] as const
/**
 * How often it was what, in all runs. `orphans`: commits of writers that died before they could say so. `parts`: cached
 * values that something was made of.
 */
export type Tally = Record<typeof COUNTS[number], number>

export function newTally (): Tally {
  return Object.fromEntries(COUNTS.map((name) => [name, 0])) as Tally
}

const QUARANTINE_TIME = 60_000
/** Longer than a run takes: nobody waits in vain, unless he waits for ever. */
const LONG = 600_000
/** Of a run that ends; a poll for a lease that nobody has is one without end. */
const MOST_STEPS = 2_000
/** Milliseconds: what waits for less takes its turn among the steps. Other timers are for what does not come about here. */
const SOON = 50
/** Turns of the event loop that what is done without another step may take. */
const MOST_TURNS = 20

export interface Play { mode: Mode, tally: Tally, broken?: Broken }

/** Throws what was found wrong, with what happened. */
export async function play (s: Scheduler, scenario: Scenario, { mode, tally, broken = {} }: Play): Promise<void> {
  const { setTimeout, clearTimeout, setInterval, clearInterval } = globalThis
  // Of leases and quarantines, which are renewed when the scenario says so. The dead never stop theirs.
  const renewals = new Map<unknown, () => void>()
  const run = new Run(s, scenario, { mode, tally, broken, renewals })
  const soon = new Set<unknown>()
  const late = new Set<NodeJS.Timeout>()
  globalThis.setTimeout = ((work: () => void, time = 0) => {
    if (time >= SOON) {
      // What waits for ever must not keep this process; nor, when the run is over, all that the run has made.
      const timer = setTimeout(work, time).unref()
      late.add(timer)
      return timer
    }
    const timer = { unref: () => {} }
    soon.add(timer)
    run.step('a timer fires').then(() => { if (soon.delete(timer)) work() }, () => {})
    return timer
  }) as unknown as typeof setTimeout
  globalThis.clearTimeout = (timer) => { if (!soon.delete(timer)) clearTimeout(timer) }
  globalThis.setInterval = ((work: () => void) => {
    const interval = { unref: () => {} }
    renewals.set(interval, work)
    return interval
  }) as unknown as typeof setInterval
  globalThis.clearInterval = (interval) => { renewals.delete(interval) }
  // What is measured here takes next to no time, however busy this machine is.
  let time = 0
  const now = (): number => {
    time += 0.001
    return time
  }
  Object.assign(performance, { now })
  wake = async () => { await run.step('a poll wakes up') }
  try {
    await run.whole()
  } finally {
    Reflect.deleteProperty(performance, 'now')
    Object.assign(globalThis, { setTimeout, clearTimeout, setInterval, clearInterval })
    for (const timer of late) clearTimeout(timer)
  }
}

// Polls for another process' lease sleep: here until it is their turn.
let wake: () => Promise<void>
timers.setTimeout = (async () => { await wake() }) as unknown as typeof timers.setTimeout
syncBuiltinESMExports()

const turn = async (): Promise<void> => { await new Promise((resolve) => { setImmediate(resolve) }) }

interface Parts extends Required<Play> { renewals: ReadonlyMap<unknown, () => void> }

/** What holds for who begins now. */
interface Begun {
  least: number
  /** Whose quarantines are on. */
  shut: string[]
  /** Whose answers have been ended. */
  gone: ReadonlySet<number>
}

interface Serving extends Begun { found: Extract<Found, { type: 'hit' | 'stale' }> }

class Run {
  readonly #s: Scheduler
  readonly #scenario: Scenario
  readonly #mode: Mode
  readonly #tally: Tally
  readonly #isBlind: boolean
  readonly #data: Data
  readonly #network: Network
  readonly #processes: Process[]
  /** Writer by writer. */
  readonly #writers: Process[]
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
  /** Those that have not happened; behind how many other commands of theirs. */
  readonly #cuts: Cut[]
  /** Those that have not happened; behind how many other steps of theirs. */
  readonly #holds: Array<{ who: string, behind: number, for: number }>
  readonly #renewals: ReadonlyMap<unknown, () => void>
  /** Handlers that ran: what each of them gives is something else. */
  #runs = 0
  /** How many runs had been answered when a lease was there, by its token. */
  readonly #leased = new Map<string, number>()
  /** Which of them a token ends; and those whose end is confirmed. */
  readonly #ending = new Map<string, number>()
  readonly #gone = new Set<number>()

  constructor (s: Scheduler, scenario: Scenario, { mode, tally, broken, renewals }: Parts) {
    this.#s = s
    this.#scenario = scenario
    this.#mode = mode
    this.#tally = tally
    this.#isBlind = broken.isBlind === true
    this.#renewals = renewals
    this.#cuts = scenario.cuts.map((cut) => ({ ...cut }))
    this.#holds = scenario.holds.map(({ writer, ...hold }) => ({ who: `w${writer} `, ...hold }))
    const end = this.#watched(broken.scripts?.END ?? BODIES.END)
    this.#data = new Data({ ...broken, scripts: { ...broken.scripts, END: end } })
    const world: World = {
      step: async (label) => { await this.step(label) },
      say: (line) => { this.#say(line) },
      cut: (label) => this.#cut(label),
      after: async (steps) => { await this.#after(steps) },
      done: (done) => { this.#done(done) },
      repliesComeLate: scenario.repliesComeLate
    }
    this.#network = new Network({ data: this.#data, isCluster: scenario.isCluster, world })
    this.#processes = Array.from({ length: PROCESSES }, (_, i) => this.#process(`p${i}`, broken))
    this.#writers = scenario.writers.map(({ isPlain, isApart, diesAfter, process }, i) =>
      isApart || (!isPlain && diesAfter !== null) ? this.#process(`w${i}`, broken) : this.#processes[process]!)
  }

  #process (name: string, broken: Broken): Process {
    const { store: replaced = (store) => store, client: wrapped = (client) => client } = broken
    const client = wrapped(this.#network.client(name))
    const redis = new RedisStore({ client, keys: KEY_NAMES, writeDeadline: 0, now: NOW })
    const tokens = new Set<string>()
    const quarantine = redis.quarantine.bind(redis)
    redis.quarantine = async (targets, token, time) => {
      tokens.add(token)
      return await quarantine(targets, token, time)
    }
    const end = redis.end.bind(redis)
    redis.end = async (key, lease, epoch) => {
      await end(key, lease, epoch)
      const run = this.#ending.get(bare(lease.token))
      if (run !== undefined) this.#gone.add(run)
    }
    const store = replaced(redis)
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

  /** The script, and what it ends: by which run that was answered. */
  #watched (end: Body): Body {
    return (data, keys, args) => {
      const [lease, name, marker] = keys
      const token = bare(args[0]!)
      const [before, held] = [data.get(name!), data.get(lease!)]
      const isUnder = marker === undefined ? isEntry(before) : (data.get(marker) ?? '').slice(5, 17) === args[2]
      const reply = end(data, keys, args)
      const run = Number(/"run":(\d+)/.exec(before ?? '')?.[1] ?? 0)
      if (isUnder && held !== null && bare(held) === token && run > 0) this.#ending.set(token, run)
      if (before === null || data.get(name!) !== null) return reply
      this.#tally.ends++
      if (!isEntry(before)) this.#wrong(`${name} is ended, which is a marker`)
      if (run > (this.#leased.get(token) ?? Infinity)) this.#wrong(`${name} is ended, though it is newer than the lease`)
      return reply
    }
  }

  /** Waits for its turn. */
  async step (label: string): Promise<void> {
    if (!this.#isUnderWay) return
    const slow = this.#scenario.slow.find(({ what }) => label.includes(what))
    if (slow !== undefined) await this.#after(slow.for)
    const hold = this.#holds.find(({ who, behind }) => behind >= 0 && label.startsWith(who))
    if (hold !== undefined && hold.behind-- === 0) await this.#after(hold.for)
    await this.#s.schedule(Promise.resolve(), label)
    await this.#live(label.slice(0, label.indexOf(' ')))
    if (this.#scenario.timeRuns) this.#data.micros++
    this.#say(label)
  }

  /** Whether the connection is cut before the reply to this comes: how many steps later it is sent again; or null. */
  #cut (label: string): number | null {
    if (!this.#isUnderWay) return null
    const at = this.#cuts.findIndex(({ what }) => label.includes(what))
    const cut = this.#cuts[at]
    if (cut === undefined || cut.behind-- > 0) return null
    this.#cuts.splice(at, 1)
    this.#tally.cuts++
    return cut.for
  }

  /** A fill that the server had done knows that when it arrives again. */
  #done ({ script, keys, args, reply }: Done): void {
    const [place, bytes] = script === 'FILL' ? [keys[0]!, args[1]] : script === 'FILL_VARIANT' ? [keys[2]!, args[3]] : []
    if (place === undefined || Number(reply) !== 0 || this.#data.get(place) !== bytes) return
    this.#wrong(`${script} says that ${place} was not stored, where it lies`)
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
    for (const { cache } of new Set([...this.#processes, ...this.#writers])) await cache.connect()
    if (this.#scenario.isWarm) await this.#value('before,', { process: 0 }, { at: 0, depth: this.#mode.values!.length })
    await turn()
    this.#isUnderWay = true
    readers.forEach((reader, i) => { this.#act(`reader ${i}`, async (name) => { await this.#read(name, reader) }, reader.at) })
    writers.forEach((writer, i) => {
      const name = writer.isPlain ? `writer ${i}` : `w${i}`
      this.#act(name, async () => {
        await (writer.isPlain ? this.#write : this.#mutate).call(this, name, writer, this.#writers[i]!)
      }, writer.at)
    })
    for (const { at, kind } of evictions.filter(({ kind }) => !this.#isBeyond(kind))) {
      this.#act(`Redis evicts ${kind}`, async () => { this.#evict(EVICTED[kind]!) }, at)
    }
    for (const { at, server } of restarts) this.#act(`server ${server}`, async (name) => { await this.#restart(name, server) }, at)
    await this.#drain()
    this.#look()
    // What is left is looked at by all.
    for (const process of this.#processes.keys()) {
      for (const reader of readers) {
        const members = this.#mode.varies === true ? ['x'] : []
        const again: Reader = { ...reader, at: 0, process, members, isLong: false, end: 'fill', life: LIFE }
        this.#act(`p${process} afterwards`, async (name) => { await this.#read(name, again) })
      }
    }
    await this.#drain()
    this.#look()
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

  /** All that is held by now. */
  #renew (): void {
    for (const renew of [...this.#renewals.values()]) {
      this.#tally.renewals++
      renew()
    }
  }

  /** When all is over: a server that started again may hold leases of fills that have ended. */
  #look (): void {
    if (this.#mode.restarts === true || this.#wrongs.length > 0) return
    for (const name of this.#data.names.filter((name) => EVICTED.lease!.test(name))) {
      const text = this.#data.get(name)!
      if (text !== PASS && !isQuarantine(text)) this.#wrong(`${name} is held, and nobody uses it`)
    }
    const shut = this.#data.names.find((name) => isQuarantine(this.#data.get(name)) || isHold(this.#data.get(name)))
    if (shut !== undefined) this.#wrong(`${shut} stays in quarantine`)
  }

  /** Runs what is scheduled, and what that schedules, until there is no more. */
  async #drain (): Promise<void> {
    const first = this.#steps
    await this.#letGo()
    while (this.#s.count() > 0 && this.#wrongs.length === 0) {
      const steps = this.#steps++ - first
      if (steps > MOST_STEPS) {
        // Behind a restart it may end by timers only that do not fire here: of deadlines, and of the journal.
        if (this.#mode.restarts === true) this.#busy = 0
        else this.#wrong('it goes on and on')
        return
      }
      if (steps === MOST_STEPS / 2 && this.#mode.restarts === true) {
        // A server that starts again may hold leases of fills that have ended.
        this.#evict(EVICTED.lease!)
        // As the journal's timers would have it, which are too long to fire here.
        for (const { cache } of this.#processes) cache.invalidation.hurry()
      }
      await this.#s.waitOne()
      // Twice: in the first one reads may be sent that were waiting for others.
      await turn()
      await turn()
      await this.#letGo()
      if (this.#s.count() === 0) await this.#settle()
    }
    if (this.#wrongs.length === 0 && this.#busy > 0) this.#wrong(`${this.#busy} wait for ever`)
  }

  /** What fails may take some turns more to be told. */
  async #settle (): Promise<void> {
    for (let i = 0; i < MOST_TURNS && this.#busy > 0 && this.#s.count() === 0; i++) await turn()
    await this.#letGo()
  }

  #act (name: string, work: (name: string) => Promise<void>, at = 0): void {
    this.#busy++
    this.#after(at).then(async () => { await this.step(`${name} begins`) }).then(async () => { await work(name) })
      .catch((error: unknown) => { this.#wrong(`${name} failed: ${String(error)}`) })
      .finally(() => { this.#busy-- })
  }

  /** The first read of a request, which asks for the lease as well, as where a miss is likely. */
  async #ask (cache: ResponseCache, key: string, selection: Selection): Promise<First> {
    const asked = askFor(cache.shelf, key, selection)
    asked.toTake = asked.variant === null && !cache.isFillingKey(key)
    const ask = promised((reader) => { cache.shelf.store.ask(asked, reader) })
    return await ask.then((reading) => ({ asked, reading, error: undefined, left: 0, token: reading.token }),
      (error: unknown) => ({ asked, reading: null, error, left: 0, token: null }))
  }

  async #read (name: string, reader: Reader): Promise<void> {
    if (reader.isValue) {
      await this.#value(name, reader, { at: 0, depth: Math.max(1, reader.depth) })
      return
    }
    const { process, key, x, y } = reader
    const { cache, caller, hint } = this.#processes[process]!
    const begun = this.#begin()
    const request: Record<string, string> = { x, y }
    const { known = [], stale = false } = this.#mode
    const by = (members: readonly string[]): string => fingerprint(members, request)
    const selection = { needs: [], hint, fingerprint: by, tags: known, maxVariants: 10 }
    const may = { mayBeStale: stale && !reader.isPatient, mayRescue: false, mayBeEarly: false }
    const question = { key, selection, toFill: true, toRefresh: false, ...may, waitTimeout: this.#waitTimeout }
    const first = reader.asksAhead ? await this.#ask(cache, key, selection) : undefined
    const found = await cache.lookup(question, caller, first)
    if (first !== undefined) cache.giveBack(first, caller)
    if (found.type === 'unknown') return this.#say(`${name} does without`)
    if (found.type === 'miss') {
      this.#tally.misses++
      this.#say(`${name} (p${process}, began at ${begun.least}) misses, ${found.claim === null ? 'without' : 'with'} the lease`)
      const version = await this.#run(name, reader, { claim: found.claim, present: found.present ?? null })
      if (version < begun.least) this.#wrong(`${name} is given what is made of ${version} after ${begun.least} had been invalidated`)
      return
    }
    this.#served(name, reader, { found, ...begun })
    if (found.type === 'hit') return
    cache.refresh({ key, selected: found.selected, waitTimeout: this.#waitTimeout }, caller, async (right) => {
      this.#tally.refreshes++
      await this.#run(`the refresh of ${name}`, reader, { claim: { ...right, selection }, present: found })
    })
  }

  get #waitTimeout (): number {
    return this.#scenario.waits ? LONG : 0
  }

  #begin (): Begun {
    return { least: this.#returned, shut: [...this.#shut], gone: new Set(this.#gone) }
  }

  #served (name: string, { process, key, x, y }: Reader, { found, ...begun }: Serving): void {
    const row = JSON.parse(String(found.entry.body)) as Row
    const collapsed = found.type === 'hit' && found.collapsed
    this.#tally.hits++
    if (collapsed) this.#tally.collapsed++
    if (found.type === 'stale') this.#tally.stale++
    const how = `${found.type}${collapsed ? ', collapsed' : ''}`
    this.#say(`${name} (p${process}, began at ${begun.least}) is served version ${row.version}: ${how}`)
    this.#judge(name, { version: row.version, mayBeOld: this.#mode.soft === true && found.type === 'stale', ...begun })
    if (begun.gone.has(row.run)) this.#wrong(`${name} is served what had been ended`)
    if (row.key !== key) this.#wrong(`${name} asked for ${key} and is served ${row.key}`)
    const request: Record<string, string> = { x, y }
    const other = row.members.find((member) => row.request[member] !== request[member])
    if (other !== undefined) this.#wrong(`${name} is served another's variant`)
  }

  #judge (name: string, { version, mayBeOld, least, shut }: Begun & { version: number, mayBeOld: boolean }): void {
    if (version < least && !mayBeOld) this.#wrong(`${name} is served version ${version} after ${least} had been invalidated`)
    const writer = shut.find((name) => this.#shut.has(name))
    const isWhole = this.#scenario.evictions.every(({ kind }) => kind !== 'lease' && kind !== 'generation')
    if (writer !== undefined && isWhole) this.#wrong(`${name} is served version ${version} in the quarantine of ${writer}`)
  }

  /** What the handler does, and what becomes of its answer: the version that it is made of. */
  async #run (name: string, reader: Reader, { claim, present }: Running): Promise<number> {
    if (reader.confirms && claim !== null && present !== null) return await this.#confirm(name, reader, { claim, present })
    const { process, key, x, y, members, isLong, end, life, depth } = reader
    const { cache, caller } = this.#processes[process]!
    if (isLong) this.#renew()
    if (claim !== null) this.#leased.set(bare(claim.lease.token), this.#runs)
    const version = await this.#make(name, { process }, { at: 0, depth })
    const row: Row = { version, key, members, request: { x, y }, run: ++this.#runs }
    await this.step(`${name} answers ${row.version}`)
    if (claim === null) return version
    if (end !== 'fill') {
      if (end === 'end' && claim.isOccupied) cache.end(claim, caller)
      else cache.abandon(claim, caller, end !== 'abandon')
      return version
    }
    const body = Buffer.from(JSON.stringify(row))
    const { late = [], stale = false } = this.#mode
    const times = { life, stale: stale ? LIFE : 0, rescue: 0, cost: 0 }
    cache.fill(claim, { status: 200, headers: [], body, kind: 'text', isEncoded: false, members, tags: late, ...times }, caller)
    return version
  }

  /** What becomes of a stale entry that the handler finds unchanged: the version that it is made of. */
  async #confirm (name: string, { process, isLong, end, life }: Reader, { claim, present }: Confirming): Promise<number> {
    const { cache, caller } = this.#processes[process]!
    const { entry, selected: { bytes, marker } } = present
    if (isLong) this.#renew()
    const body = bodyOf(entry)
    const { version } = JSON.parse(String(body)) as Row
    await this.step(`${name} finds ${version} unchanged`)
    if (end !== 'fill') {
      cache.abandon(claim, caller, end === 'pass')
      return version
    }
    this.#tally.confirmed++
    const { status, headers, kind, tags } = entry
    const times = { life, stale: LIFE, rescue: 0, cost: 0 }
    const basis = this.#isBlind ? null : bytes ?? null
    const members = marker?.members ?? []
    cache.fill(claim, { status, headers, body, kind, isEncoded: false, members, tags, basis, ...times }, caller)
    return version
  }

  /** Reads what something is made of: the next cached value, or the row. Gives the row's version. */
  async #make (name: string, reader: Pick<Reader, 'process'>, chain: Chain): Promise<number> {
    if (chain.at < chain.depth) return await this.#value(name, reader, chain)
    await this.step(`${name} reads the row`)
    return this.#version
  }

  /** What handlers do to be given a cached value. */
  async #value (name: string, { process }: Pick<Reader, 'process'>, { at, depth }: Chain): Promise<number> {
    const { key, tags } = this.#mode.values![at]!
    const { cache, caller } = this.#processes[process]!
    const complaints = new Complaints(Date.now)
    const values = { cache, caller, ttl: LIFE, waitTimeout: this.#waitTimeout, maxBodyBytes: Infinity, complaints }
    const begun = this.#begin()
    let isOwn = false
    const load = async (): Promise<Made> => {
      isOwn = true
      this.#say(`${name} (p${process}, began at ${begun.least}) makes ${key}`)
      const version = await this.#make(`${name}, for ${key},`, { process }, { at: at + 1, depth })
      return { version, run: ++this.#runs }
    }
    const { version } = await getOrSet(values, { key, options: { tags }, load })
    if (isOwn) return version
    this.#tally.parts++
    this.#say(`${name} (p${process}, began at ${begun.least}) is given ${key}, made of ${version}`)
    this.#judge(`${name}, for ${key},`, { version, mayBeOld: false, ...begun })
    return version
  }

  #targets (part: Part): Targets {
    const { values = [], targets: { keys = [], tags = [], prefixes = [], ...others } } = this.#mode
    if (part === 'all' || part === 'keys' || part === 'tags') {
      return { ...NO_TARGETS, ...others, prefixes, keys: part === 'tags' ? [] : keys, tags: part === 'keys' ? [] : tags }
    }
    const [ofValues, tagsOfValues] = [values.map(({ key }) => key), values.flatMap(({ tags }) => tags)]
    const isMeant = (isOfValue: boolean): boolean => isOfValue === (part === 'values')
    return {
      ...NO_TARGETS,
      keys: keys.filter((key) => isMeant(ofValues.includes(key))),
      tags: tags.filter((tag) => isMeant(tagsOfValues.includes(tag))),
      prefixes: prefixes.filter((prefix) => isMeant(ofValues.some((key) => key.startsWith(prefix))))
    }
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
    const isPartial = part === 'responses' || part === 'values'
    const ended = invalidation.mutate(this.#targets(part), async () => {
      if (!isPartial) this.#shut.add(name)
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
    if (isPartial) return this.#say(`${name} has named ${part} only`)
    this.#returned = Math.max(this.#returned, version)
    this.#say(`${name}: what is older than ${version} is not served from here on`)
  }

  async #write (name: string, { process, part }: Writer, { cache: { invalidation } }: Process): Promise<void> {
    const version = ++this.#version
    this.#say(`${name} (p${process}) has written version ${version}`)
    await this.step(`${name} invalidates`)
    const targets = this.#targets(part)
    const before = this.#dropped(targets)
    try {
      await (this.#mode.soft === true ? invalidation.soften(targets) : invalidation.run(targets))
    } catch (error) {
      return this.#failure(`${name} could not invalidate: ${String(error)}`)
    }
    if (this.#mode.soft === true) this.#compare(before, this.#dropped(targets))
    if (part === 'responses' || part === 'values') return this.#say(`${name} has named ${part} only`)
    this.#returned = Math.max(this.#returned, version)
    this.#say(`${name} has invalidated what is older than ${version}`)
  }

  /** Of the tags that have a generation: below which value what carries them is dropped. */
  #dropped ({ tags }: Targets): Map<string, number> {
    const generations = tags.map((tag) => [tag, /^\d+/.exec(this.#data.get(KEY_NAMES.tag(tag)) ?? '')?.[0]] as const)
    return new Map(generations.flatMap(([tag, value]) => value === undefined ? [] : [[tag, Number(value)] as const]))
  }

  /** Made stale for the first time, nothing is dropped. */
  #compare (before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): void {
    const { writers, evictions } = this.#scenario
    if (writers.length > 1 || evictions.length > 0 || this.#mode.restarts === true) return
    for (const [tag, value] of before) if (after.get(tag) !== value) this.#wrong(`${tag} was made stale once, and is dropped`)
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
    const { cuts, evictions } = this.#scenario
    const isOfCut = cuts.length > 0 && /a server went while|the servers changed while|another (Redis )?server/.test(message)
    const isOfEviction = evictions.length > 0 && message.startsWith('a quarantine was lost')
    // As loud as the complaint whose end it is.
    const isEnd = /^(?:the cache(?:, in [^,]+,)? (?:was told of all invalidations|uses its store again)|cache lookups succeed again|responses are stored again)/.test(message)
    if (this.#mode.restarts === true || isOfCut || isOfEviction || isEnd) this.#say(message)
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

/** A token, whether or not anybody is to wait for it. */
function bare (token: string): string {
  return token.startsWith(PASS) ? token.slice(PASS.length) : token
}

interface Process {
  cache: ResponseCache
  caller: Parameters<ResponseCache['lookup']>[1]
  hint: { members: readonly string[] }
  /** Of its quarantines. */
  tokens: Set<string>
}

/** A handler that runs: under which right, and about which stale entry it may be asked. */
interface Running { claim: Claim | null, present: Spare | null }
interface Confirming { claim: Claim, present: Spare }

/** What handlers give: the oldest version of the row that it is made of. */
interface Made { version: number, run: number }

interface Row extends Made { key: string, members: readonly string[], request: Record<string, string> }

/** Which cached value is meant, and behind which one the row itself is read. */
interface Chain { at: number, depth: number }

const KEY_NAMES = new Keys('shop')
const NOW = (): number => 1_000
const LIMITS = { deadline: 0, quarantineTime: QUARANTINE_TIME, breakerThreshold: 5, maxWaiters: 100, maxJournal: 100 }
const PARTS = { ...LIMITS, jitter: 0, now: NOW, random: Math.random, enabled: true }
