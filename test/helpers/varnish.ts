// A private Varnish for tests, on a free port of 127.0.0.1, with a folder of its own that goes when it stops.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePorts, HOST } from './redis-probe.js'
import { until } from './until.js'
import { ensureVarnish } from './varnish-server.mjs'
import { forget, processFolder, watch } from './watchdog.js'

export interface Varnish { origin: string, stop: () => Promise<void> }

/** Starts it with this configuration; `stop()` it in a teardown. */
export async function startVarnish (configuration: string): Promise<Varnish> {
  const { path, args, env } = await ensureVarnish()
  const [port] = await freePorts(1)
  const folder = await mkdtemp(join(processFolder(), 'varnish-'))
  const file = join(folder, 'default.vcl')
  await writeFile(file, configuration)
  const log = openSync(join(folder, 'log'), 'a')
  // No jail: that would need another user's account. A small log in memory: the default is 80 MB.
  const child = spawn(path, [
    ...args, '-F', '-j', 'none', '-n', folder, '-a', `${HOST}:${port}`, '-f', file, '-s', 'malloc,16m', '-p', 'vsl_space=1m'
  ], { cwd: folder, env: { ...process.env, ...env }, stdio: ['ignore', log, log] })
  closeSync(log)
  let end: string | null = null
  const ended = Promise.race([once(child, 'exit'), once(child, 'error')]).then(([why]) => { end = String(why) })
  if (child.pid !== undefined) watch(child.pid)
  const stop = async (): Promise<void> => {
    if (end === null) child.kill()
    await ended
    if (child.pid !== undefined) forget(child.pid)
    await rm(folder, { recursive: true, force: true })
  }
  const origin = `http://${HOST}:${port}`
  try {
    await until(async () => {
      if (end !== null) throw new Error(`varnishd did not start (${end}):\n${await readFile(join(folder, 'log'), 'utf8')}`)
      return await fetch(origin, { method: 'PURGE' }).then(() => true, () => false)
    }, 'Varnish answers')
  } catch (error) {
    await stop()
    throw error
  }
  return { origin, stop }
}
