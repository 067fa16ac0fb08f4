// The options of the command, as they are given.
import { parseArgs, type ParseArgsConfig } from 'node:util'

const OPTIONS = {
  url: { type: 'string', multiple: true },
  cluster: { type: 'boolean' },
  sentinel: { type: 'string', multiple: true },
  master: { type: 'string' },
  prefix: { type: 'string' },
  timeout: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
  key: { type: 'string', multiple: true },
  tag: { type: 'string', multiple: true },
  'starts-with': { type: 'string', multiple: true },
  all: { type: 'boolean' },
  soft: { type: 'boolean' }
} as const satisfies ParseArgsConfig['options']

export type Given = ReturnType<typeof parse>['values']

/** Throws for words that are no options, or lack their value, and for an option that is given again where one is meant. */
export function parse (args: string[]) {
  const parsed = parseArgs({ args, options: OPTIONS, allowPositionals: true, strict: true, tokens: true })
  const names = parsed.tokens.flatMap((token) => token.kind === 'option' ? [token.name] : [])
  const again = names.find((name, at) => names.indexOf(name) < at && !('multiple' in OPTIONS[name]))
  if (again !== undefined) throw new Error(`--${again} is given twice`)
  return parsed
}
