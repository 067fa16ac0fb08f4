// Private Redis servers for tests: each on a free port of 127.0.0.1 with a folder of its own that goes when it stops.
// They are ended by pid, and by the watchdog when this process ends without having stopped them.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis, type RedisOptions } from 'ioredis'
import { freePorts, HOST, isReady, isStopped } from './redis-probe.js'
import { ensureRedisServer } from './redis-server.mjs'
import { forget, processFolder, watch } from './watchdog.js'

const CONFIG = 'redis.conf'
const startDeadline = 15_000
const pollInterval = 5

export interface ServerOptions {
  /** Appended to the command line: `['--maxmemory', '2mb']`. */
  args?: string[]
  /** Default: a free one from the operating system. */
  port?: number
  /** Starts it as a node of a cluster, with a bus port of its own. */
  cluster?: boolean
  /** The lines of a configuration file of its own, which it may rewrite: what it was told at run time outlives a restart. */
  config?: string[]
  /** Starts it as a Sentinel, which needs a `config`. */
  sentinel?: boolean
}

/** One redis-server: `startRedis()` makes it. */
export class RedisServer {
  readonly host = HOST
  readonly port: number
  readonly busPort: number
  readonly #folder: string
  /** All of its command line. */
  readonly #args: string[]
  readonly #clients = new Set<Redis>()
  #child: ChildProcess | undefined

  constructor (folder: string, ports: Ports, args: string[]) {
    this.#folder = folder
    this.#args = args
    this.port = ports.port
    this.busPort = ports.busPort
  }

  get url (): string {
    return `redis://${HOST}:${this.port}`
  }

  /** Undefined while it is stopped. */
  get pid (): number | undefined {
    return this.#child?.pid
  }

  /** A client for the test's own use, closed by `stop()`. */
  client (options: Omit<RedisOptions, 'replyMapping'> = {}): Redis {
    const client = new Redis({ host: HOST, port: this.port, ...options })
    // Tests stop servers on purpose: without a listener ioredis prints each refused connection.
    client.on('error', () => {})
    this.#clients.add(client)
    return client
  }

  /** One command, on a connection of its own. */
  async ask (command: string, ...args: (string | number)[]): Promise<unknown> {
    const client = this.client()
    try {
      return await client.call(command, ...args)
    } finally {
      client.disconnect()
      this.#clients.delete(client)
    }
  }

  /** Freezes it (SIGSTOP): connections stay open, nothing is answered. Resolves once it stands still. */
  async pause (): Promise<void> {
    const pid = this.#signal('SIGSTOP')
    while (!await isStopped(pid)) await delay(1)
  }

  /** Lets a paused one go on (SIGCONT). */
  resume (): void {
    this.#signal('SIGCONT')
  }

  /** Ends it at once (SIGKILL), without a last save; `restart()` brings it back. */
  async kill (): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Ends it properly if it runs, and starts it on the same port, with the same arguments and folder. */
  async restart (): Promise<void> {
    await this.#end('SIGTERM')
    await this.start()
  }

  /** Ends it, closes the test's clients and removes its folder. May be called twice. */
  async stop (): Promise<void> {
    for (const client of this.#clients) client.disconnect()
    this.#clients.clear()
    await this.#end('SIGKILL')
    await rm(this.#folder, { recursive: true, force: true })
  }

  /** What it printed, for messages. */
  async log (): Promise<string> {
    return await readFile(join(this.#folder, 'log'), 'utf8').catch(() => '')
  }

  /** Resolves once it answers. A test calls `startRedis()` or `restart()` instead. */
  async start (): Promise<void> {
    const { path, env } = await ensureRedisServer()
    const log = openSync(join(this.#folder, 'log'), 'a')
    const child = spawn(path, this.#args, {
      cwd: this.#folder, env: { ...process.env, ...env }, stdio: ['ignore', log, log]
    })
    closeSync(log)
    const failed = new Promise<never>((_resolve, reject) => child.once('error', reject))
    await Promise.race([once(child, 'spawn'), failed])
    watch(child.pid as number)
    child.once('exit', () => forget(child.pid as number))
    // A forgotten server must not keep a finished test process alive.
    child.unref()
    this.#child = child
    if (await answers(child, this.port)) return
    await this.#end('SIGKILL')
    throw new StartError(this.port, await this.log())
  }

  #signal (signal: NodeJS.Signals): number {
    const pid = this.pid
    if (pid === undefined) throw new Error(`the Redis on port ${this.port} is not running`)
    process.kill(pid, signal)
    return pid
  }

  async #end (signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || hasEnded(child)) return
    const ended = once(child, 'exit')
    child.ref()
    child.kill(signal)
    // A paused process doesn't notice a SIGTERM.
    if (signal !== 'SIGKILL') child.kill('SIGCONT')
    await ended
  }
}

class StartError extends Error {
  readonly portTaken: boolean

  constructor (port: number, log: string) {
    const tail = log.trim().split('\n').slice(-15).join('\n')
    super(`redis-server on port ${port} did not start; the end of its log:\n${tail}`)
    this.portTaken = /Address already in use|Failed listening on port/.test(log)
  }
}

interface Ports {
  port: number
  busPort: number
}

/** Starts a Redis of the test's own; `stop()` it in a teardown. */
export async function startRedis (options: ServerOptions = {}): Promise<RedisServer> {
  for (let attempt = 1; ; attempt++) {
    const server = await prepare(options)
    try {
      await server.start()
      return server
    } catch (error) {
      await server.stop()
      // Between our asking for a free port and Redis' binding it, somebody else may have taken it.
      const taken = error instanceof StartError && error.portTaken && options.port === undefined
      if (!taken || attempt === 5) throw error
    }
  }
}

async function prepare (options: ServerOptions): Promise<RedisServer> {
  const [free = 0, busPort = 0] = await freePorts(2)
  const ports = { port: options.port ?? free, busPort }
  const folder = await mkdtemp(join(processFolder(), 'redis-'))
  if (options.config !== undefined) await writeFile(join(folder, CONFIG), options.config.join('\n'))
  return new RedisServer(folder, ports, commandLine(folder, ports, options))
}

function commandLine (folder: string, { port, busPort }: Ports, options: ServerOptions): string[] {
  const { args = [], cluster = false, config, sentinel = false } = options
  const common = ['--port', `${port}`, '--bind', HOST, '--dir', folder, '--save', '', '--appendonly', 'no', '--daemonize', 'no']
  const node = ['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf', '--cluster-port', `${busPort}`]
  return [
    ...config === undefined ? [] : [CONFIG], ...common, ...cluster ? node : [], ...sentinel ? ['--sentinel'] : [], ...args
  ]
}

// False when it ended, or when the deadline is over.
async function answers (child: ChildProcess, port: number): Promise<boolean> {
  const deadline = performance.now() + startDeadline
  while (!hasEnded(child) && performance.now() < deadline) {
    if (await isReady(port, child.pid as number)) return true
    await delay(pollInterval)
  }
  return false
}

function hasEnded (child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}
