// What stands beside each request in the head of an example, and what is said there of its answer.
import { readFile } from 'node:fs/promises'

const folder = new URL('../../examples/', import.meta.url)

export async function readExample (name: string): Promise<string> {
  return await readFile(new URL(name, folder), 'utf8')
}

/** A line of a program's head: what is done, and what it says. */
export interface Step { line: string, command: string, said: string }

/** All lines that begin with a command: one that is not understood must fail, and not go unseen. */
export function stepsOf (code: string): Step[] {
  return Array.from(code.matchAll(/^\/\/ +((?:curl|psql) .*)$/gm), ([, line]) => {
    const [, command, said] = /^(.+?) +# (.+)$/.exec(line!) ?? []
    if (command === undefined) throw new Error(`what does it say? ${line}`)
    return { line: line!, command, said: said! }
  })
}

/** What `said` is about: a field of the answer, or its body. `origins`: where each port of the line really is. */
export async function curl (origins: Readonly<Record<string, string>>, { command, said }: Step): Promise<string> {
  const [, options, port, path] = /^curl -i ((?:-\w (?:\w+|'[^']+') )*)localhost:(\d+)(\S+)$/.exec(command)!
  const headers = Object.fromEntries(Array.from(options!.matchAll(/-H '([^:]+): ([^']+)'/g), ([, name, value]) => [name!.toLowerCase(), value!]))
  const method = /-X (\w+)/.exec(options!)?.[1] ?? 'GET'
  const response = await fetch(origins[port!]! + path, { method, headers: { 'accept-encoding': 'identity', ...headers } })
  const text = await response.text()
  const [, field] = /^([\w-]+): /.exec(said) ?? []
  return field === undefined ? text : `${field}: ${response.headers.get(field)}`
}
