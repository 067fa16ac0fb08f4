// Leases in Redis: each a name with the token of who may fill. Single commands and scripts of one slot.
//
// A renewal that says that nobody is to wait any more changes the token. With F filling and S the server:
//
//   1. F  renews: `~a` for `a`       sent
//   2. F  fills, by the token `a`    sent behind it
//   3. S  the lease is `~a`          the fill is refused, although nobody took the lease
//
// The other way round, too, where the server does not know the fill's script yet: its text is sent behind the renewal. So
// commands that use one lease token run one at a time.
import { randomUUID } from 'node:crypto'
import { isGeneration } from './generations.js'
import { QUARANTINE, type Keys } from '../keys.js'
import { checksumOf } from '../layout.js'
import type { RedisClient } from '../server/redis-client.js'
import { END, PASS, RELEASE, RENEW, SEIZE, TAKE, TAKE_FIRST } from './scripts.js'
import { FIRST_MARKER_TIME, LEASE_TIME, PASS_TIME, type Lease, type Seen, type Taken } from '../store.js'
import type { Write } from '../server/topology.js'

export interface LeasesParts {
  client: RedisClient
  keys: Keys
  write: Write
  /** Where the clock was lost. */
  beginHistory: () => Promise<unknown>
}

export class Leases {
  readonly #client: RedisClient
  readonly #keys: Keys
  readonly #write: Write
  readonly #beginHistory: () => Promise<unknown>

  constructor ({ client, keys, write, beginHistory }: LeasesParts) {
    this.#client = client
    this.#keys = keys
    this.#write = write
    this.#beginHistory = beginHistory
  }

  async take (key: string, variant: string | null, { bytes, marker }: Pick<Seen, 'bytes' | 'marker'>): Promise<Taken> {
    const token = randomUUID()
    const lease = this.#keys.lease(key, variant)
    const target = variant === null ? this.#keys.entry(key) : this.#keys.variant(key, variant)
    const args = [token, LEASE_TIME, ...bytes === undefined ? [] : [bytes === null ? '' : checksumOf(bytes)]]
    const taking = this.#withClock(marker === null
      ? TAKE.run(this.#client, [lease, target], args)
      : TAKE_FIRST.run(this.#client, [this.#keys.entry(key), lease, this.#keys.lease(key)],
        [...args, marker, FIRST_MARKER_TIME]))
    const [taken, asOf] = await this.#orReleased(key, { token, variant }, { taking, heard: taking })
    const [mine, held] = (taken as unknown[]).map(String)
    if (mine !== '') return { token: mine!, asOf, variant, isPass: mine!.startsWith(PASS) }
    return held === '' ? 'changed' : holding(held!)
  }

  /** Null: the key is in quarantine. */
  async seize (key: string): Promise<Lease | null> {
    const token = randomUUID()
    const taking = this.#withClock(SEIZE.run(this.#client, [this.#keys.lease(key)], [token, LEASE_TIME]))
    const [seized, asOf] = await this.#orReleased(key, { token, variant: null }, { taking, heard: this.#write(taking) })
    return Number(seized) === 1 ? { token, asOf, variant: null, isPass: false, isSeized: true } : null
  }

  /** Both are sent together. `asOf` may be read before or after the lease: the handler runs after either. */
  async #withClock (lease: Promise<unknown>): Promise<[reply: unknown, asOf: number]> {
    const [taken, clock] = await Promise.allSettled([lease, this.#client.get(this.#keys.clock)])
    if (taken.status === 'rejected') throw taken.reason
    if (clock.status === 'rejected') throw clock.reason
    return [taken.value, await this.#asOf(clock.value)]
  }

  /** The lease may have been taken, also where its answer was lost, or comes too late: then it is given back. */
  async #orReleased<T> (
    key: string, { token, variant }: Pick<Lease, 'token' | 'variant'>, { taking, heard }: { taking: Promise<T>, heard: Promise<T> }
  ): Promise<T> {
    try {
      return await heard
    } catch (error) {
      const release = async (): Promise<void> => { await this.release(key, { token, asOf: 0, variant, isPass: false }) }
      taking.then(release, release).catch(() => {})
      throw error
    }
  }

  /** Without a clock nothing is valid: with it went the history, and a new one begins. */
  async #asOf (clock: string | null): Promise<number> {
    if (isGeneration(clock ?? '')) return Number(clock)
    await this.#beginHistory()
    return Number(await this.#client.get(this.#keys.clock) ?? 0)
  }

  async renew (key: string, lease: Lease, pass = false): Promise<boolean> {
    return await inTurn(lease, async () => {
      const token = pass && !lease.isPass ? PASS + lease.token : lease.token
      const names = [this.#keys.lease(key, lease.variant)]
      const renewed = await this.#write(RENEW.run(this.#client, names, [lease.token, LEASE_TIME, token]))
      if (Number(renewed) !== 1) return false
      lease.token = token
      lease.isPass ||= pass
      return true
    })
  }

  async release (key: string, lease: Lease, pass = false): Promise<void> {
    await inTurn(lease, async () => {
      const args = pass ? [lease.token, PASS_TIME] : [lease.token]
      await this.#write(RELEASE.run(this.#client, [this.#keys.lease(key, lease.variant)], args))
    })
  }

  /** `epoch`: of the marker that the variant lies under; '': it is no variant. */
  async end (key: string, lease: Lease, epoch: string): Promise<void> {
    await inTurn(lease, async () => {
      const { variant, token } = lease
      const place = variant === null ? [this.#keys.entry(key)] : [this.#keys.variant(key, variant), this.#keys.entry(key)]
      const args = [token, PASS_TIME, ...variant === null ? [] : [Buffer.from(epoch, 'latin1')]]
      await this.#write(END.run(this.#client, [this.#keys.lease(key, variant), ...place], args))
    })
  }

  /** What lasts longer than it ever does is left over from before the server's time stepped back, and may be taken. */
  async holder (key: string, variant: string | null): Promise<'held' | 'pass' | 'none'> {
    const name = this.#keys.lease(key, variant)
    const [held, life] = await this.#write(Promise.all([this.#client.get(name), this.#client.pttl(name)]))
    if (held === null) return 'none'
    const isLeft = !String(held).startsWith(QUARANTINE) && Number(life) > (held === PASS ? PASS_TIME : LEASE_TIME)
    return isLeft ? 'none' : holding(String(held))
  }
}

/** Runs commands that use one lease token one at a time, in the order of the calls. */
export async function inTurn<T> (lease: Lease, work: () => Promise<T>): Promise<T> {
  const working = lease.turn === undefined ? work() : lease.turn.then(work)
  lease.turn = working.then(() => {}, () => {})
  return await working
}

/** Nobody is to wait for a quarantine, either. */
function holding (value: string): 'held' | 'pass' {
  return value.startsWith(PASS) || value.startsWith(QUARANTINE) ? 'pass' : 'held'
}
