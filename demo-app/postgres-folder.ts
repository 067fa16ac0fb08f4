// Where the embedded Postgres keeps its data between starts, and who may use it now: one demo at a time. The right to
// a folder is a listening socket, which ends with its process however that ends; so whatever still runs in the folder
// when we hold it is an orphan of an earlier start.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmod, chown, lstat, mkdir, stat, unlink } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { StartError } from './start-error.js'

/** The user that Postgres runs as. It refuses root; `nobody` has this number everywhere. */
export const identity = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : undefined

export interface Folder {
  /** Empty, or a data folder of Postgres. */
  path: string
  release (): void
}

const maxFolders = 9

/**
 * Takes the first free data folder. A second demo that runs at the same time gets the next one.
 * @param given A folder to use in place of the checkout's own.
 */
export async function takeFolder (given: string | undefined): Promise<Folder> {
  const parents = given === undefined ? ownParents() : [resolve(given)]
  for (const parent of parents) {
    if (!await isUsable(parent)) continue
    for (let i = 1; i <= maxFolders; i++) {
      const path = join(parent, i === 1 ? 'data' : `data-${i}`)
      const lock = await takeLock(path)
      if (lock === null) continue
      if (await belongsToUs(path)) return { path, release: () => { lock.close() } }
      lock.close()
    }
  }
  throw new StartError(`no folder for the embedded Postgres among ${parents.join(', ')}; set DATABASE_URL to use a server`)
}

/** Makes a folder that only the user who runs Postgres can look into. */
export async function makePrivate (path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 })
  if (identity !== undefined) await chown(path, identity.uid, identity.gid)
}

/** Whether the user who runs Postgres can get to `path`: all folders above let others pass. */
export async function isReachable (path: string): Promise<boolean> {
  if (identity === undefined) return true
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    const { mode } = await stat(folder)
    if ((mode & 0o001) === 0) return false
    if (folder === dirname(folder)) return true
  }
}

// The checkout's root lies above both demo-app/ and build/demo-app/.
function ownParents (): string[] {
  const here = dirname(fileURLToPath(import.meta.url))
  const root = dirname(here).endsWith('build') ? dirname(dirname(here)) : dirname(here)
  const id = createHash('sha256').update(`${root} ${process.getuid?.()}`).digest('hex').slice(0, 12)
  const temporary = [...new Set([tmpdir(), '/tmp'])].map((folder) => join(folder, `fastify-route-cache-${id}`))
  return [join(root, '.cache', 'demo-postgres'), ...temporary]
}

async function isUsable (parent: string): Promise<boolean> {
  try {
    await mkdir(parent, { recursive: true })
    const { uid, mode } = await lstat(parent)
    // In a shared temporary folder somebody else may have made it first, to give us a database of theirs.
    if (process.getuid !== undefined && uid !== process.getuid()) return false
    if (identity !== undefined) await chmod(parent, mode | 0o011)
    return await isReachable(parent)
  } catch {
    return false
  }
}

async function belongsToUs (path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => null)
  return found === null || process.getuid === undefined || found.uid === (identity?.uid ?? process.getuid())
}

async function takeLock (path: string): Promise<Server | null> {
  const name = lockName(path)
  const server = await listen(name)
  if (server !== null || !name.startsWith('/')) return server
  // Only where a socket is a file does it outlive its process: nobody answers then.
  if (await answers(name)) return null
  await unlink(name).catch(() => {})
  return await listen(name)
}

function lockName (path: string): string {
  const id = `fastify-route-cache-${createHash('sha256').update(path).digest('hex').slice(0, 20)}`
  if (process.platform === 'linux') return `\0${id}`
  return process.platform === 'win32' ? `\\\\.\\pipe\\${id}` : `/tmp/${id}.lock`
}

async function listen (name: string): Promise<Server | null> {
  const server = createServer((socket) => socket.destroy()).listen(name)
  try {
    await once(server, 'listening')
    return server.unref()
  } catch {
    return null
  }
}

async function answers (name: string): Promise<boolean> {
  const socket = connect(name)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
