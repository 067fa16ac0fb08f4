// The command's words: read, run, and told in a line or as JSON. Exit codes: 0, done; 1, nothing is there, or the doctor
// found something wrong; 2, the command was written wrongly; 3, Redis could not be reached, or refused.
import { RouteCacheError, withoutPasswords } from '../../errors.js'
import type { Targets } from '../../cache/claim.js'
import { versionOfPackage } from './version.js'
import { explain } from '../../calls/explain.js'
import { inspectEntry } from '../../calls/look.js'
import { Keys } from '../../store/keys.js'
import { checkSoft, checkTarget } from '../../key/target.js'
import type { OwnRequests } from '../../request/own-request.js'
import { makeConnection, ToldAlone, type CommandConnection } from './connection.js'
import { examineServers } from './doctor.js'
import { parse, type Given } from './given.js'
import { HELP, HELP_OF } from './help.js'
import { heardFrom, Limit } from './limit.js'
import { listKeys } from './listing.js'
import { outsideScript } from './outside-script.js'
import { readPlace, type Environment } from './place.js'
import { statsOfProcesses } from './process-stats.js'
import type { CommandTold, CommandWork } from './words.js'

export interface CommandResult {
  /** For stdout. */
  out: string
  /** For stderr, one line; '': there is none. */
  problem: string
  code: 0 | 1 | 2 | 3
}

const OF_PURGE = ['key', 'tag', 'starts-with', 'all', 'soft'] as const
const PREFIX = /^[A-Za-z0-9_-]+$/

/** The command was written wrongly. */
class Misuse extends Error {}

interface Command {
  /** How many words stand behind its name: at least and at most. */
  words: readonly [least: number, most: number]
  run: (work: CommandWork) => Promise<CommandTold>
}

const COMMANDS: Readonly<Record<string, Command>> = {
  purge: { words: [0, 0], run: purge },
  inspect: { words: [1, 1], run: inspect },
  keys: { words: [0, 1], run: keys },
  tags: { words: [1, 1], run: tags },
  stats: { words: [0, 0], run: stats },
  doctor: { words: [0, 0], run: examineServers }
}

/** Never rejects for what a user may do wrong, nor for what Redis does. */
export async function runCommand (args: string[], env: Environment): Promise<CommandResult> {
  try {
    return await run(args, env)
  } catch (error) {
    const isWrong = error instanceof Misuse || (error instanceof RouteCacheError && ['FRC_OPTION', 'FRC_TARGET', 'FRC_TAG', 'FRC_KEY'].includes(error.code))
    const message = error instanceof Error ? error.message : String(error)
    return { out: '', problem: `fastify-route-cache: ${oneLine(message)}`, code: isWrong ? 2 : 3 }
  }
}

async function run (args: string[], env: Environment): Promise<CommandResult> {
  const { values: given, positionals: [name = '', ...words] } = parsed(args)
  if (given.help === true || name === 'help') return told(HELP_OF[name] ?? HELP_OF[words[0] ?? ''] ?? HELP)
  if (given.version === true) return told(await versionOfPackage())
  if (name === '') throw new Misuse('no command is given; there are: purge, inspect, keys, tags, stats, doctor, script. --help has examples')
  if (name === 'script') {
    if (words.length > 0 || Object.keys(given).length > 0) throw new Misuse('script takes no words and no options: it prints the text')
    return told(outsideScript().trimEnd())
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined) {
    throw new Misuse('there is no such command; there are: purge, inspect, keys, tags, stats, doctor, script. --help has examples')
  }
  mustFit(name, command, { given, words })
  const isJson = given.json === true
  const place = readPlace(given, env)
  const limit = new Limit(place.timeout)
  const connection = await makeConnection(place, given.prefix ?? 'cache', limit)
  const { connect, client, describe } = connection
  let isConnected = false
  let isUsed = true
  const work = async (): Promise<CommandTold> => {
    await connect()
    isConnected = true
    isUsed = await wasUsed(connection)
    try {
      return await command.run({ given, words, connection })
    } finally {
      if (!isUsed) await leaveUnused(connection)
    }
  }
  try {
    const isWalk = name === 'keys' || (given['starts-with'] ?? []).length > 0
    const { text, data, code = 0 } = await limit.bound(work(), isWalk ? () => heardFrom(client) : undefined)
    return { out: isJson ? JSON.stringify(data) : text, problem: isUsed ? '' : unusedPrefix(connection.prefix), code }
  } catch (error) {
    if (error instanceof RouteCacheError && !isOfStore(error)) throw error
    const said = error instanceof ToldAlone ? error.message : describe(error)
    if (name !== 'doctor' || !isJson || isConnected) throw new Error(said)
    const data = { healthy: false, findings: [{ check: 'connection', state: 'wrong', text: oneLine(said) }] }
    return { out: JSON.stringify(data), problem: `fastify-route-cache: ${oneLine(said)}`, code: 3 }
  } finally {
    connection.close()
  }
}

