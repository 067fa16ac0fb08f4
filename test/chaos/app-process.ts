// The app under test, forked by app.ts with an AppConfig as JSON: a subject, and a database in this process. It tells its
// address when it listens, and ends when the channel to its parent closes.
import { setTimeout as delay } from 'node:timers/promises'
import type { AppConfig, Body, Database, ProcessStats, Running, Subject } from './app-config.js'

/** What the database takes to answer. */
const QUERY_TIME = 5
const OPENED = 'the cache does without its store'

const { subject, ...config } = JSON.parse(process.argv[2] as string) as AppConfig
const counted = { unhandledRejections: 0, breakerOpenings: 0, logLines: 0 }
process.once('disconnect', () => process.exit())
process.on('unhandledRejection', (error) => {
  counted.unhandledRejections++
  console.error('unhandled rejection', error)
})

const { start } = await import(subject ?? './own-app.js') as Subject
const running: Running = await start({ ...config, database: database(), stats, log: { write: countLine } })
process.send?.(running.url)

function countLine (line: string): void {
  counted.logLines++
  if (line.includes(OPENED)) counted.breakerOpenings++
}

function database (): Database {
  const versions = new Map<number, number>()
  let runs = 0
  return {
    async read (id): Promise<Body> {
      const run = ++runs
      const row = Number(id)
      const version = versions.get(row) ?? 0
      // What it read may be old by now: that is what a slow fill is.
      await delay(QUERY_TIME)
      return { row, version, run }
    },
    write (id) {
      const row = Number(id)
      const version = (versions.get(row) ?? 0) + 1
      versions.set(row, version)
      return { row, version }
    }
  }
}

function stats (): ProcessStats {
  // Twice: what a first collection finalises goes with the second.
  globalThis.gc?.()
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  const resources: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1
  return {
    cache: running.cache?.() ?? null,
    memory: { heapUsed, external },
    resources,
    listeners: [process, ...running.emitters ?? []].reduce((sum, emitter) => sum + listenersOf(emitter), 0),
    ...counted
  }
}

function listenersOf (emitter: Pick<NodeJS.EventEmitter, 'eventNames' | 'listenerCount'>): number {
  return emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0)
}
