// Those who invalidate from outside: each opens what it needs, and then invalidates as often as it is asked to.
import { execFile, fork, spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { outsideScript } from '../../../plugin/extras/command/outside-script.js'
import { ensureRedisServer } from '../../helpers/redis-server.mjs'
import type { Named, Place } from './messages.js'

export interface Outsider { invalidate: (targets: Named) => Promise<void>, end: () => Promise<unknown> }

export const root = fileURLToPath(new URL('../../../', import.meta.url))
const LOADER = `--import=${join(root, 'test/helpers/typescript.mjs')}`
const nothing = async (): Promise<void> => {}

/** A process of ours, and the way to tell it something and wait for its answer. */
interface Forked { child: ChildProcess, tell: (message: unknown) => Promise<unknown> }

export async function forked (file: string, place: Place): Promise<Forked> {
  const child = fork(join(root, 'test/race/outside', file), [JSON.stringify(place)], { execArgv: [LOADER] })
  let hear: (said: { result?: unknown, error?: string }) => void = () => {}
  child.on('message', (said: object) => { hear(said) })
  child.on('exit', () => { hear({ error: 'it has ended' }) })
  const answer = async (): Promise<unknown> => {
    const { result, error } = await new Promise<{ result?: unknown, error?: string }>((resolve) => { hear = resolve })
    if (error !== undefined) throw new Error(`${file}: ${error}`)
    return result
  }
  await answer()
  return {
    child,
    tell: async (message) => {
      const answered = answer()
      child.send(message as object)
      return await answered
    }
  }
}

async function ran (command: string, args: string[], { input = '', env = {} } = {}): Promise<string> {
  return await new Promise((resolve, reject) => {
    const options = { env: { ...process.env, ...env }, maxBuffer: 1 << 26 }
    const child = execFile(command, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new Error(`${command} ended with ${error.code}: ${stderr || stdout}`))
    })
    child.stdin!.end(input)
  })
}

async function worker (place: Place): Promise<Outsider> {
  const { child, tell } = await forked('worker-process.ts', place)
  return {
    invalidate: async (targets) => { await tell(targets) },
    end: async () => {
      const ended = once(child, 'exit')
      child.send(null as never)
      await ended
    }
  }
}

/** Built: `npm run build`. */
async function command ({ prefix, nodes, cluster }: Place): Promise<Outsider> {
  const main = join(root, 'dist/esm/extras/command/main.js')
  const where = nodes.flatMap(({ host, port }) => ['--url', `redis://${host}:${port}`])
  return {
    invalidate: async ({ keys, tags }) => {
      const named = [...keys.flatMap((key) => ['--key', key]), ...tags.flatMap((tag) => ['--tag', tag])]
      const options = ['--prefix', prefix, '--timeout', '30s', ...where, ...cluster ? ['--cluster'] : []]
      await ran(process.execPath, [main, 'purge', ...named, ...options])
    },
    end: nothing
  }
}

const nameOf = (prefix: string, kind: string, name: string): string => kind === 'key' ? `${prefix}:${name}` : `${prefix}#tag:${name}`

/** As docs/from-any-language.md describes the steps; the text is loaded first, so that it need not be quoted. */
async function redisCli ({ prefix, nodes, cluster }: Place): Promise<Outsider> {
  const { path, env } = await ensureRedisServer()
  const cli = join(dirname(path), 'redis-cli')
  const ask = async (input: string, { port, host } = nodes[0]!): Promise<string[]> =>
    (await ran(cli, ['-h', host, '-p', String(port), ...cluster ? ['-c'] : []], { input, env })).trim().split('\n')
  let sha = ''
  for (const { port, host } of nodes) {
    sha = (await ran(cli, ['-h', host, '-p', String(port), 'SCRIPT', 'LOAD', outsideScript()], { env })).trim()
  }
  const checked = (lines: string[], expected: number): string[] => {
    const right = lines.filter((line) => /^\d+$/.test(line))
    if (right.length !== expected) throw new Error(`redis-cli: ${lines.join('; ').slice(0, 300)}`)
    return right
  }
  return {
    invalidate: async ({ keys, tags }) => {
      const names = [...keys.map((key) => ['key', key] as const), ...tags.map((tag) => ['tag', tag] as const)]
      if (!cluster) {
        checked(await ask(`EVALSHA ${sha} 0 invalidate ${prefix} ${names.flat().join(' ')}\n`), 1)
        return
      }
      const token = `t${Math.random().toString(36).slice(2)}`
      const each = (step: string, ...args: Array<string | number>): string => names.map(([kind, name]) =>
        `EVALSHA ${sha} 1 ${nameOf(prefix, kind, name)} ${step} ${prefix} ${[token, ...args].join(' ')} ${kind} ${name}\n`).join('')
      for (let round = 0; round < 5; round++) {
        checked(await ask(each('hold', 30_000)), names.length)
        const [value] = checked(await ask(`EVALSHA ${sha} 1 ${prefix}#floor advance ${prefix} ${token}\n`), 1)
        if (checked(await ask(each('release', value!)), names.length).every((held) => held === '1')) return
      }
      throw new Error('holds were lost')
    },
    end: nothing
  }
}

/** The program of docs/from-any-language.md, which needs no package. */
async function python ({ prefix, nodes, cluster }: Place): Promise<Outsider> {
  const folder = await mkdtemp(join(tmpdir(), 'route-cache-python-'))
  const page = await readFile(join(root, 'docs/from-any-language.md'), 'utf8')
  await writeFile(join(folder, 'outside.py'), /<!-- run: python -->\n```python\n([^]*?)```/.exec(page)![1]!)
  await writeFile(join(folder, 'invalidate.lua'), outsideScript())
  const { host, port } = nodes[0]!
  const program = `import json, sys
sys.path.insert(0, ${JSON.stringify(folder)})
from outside import Invalidator
cache = Invalidator(${JSON.stringify(prefix)}, ${JSON.stringify(host)}, ${port}, cluster=${cluster ? 'True' : 'False'})
for line in sys.stdin:
    cache.invalidate(**json.loads(line))
    print("done", flush=True)
`
  const child = spawn('python3', ['-c', program], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  return {
    invalidate: async (targets) => {
      child.stdin.write(`${JSON.stringify(targets)}\n`)
      if ((await lines.next()).done === true) throw new Error('the Python program has ended')
    },
    end: async () => {
      child.stdin.end()
      if (child.exitCode === null) await once(child, 'exit')
      await rm(folder, { recursive: true, force: true })
    }
  }
}

/** Broken, to be found out: removes names, as docs/from-any-language.md says not to. */
async function plainDel ({ prefix, nodes, cluster }: Place): Promise<Outsider> {
  const { path, env } = await ensureRedisServer()
  const cli = join(dirname(path), 'redis-cli')
  const { host, port } = nodes[0]!
  return {
    invalidate: async ({ keys, tags }) => {
      const names = [...keys.map((key) => nameOf(prefix, 'key', key)), ...tags.map((tag) => nameOf(prefix, 'tag', tag))]
      const input = names.map((name) => `DEL ${name}\n`).join('')
      await ran(cli, ['-h', host, '-p', String(port), ...cluster ? ['-c'] : []], { input, env })
    },
    end: nothing
  }
}

export const OUTSIDERS: Readonly<Record<string, (place: Place) => Promise<Outsider>>> = {
  worker, command, 'redis-cli': redisCli, python, del: plainDel
}
