// What happened to each row, and whether it may have. One process sends all requests and receives all answers, so one
// counter orders them, and the rule is exact: a request that began after a write's answer had come (the write answers when
// its invalidation has returned) must not be given an older version than that write's.
//
//   1. W  commits version 8, invalidates, answers       landed(8)
//   2. R  is sent                                       floor = 8
//   3. R  is answered: version 7                        stale, by the time from 1 to 2
//
// Where processes have tiers, that is the rule for each process and its own writes. What others have written it may be given
// later, within a tolerance; how much later is measured.
//
// A read that was sent between W's start and its answer may be given either version.

/** The beginning of an operation. */
export interface Begun {
  order: number
  at: number
}

export interface Operation {
  kind: 'read' | 'write' | 'fault'
  /** Milliseconds since the history's start, when it was sent and when it was answered. */
  from: number
  to: number
  /** Where it was sent; and for a read, what the cache did, and which process' handler had read the row. */
  process: number
  outcome: string
  version: number
  /** A read's: the least version that it may have. */
  floor: number
  /** A read's: it says of itself that it is stale. */
  isStale?: boolean
}

/** A read's answer: which version it has of which rows. */
export interface Seen {
  process: number
  outcome: string
  versions: Record<number, number>
  /** It says of itself that it is stale: what is served as fresh may not be older than what has been written. */
  isStale?: boolean
}

/** A stale read, with the operations of its row around it. */
export interface Incident {
  row: number
  read: Operation
  /** How long it had been over: from the answer of the write that replaced it to the sending of this read. */
  staleness: number
  operations: Operation[]
}

/** The answer of a write; `top` is the newest version that has landed with or before it. */
interface Landing {
  order: number
  at: number
  top: number
  /** For how long what it replaced was still served elsewhere, as far as somebody asked. */
  oldFor: number
}

/** What processes served that others had replaced, in milliseconds from the answer of the write that replaced it. */
export interface Elsewhere {
  invalidations: number
  /** Of each invalidation the longest, 0 where nobody was served what it had replaced. */
  oldForMs: Spread
  /** Reads that were served something replaced. */
  reads: number
  readMs: Spread
}

interface Spread { p50: number, p99: number, max: number }

export interface Rule {
  /** For how many milliseconds an older version may still be given that is said to be stale. */
  staleTime?: number
  /** And for how many more in other processes than the one that has written; null: they are judged alike. */
  tolerance?: number | null
}

interface Row {
  landings: Landing[]
  /** The same, by the processes that have written. */
  own: Map<number, Landing[]>
  recent: Operation[]
  /** Incidents that still collect what comes after them. */
  open: Incident[]
}

const KEPT_BEFORE = 120
const KEPT_AFTER = 40
const KEPT_INCIDENTS = 5

export class History {
  staleReads = 0
  maxStaleness = 0
  /** When the first stale read was answered; null: there was none. */
  firstStale: number | null = null
  readonly incidents: Incident[] = []
  readonly #rows = new Map<number, Row>()
  readonly #now: () => number
  readonly #start: number
  readonly #staleTime: number
  readonly #tolerance: number | null
  readonly #elsewhere: number[] = []
  #order = 0

  constructor (now = () => performance.now(), { staleTime = 0, tolerance = null }: Rule = {}) {
    this.#now = now
    this.#start = now()
    this.#staleTime = staleTime
    this.#tolerance = tolerance
  }

