// The app under test, from outside: a process of its own, and what it says of itself.
import type { ChildProcess } from 'node:child_process'
import { address, end, launch } from '../race/checker/fleet.js'
import { compileApp, type CompiledApp } from '../race/checker/compiled-app.js'
import type { BrokenBuildName } from '../race/checker/broken-build.js'
import { until } from '../helpers/until.js'
import { BROKEN_APPS, type AppConfig, type BrokenAppName, type ClientName, type ProcessStats } from './app-config.js'

export type Broken = BrokenAppName | BrokenBuildName

/** Which app it is. Default: ours, whole. */
export interface AppOptions {
  /** One that does what none may, or one whose plugin lacks a check. */
  broken?: Broken | undefined
  /** Another cache: the URL of its module, which Node must be able to load as it is. */
  subject?: string | undefined
  /** The package of its Redis client. Default: ioredis. */
  client?: ClientName | undefined
}

export class ChaosApp {
  readonly url: string
  readonly #child: ChildProcess
  readonly #compiled: CompiledApp

  constructor (url: string, child: ChildProcess, compiled: CompiledApp) {
    this.url = url
    this.#child = child
    this.#compiled = compiled
  }

  get isRunning (): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** After a collection. */
  async stats (): Promise<ProcessStats> {
    const response = await fetch(`${this.url}/stats`, { headers: { connection: 'close' }, signal: AbortSignal.timeout(60_000) })
    return await response.json() as ProcessStats
  }

  /** Resolves once Redis was told of all invalidations, and is asked again. */
  async settled (): Promise<ProcessStats> {
    let stats = await this.stats()
    await until(async () => {
      stats = await this.stats()
      return stats.cache === null || (stats.cache.journal === 0 && stats.cache.breaker === 'closed')
    }, async () => `the cache is at peace: ${stats.cache?.journal} in the journal, breaker ${stats.cache?.breaker}`, 30_000)
    return stats
  }

  async stop (): Promise<void> {
    await end(this.#child)
    await this.#compiled.remove()
  }
}

export async function startApp (redis: AppConfig['redis'], { broken, subject, client }: AppOptions = {}): Promise<ChaosApp> {
  const isApp = broken !== undefined && broken in BROKEN_APPS
  const compiled = await compileApp(undefined, isApp ? undefined : broken as BrokenBuildName | undefined)
  const at = client === undefined ? redis : { ...redis, client }
  const config: AppConfig = { redis: at, broken: isApp ? broken as BrokenAppName : undefined, subject }
  const child = launch(compiled.pathOf('chaos/app-process'), config, ['--expose-gc'])
  try {
    return new ChaosApp(await address(child), child, compiled)
  } catch (error) {
    await end(child)
    await compiled.remove()
    throw error
  }
}
