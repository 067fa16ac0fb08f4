// What happened to each row, and whether it may have. One process sends all requests and receives all answers, so one
// counter orders them, and the rule is exact: a request that began after a write's answer had come (the write answers when
// its invalidation has returned) must not be given an older version than that write's.
//
//   1. W  commits version 8, invalidates, answers       landed(8)
//   2. R  is sent                                       floor = 8
//   3. R  is answered: version 7                        stale, by the time from 1 to 2
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
}

/** A read's answer: which version it has of which rows. */
export interface Seen {
  process: number
  outcome: string
  versions: Record<number, number>
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
}

interface Row {
  landings: Landing[]
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
  #order = 0

  /** `staleTime`: for how many milliseconds an older version may still be given. */
  constructor (now = () => performance.now(), staleTime = 0) {
    this.#now = now
    this.#start = now()
    this.#staleTime = staleTime
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
      const { landings } = this.#row(row)
      landings.push({ order, at: to, top: Math.max(version, landings.at(-1)?.top ?? 0) })
      this.#keep(row, { kind: 'write', from: begun.at, to, process, outcome, version, floor: 0 })
    }
  }

  /** A read was answered; false where the answer was stale. */
  read (begun: Begun, { process, outcome, versions }: Seen): boolean {
    const to = this.#elapsed()
    let isFresh = true
    for (const [row, version] of entries(versions)) {
      const floor = this.#floor(row, begun.order)
      const operation: Operation = { kind: 'read', from: begun.at, to, process, outcome, version, floor }
      this.#keep(row, operation)
      if (version >= floor || this.#staleness(row, operation) <= this.#staleTime) continue
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

  /** How long its version had been replaced when it was sent. */
  #staleness (row: number, read: Operation): number {
    const { landings } = this.#row(row)
    // The first landing with a newer top is the first one of a newer version.
    const replaced = landings[firstWhere(landings, ({ top }) => top > read.version)] as Landing
    return read.from - replaced.at
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

  #floor (row: number, order: number): number {
    const { landings } = this.#row(row)
    return landings[firstWhere(landings, (landing) => landing.order > order) - 1]?.top ?? 0
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
    if (state === undefined) this.#rows.set(row, state = { landings: [], recent: [], open: [] })
    return state
  }

  #elapsed (): number {
    return this.#now() - this.#start
  }
}

function entries (versions: Record<number, number>): Array<[row: number, version: number]> {
  return Object.entries(versions).map(([row, version]) => [Number(row), version])
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
