// The compiled demo as a child process, as `npm run demo` starts it.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

const server = fileURLToPath(new URL('../../build/demo-app/server.js', import.meta.url))

/** A demo that was started; `ready` or `ended` tells what became of it. */
export class DemoProcess {
  readonly child: ChildProcess
  stdout = ''
  stderr = ''
  readonly #closed: Promise<unknown>

  constructor (env: Record<string, string>) {
    const { DATABASE_URL, REDIS_URL, LOG_LEVEL, HOST, npm_lifecycle_event: npm, ...rest } = process.env
    // A busy machine must not make a bypass of a hit.
    const defaults = { ...rest, PORT: '0', CACHE_DEADLINE: '30s' }
    this.child = spawn(process.execPath, [server], { env: { ...defaults, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    this.child.stdout?.on('data', (chunk) => { this.stdout += chunk })
    this.child.stderr?.on('data', (chunk) => { this.stderr += chunk })
    this.#closed = once(this.child, 'close')
  }

  /** Its address, once it has said that it is ready. */
  async ready (): Promise<string> {
    const address = /http:\S+/.exec(await this.#line('stdout', 'ready at'))?.[0]
    if (address !== undefined) return address
    throw new Error(`the demo ended with ${await this.ended()}: ${this.stdout}${this.stderr}`)
  }

  /** Resolves when it has said on stderr that it loads. */
  async loading (): Promise<void> {
    await this.#line('stderr', 'Loading')
  }

  /** Its exit code, or the signal that ended it; its output is complete then. */
  async ended (): Promise<number | string> {
    await this.#closed
    return this.child.exitCode ?? this.child.signalCode ?? ''
  }

  async stop (signal: NodeJS.Signals = 'SIGTERM'): Promise<number | string> {
    this.child.kill(signal)
    return await this.ended()
  }

  // Empty when the stream ended without it.
  async #line (stream: 'stdout' | 'stderr', words: string): Promise<string> {
    const lines = createInterface({ input: this.child[stream] as NodeJS.ReadableStream })
    for await (const line of lines) if (line.includes(words)) return line
    return ''
  }
}

/** Starts a demo that ends with the test at the latest. */
export function startDemo (t: Test, env: Record<string, string>): DemoProcess {
  const demo = new DemoProcess(env)
  t.teardown(async () => await demo.stop())
  return demo
}