function isOfStore ({ code }: RouteCacheError): boolean {
  return code === 'FRC_STORE' || code === 'FRC_DEADLINE' || code === 'FRC_REPLICAS'
}

function parsed (args: string[]): ReturnType<typeof parse> {
  try {
    return parse(args)
  } catch (error) {
    // A word that is meant as a URL may stand in it.
    throw new Misuse(`${oneLine((error as Error).message).replace(/\. .*$/, '')}; --help has examples`)
  }
}

function mustFit (name: string, { words: [least, most] }: Command, { given, words }: Pick<CommandWork, 'given' | 'words'>): void {
  if (words.length < least) throw new Misuse(`${name} needs a word behind it: ${name} ${name === 'keys' ? 'PREFIX' : 'KEY'}`)
  if (words.length > most) throw new Misuse(`${name} has a word too many; quote a name that has spaces`)
  if (given.soft === true && (given['starts-with'] ?? []).length > 0) {
    throw new Misuse('--soft is for --key and --tag: what is found by --starts-with can only go')
  }
  if (given.soft === true && given.all === true) throw new Misuse('--soft is for --key and --tag: with --all everything goes')
  const foreign = name === 'purge' ? undefined : OF_PURGE.find((option) => given[option] !== undefined)
  if (foreign !== undefined) throw new Misuse(`--${foreign} is an option of purge`)
  if (name === 'purge') targetsOf(given)
  if (given.prefix !== undefined && !PREFIX.test(given.prefix)) throw new Misuse('--prefix has letters, digits, "_" and "-" only')
}

function told (out: string): CommandResult {
  return { out, problem: '', code: 0 }
}

/** An error in one line, without passwords, also of what was meant as a URL. */
function oneLine (text: string): string {
  const words = withoutPasswords(text).split(/\s/).filter((word) => word !== '').map((word) => {
    const at = word.lastIndexOf('@')
    return word.slice(0, Math.max(0, at)).includes(':') && !word.includes('//***@') ? `***${word.slice(at)}` : word
  })
  return words.join(' ').slice(0, 400)
}

async function purge ({ given, connection }: CommandWork): Promise<CommandTold> {
  const targets = targetsOf(given)
  const { cache } = connection.assembled()
  const { invalidation } = cache
  const isSoft = given.soft === true
  const entries = await (isSoft ? invalidation.soften(targets) : invalidation.run(targets))
  const what = targets.all
    ? 'everything'
    : [[targets.keys, 'key', 'keys'], [targets.tags, 'tag', 'tags'], [targets.prefixes, 'beginning', 'beginnings']]
        .filter(([names]) => names!.length > 0).map(([names, one, many]) => `${names!.length} ${names!.length === 1 ? one : many}`).join(', ')
  const isCounted = targets.keys.length + targets.prefixes.length > 0
  const count = !isCounted ? '' : `; ${entries} ${entries === 1 ? 'entry' : 'entries'} by key or beginning`
  const text = `${isSoft ? 'made stale' : 'invalidated'}: ${what} under the prefix "${connection.prefix}"${count}`
  return { text, data: { entries: isCounted ? entries : null } }
}

