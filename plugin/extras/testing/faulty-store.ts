// A store that fails when told. It wraps the store that the plugin has opened: Redis, or the in-process store, which then
// counts as a remote one, with deadlines, breaker and journal.
//
// Commands that hang are done when the store is mended, as on a server that stood still. Nobody waits that long: a lookup
// goes on after the plugin's `deadline`, a write rejects after its `writeDeadline`.
import type { Milliseconds } from '../../duration.js'
import { RouteCacheError, optionError } from '../../errors.js'
import { promised } from '../../store/redis/redis.js'
import { within } from '../../store/wait/deadline.js'
import type { Ask, Fill, Lease, Reader, Seen, Store, StoreWrapper, Writing } from '../../store/store.js'

/** The commands that fail: all, or only writes, as on a Redis that is full or read-only. */
export type Faults = 'everything' | 'writes'

/** For the plugin's option `store`: `routeCache({ store })`. */
export interface FaultyStore extends StoreWrapper {
  /** From here on it rejects at once, as where the connection is refused. Default: everything. */
  fail (what?: Faults): void
  /** From here on it does not answer, as where Redis or the network hangs. Default: everything. */
  hang (what?: Faults): void
  /**
   * From here on it works again; commands that hung are done now. The cache uses it again when its breaker has noticed, and
   * its journal is told: `await recovered(app)`.
   */
  mend (): void
}

type State = 'works' | 'fails' | 'hangs'

/** The state that all stores behind one of these share. */
class Trouble {
  #state: State = 'works'
  #what: Faults = 'everything'
  #mended: Promise<void> = Promise.resolve()
  #mend = (): void => {}

  begin (state: State, what: Faults): void {
    if (what !== 'everything' && what !== 'writes') {
      throw optionError('faultyStore', state === 'fails' ? 'fail' : 'hang', what, 'it is "everything" or "writes"')
    }
    this.end()
    this.#state = state
    this.#what = what
    this.#mended = new Promise((resolve) => { this.#mend = resolve })
  }

  end (): void {
    this.#state = 'works'
    this.#mend()
  }

  of (isWrite: boolean): State {
    return isWrite || this.#what === 'everything' ? this.#state : 'works'
  }

  async mended (): Promise<void> {
    await this.#mended
  }
}

/** A store for the plugin's option `store` that works until it is told to fail, and can be told so at any time. */
export function faultyStore (): FaultyStore {
  const trouble = new Trouble()
  const wrap: StoreWrapper = (store, limits) => new Faulty(store, { trouble, ...limits })
  return Object.assign(wrap, {
    fail: (what: Faults = 'everything') => { trouble.begin('fails', what) },
    hang: (what: Faults = 'everything') => { trouble.begin('hangs', what) },
    mend: () => { trouble.end() }
  })
}

interface Parts { trouble: Trouble, deadline: Milliseconds, writeDeadline: Milliseconds }

class Faulty implements Store {
  readonly kind = 'redis'
  readonly #store: Store
  readonly #parts: Parts

  constructor (store: Store, parts: Parts) {
    this.#store = store
    this.#parts = parts
  }

  get tier (): Store['tier'] {
    return this.#store.tier
  }

  get witness (): Store['witness'] {
    return this.#store.witness
  }

  /** Does it, when and if the trouble lets it. */
  async #try<T> (isWrite: boolean, work: () => Promise<T>): Promise<T> {
    const { trouble } = this.#parts
    while (trouble.of(isWrite) === 'hangs') await trouble.mended()
    if (trouble.of(isWrite) === 'fails') throw failure()
    return await work()
  }

  /** The reader waits for the answer as long as the reader wants. */
  async #reading<T> (work: () => Promise<T>): Promise<T> {
    return await this.#try(false, work)
  }

  async #writing<T> (work: () => Promise<T>): Promise<T> {
    return await within(this.#parts.writeDeadline, this.#try(true, work))
  }

  async connect (): Promise<void> { await this.#reading(async () => { await this.#store.connect() }) }

  async probe (): Promise<void> { await this.#reading(async () => { await this.#store.probe() }) }

  async read (ask: Ask): ReturnType<Store['read']> { return await this.#reading(async () => await this.#store.read(ask)) }

  glance (ask: Ask): ReturnType<Store['glance']> {
    return this.#parts.trouble.of(false) === 'works' ? this.#store.glance(ask) : null
  }

  ask (ask: Ask, reader: Reader): void {
    const { trouble, deadline } = this.#parts
    if (this.#store.kind === 'redis' && trouble.of(false) === 'works') return this.#store.ask(ask, reader)
    // A reading that comes too late for its reader would keep a lease.
    const asked = { ...ask, toTake: false }
    const reading = this.#try(false, async () => await promised((reader) => { this.#store.ask(asked, reader) }))
    within(deadline, reading).then(
      (reading) => { reader.read({ ...reading, isNear: false }, deadline) },
      (error: unknown) => { reader.failed(error) }
    )
  }

  async generations (tags: readonly string[]): ReturnType<Store['generations']> {
    return await this.#reading(async () => await this.#store.generations(tags))
  }

  /** The lookup waits for it, and gives a late lease back. */
  async take (key: string, variant: string | null, seen: Seen): ReturnType<Store['take']> {
    return await this.#try(true, async () => await this.#store.take(key, variant, seen))
  }

  async renew (key: string, lease: Lease, pass?: boolean): Promise<boolean> {
    return await this.#writing(async () => await this.#store.renew(key, lease, pass))
  }

  async fill (key: string, lease: Lease, fill: Fill): ReturnType<Store['fill']> {
    return await this.#writing(async () => await this.#store.fill(key, lease, fill))
  }

  async release (key: string, lease: Lease, pass?: boolean): Promise<void> {
    await this.#writing(async () => { await this.#store.release(key, lease, pass) })
  }

  async end (key: string, lease: Lease, epoch: string): Promise<void> {
    await this.#writing(async () => { await this.#store.end(key, lease, epoch) })
  }

  async holder (key: string, variant: string | null): ReturnType<Store['holder']> {
    return await within(this.#parts.writeDeadline, this.#reading(async () => await this.#store.holder(key, variant)))
  }

  async seize (key: string, tags?: readonly string[]): ReturnType<Store['seize']> {
    return await this.#writing(async () => await this.#store.seize(key, tags))
  }

  async quarantine (targets: Writing, token: string, time: Milliseconds): Promise<boolean> {
    return await this.#writing(async () => await this.#store.quarantine(targets, token, time))
  }

  async invalidate (...args: Parameters<Store['invalidate']>): Promise<number> {
    return await this.#writing(async () => await this.#store.invalidate(...args))
  }

  async soften (targets: Writing): Promise<number> {
    return await this.#writing(async () => await this.#store.soften(targets))
  }

  close (): void {
    this.#store.close()
  }
}

function failure (): RouteCacheError {
  return new RouteCacheError('FRC_STORE', 'the store fails, as faultyStore() was told')
}
