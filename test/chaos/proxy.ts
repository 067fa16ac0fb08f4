// A TCP proxy between an app and its Redis, on a free port of 127.0.0.1, which can be told to be a bad network. What it
// holds back is late, not lost: back at 'pass' it goes on, as TCP's own repetition would have it.
//
//   pass       as if it were not there
//   latency    everything comes `ms` later, each way
//   blackhole  connections stay open, new ones are accepted, nothing passes
//   reset      all connections are reset (RST), new ones at once
//   drip       `bytes` at a time, every `every` ms, each way
//   half-open  the server's side of the connections of now is gone, the app's stays open and silent; new ones pass.
//              With the next mode the app's side is reset: as a host answers for a connection that it does not know
//   garbage    replies are replaced by random bytes; with the next mode these connections are reset
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { Pump, type Pace } from './pump.js'

const HOST = '127.0.0.1'

export type Mode =
  | { type: 'pass' | 'blackhole' | 'reset' | 'half-open' | 'garbage' }
  | { type: 'latency', ms: number }
  | { type: 'drip', bytes: number, every: number }

/** One connection of the app's, and ours to the server for it; null where there is none yet, or none any more. */
interface Link {
  app: Socket
  server: Socket | null
  pumps: Pump[]
  /** Nobody can go on with what was said on it. */
  isSpoilt: boolean
}

export class FaultProxy {
  readonly host = HOST
  readonly #target: number
  readonly #listener: Server
  readonly #links = new Set<Link>()
  #mode: Mode = { type: 'pass' }

  constructor (target: number) {
    this.#target = target
    this.#listener = createServer({ allowHalfOpen: true }, (app) => { this.#accept(app) })
  }

  get port (): number {
    return (this.#listener.address() as AddressInfo).port
  }

  get mode (): Mode['type'] {
    return this.#mode.type
  }

  /** How many connections apps have. */
  get connections (): number {
    return this.#links.size
  }

  async listen (): Promise<void> {
    await once(this.#listener.listen(0, HOST), 'listening')
  }

  /** From here on, also for what is on its way. */
  change (mode: Mode): void {
    this.#mode = mode
    for (const link of this.#links) {
      if (link.isSpoilt || mode.type === 'reset') this.#reset(link)
      else if (mode.type === 'half-open') this.#halve(link)
      else this.#set(link)
    }
  }

  pass (): void {
    this.change({ type: 'pass' })
  }

  async close (): Promise<void> {
    for (const link of this.#links) this.#reset(link)
    if (this.#listener.listening) await new Promise((resolve) => this.#listener.close(resolve))
  }

  #accept (app: Socket): void {
    const link: Link = { app, server: null, pumps: [], isSpoilt: false }
    // What is reset shows in the commands on it.
    app.on('error', () => {})
    this.#links.add(link)
    app.once('close', () => { this.#ended(link) })
    app.setNoDelay(true)
    if (this.#mode.type === 'reset') return this.#reset(link)
    app.pause()
    if (this.#mode.type !== 'blackhole') this.#connect(link)
  }

  #connect (link: Link): void {
    const { app } = link
    const server = connect({ port: this.#target, host: HOST, allowHalfOpen: true, noDelay: true })
    link.server = server
    // No server there: the app, too, finds nobody.
    server.on('error', () => { if (link.server === server) this.#reset(link) })
    link.pumps = [new Pump(app, server), new Pump(server, app, (bytes) => this.#reply(link, bytes))]
    this.#set(link)
  }

  /** The mode for a connection that stays. */
  #set (link: Link): void {
    if (link.server === null && !link.isSpoilt && this.#mode.type !== 'blackhole') return this.#connect(link)
    const pace = paceOf(this.#mode)
    for (const pump of link.pumps) pump.run(pace)
  }

  #reply (link: Link, bytes: Buffer): Buffer {
    if (this.#mode.type !== 'garbage') return bytes
    link.isSpoilt = true
    return randomBytes(bytes.length)
  }

  #halve (link: Link): void {
    const { app, server } = link
    link.isSpoilt = true
    link.server = null
    for (const pump of link.pumps) pump.end()
    server?.destroy()
    // Taken, and never heard of again.
    app.removeAllListeners('data').on('data', () => {}).resume()
  }

  #reset ({ app, server, pumps }: Link): void {
    for (const pump of pumps) pump.end()
    server?.destroy()
    app.resetAndDestroy()
  }

  /** The app's side is closed: the server hears of it, unless nothing passes. */
  #ended (link: Link): void {
    this.#links.delete(link)
    const { server, pumps } = link
    for (const pump of pumps) pump.end()
    server?.destroy()
  }
}

/** A proxy that listens; `close()` it in a teardown. */
export async function startProxy (target: number): Promise<FaultProxy> {
  const proxy = new FaultProxy(target)
  await proxy.listen()
  return proxy
}

function paceOf (mode: Mode): Pace {
  switch (mode.type) {
    case 'blackhole': return { type: 'hold' }
    case 'latency': return { type: 'later', ms: mode.ms }
    case 'drip': return { type: 'drip', bytes: mode.bytes, every: mode.every }
    default: return { type: 'flow' }
  }
}