function unusedPrefix (prefix: string): string {
  return `fastify-route-cache: no app has used the prefix "${prefix}" on this Redis: is --prefix, or the database in the URL, another one?`
}

/** Whether anything was ever stored under the prefix: its floor stays. True where that can't be known. */
async function wasUsed ({ client, prefix }: CommandConnection): Promise<boolean> {
  return await client.get(new Keys(prefix).floor).then((floor) => floor !== null, () => true)
}

/**
 * Takes away the names that a command has written there, so that the next one says the same again. An app that has begun to
 * use the prefix meanwhile begins once more, as where Redis evicts these names.
 */
async function leaveUnused ({ client, prefix }: CommandConnection): Promise<void> {
  const { floor, clock, lastTag } = new Keys(prefix)
  await client.unlink(floor, clock, lastTag).catch(() => {})
}

/** Of a name that is printed: what would move the cursor, or colour a terminal, as JSON has it. */
function printable (name: string): string {
  return name.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (sign) => {
    const text = JSON.stringify(sign).slice(1, -1)
    return text === sign ? [...sign].map((one) => `\\u{${one.codePointAt(0)!.toString(16)}}`).join('') : text
  })
}

function targetsOf ({ key = [], tag = [], 'starts-with': beginnings = [], all = false, soft = false }: Given): Targets {
  const isNamed = key.length > 0 || tag.length > 0 || beginnings.length > 0
  if (!isNamed && !all) throw new Misuse('purge needs --key, --tag, --starts-with or --all, each as often as you like')
  if (isNamed && all) throw new Misuse('--all is everything under the prefix: leave out --key, --tag and --starts-with')
  if ([...key, ...tag, ...beginnings].includes('')) throw new Misuse('a name is empty; everything is --all')
  const target = all ? { all } as const : { keys: key, tags: tag, prefix: beginnings }
  return soft ? checkSoft(target) : checkTarget(target)
}

async function inspect ({ words: [key = ''], connection }: CommandWork): Promise<CommandTold> {
  const { text, ...data } = await explained(key, connection)
  return { text, data, code: data.entry === null ? 1 : 0 }
}

/** No request is made: of a key only what lies there is looked at. */
async function explained (key: string, { assembled }: CommandConnection): Promise<Awaited<ReturnType<typeof explain>>> {
  const { cache, values: { ttl } } = assembled()
  // Where the store refuses, that is no reason for an explanation to fail.
  await inspectEntry(cache, key, {})
  return await explain({ cache, ttl, requests: null as unknown as OwnRequests }, { key })
}

async function tags ({ words: [key = ''], connection }: CommandWork): Promise<CommandTold> {
  const { tags, entry } = await explained(key, connection)
  return { text: tags.map(({ tag, state }) => `${printable(tag)}\t${state ?? ''}`).join('\n'), data: tags, code: entry === null ? 1 : 0 }
}

async function stats (work: CommandWork): Promise<CommandTold> {
  await mustServe(work.connection)
  return await statsOfProcesses(work)
}

/** Rejects for a server that is no primary, or has a part of the names only: a lookup says so, other commands don't. */
async function mustServe ({ assembled }: CommandConnection, key = 'any'): Promise<void> {
  await inspectEntry(assembled().cache, key, {})
}

async function keys ({ words: [beginning = ''], connection }: CommandWork): Promise<CommandTold> {
  await mustServe(connection, beginning === '' ? 'any' : beginning)
  const found = await listKeys(connection, beginning)
  return { text: found.map(printable).join('\n'), data: found, code: found.length === 0 ? 1 : 0 }
}