  /** To be called right before a request is sent. */
  begin (): Begun {
    return { order: ++this.#order, at: this.#elapsed() }
  }

  /** A write has answered: from here on, its versions are the least that a new request may be given. */
  wrote (begun: Begun, { process, outcome, versions }: Seen): void {
    const order = ++this.#order
    const to = this.#elapsed()
    for (const [row, version] of entries(versions)) {
      const { landings, own } = this.#row(row)
      if (!own.has(process)) own.set(process, [])
      for (const list of [landings, own.get(process)!]) {
        list.push({ order, at: to, top: Math.max(version, list.at(-1)?.top ?? 0), oldFor: 0 })
      }
      this.#keep(row, { kind: 'write', from: begun.at, to, process, outcome, version, floor: 0 })
    }
  }

  /** A read was answered; false where the answer was stale. */
  read (begun: Begun, { process, outcome, versions, isStale = false }: Seen): boolean {
    const to = this.#elapsed()
    let isFresh = true
    for (const [row, version] of entries(versions)) {
      const floor = floorOf(this.#row(row).landings, begun.order)
      const operation: Operation = { kind: 'read', from: begun.at, to, process, outcome, version, floor, isStale }
      this.#keep(row, operation)
      if (version >= floor || this.#mayBe(row, operation, begun.order)) continue
      isFresh = false
      this.#stale(row, operation)
    }
    if (!isFresh) this.staleReads++
    return isFresh
  }

  /** Somebody did something to Redis: it stands between the operations of all rows. */
  note (what: string): void {
    const at = this.#elapsed()
    for (const row of this.#rows.keys()) {
      this.#keep(row, { kind: 'fault', from: at, to: at, process: 0, outcome: what, version: 0, floor: 0 })
    }
  }

  /** Whether a version that was replaced may be given still. */
  #mayBe (row: number, read: Operation, order: number): boolean {
    const { landings, own } = this.#row(row)
    const landing = replacement(landings, read)
    const staleness = read.from - landing.at
    const staleTime = read.isStale === true ? this.#staleTime : 0
    if (staleness <= staleTime) return true
    if (this.#tolerance === null) return false
    const mine = own.get(read.process) ?? []
    const isOwn = read.version < floorOf(mine, order) && read.from - replacement(mine, read).at > staleTime
    if (isOwn) return false
    landing.oldFor = Math.max(landing.oldFor, staleness)
    this.#elsewhere.push(staleness)
    return staleness <= staleTime + this.#tolerance
  }

  get elsewhere (): Elsewhere {
    const landings = [...this.#rows.values()].flatMap(({ landings }) => landings)
    const times = this.#elsewhere
    const oldForMs = spread(landings.map(({ oldFor }) => oldFor))
    return { invalidations: landings.length, oldForMs, reads: times.length, readMs: spread(times) }
  }

  /** How long its version had been replaced when it was sent. */
  #staleness (row: number, read: Operation): number {
    return read.from - replacement(this.#row(row).landings, read).at
  }

  #stale (row: number, read: Operation): void {
    const { recent, open } = this.#row(row)
    const staleness = this.#staleness(row, read)
    this.maxStaleness = Math.max(this.maxStaleness, staleness)
    this.firstStale ??= read.to
    if (this.incidents.length >= KEPT_INCIDENTS) return
    const incident = { row, read, staleness, operations: recent.slice(-KEPT_BEFORE) }
    this.incidents.push(incident)
    open.push(incident)
  }

  #keep (row: number, operation: Operation): void {
    const state = this.#row(row)
    state.recent.push(operation)
    if (state.recent.length > 2 * KEPT_BEFORE) state.recent = state.recent.slice(-KEPT_BEFORE)
    for (const { operations } of state.open) operations.push(operation)
    state.open = state.open.filter(({ operations }) => operations.length < KEPT_BEFORE + KEPT_AFTER)
  }

  #row (row: number): Row {
    let state = this.#rows.get(row)
    if (state === undefined) this.#rows.set(row, state = { landings: [], own: new Map(), recent: [], open: [] })
    return state
  }

  #elapsed (): number {
    return this.#now() - this.#start
  }
}

function entries (versions: Record<number, number>): Array<[row: number, version: number]> {
  return Object.entries(versions).map(([row, version]) => [Number(row), version])
}

/** The least version that a read may be given that began then, by these writes. */
function floorOf (landings: readonly Landing[], order: number): number {
  return landings[firstWhere(landings, (landing) => landing.order > order) - 1]?.top ?? 0
}

/** The first landing with a newer top is the first one of a newer version. */
function replacement (landings: readonly Landing[], read: Operation): Landing {
  return landings[firstWhere(landings, ({ top }) => top > read.version)] as Landing
}

function spread (times: readonly number[]): Spread {
  const sorted = times.toSorted((a, b) => a - b)
  const part = (share: number): number => Math.round((sorted[Math.ceil(share * sorted.length) - 1] ?? 0) * 10) / 10
  return { p50: part(0.5), p99: part(0.99), max: part(1) }
}

/** The index of the first one of which it is true, in a list where it stays true from there on; the length: of none. */
function firstWhere<T> (list: readonly T[], isTrue: (one: T) => boolean): number {
  let low = 0
  let high = list.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (isTrue(list[middle] as T)) high = middle
    else low = middle + 1
  }
  return low
}
