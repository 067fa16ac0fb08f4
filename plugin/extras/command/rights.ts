// Which commands the client's user may call, and on which names: each is called, on names of our own that soon end.
import { createHash, randomUUID } from 'node:crypto'
import { withoutSecrets } from '../../errors.js'
import { Keys } from '../../store/keys.js'
import { causeOf } from '../../store/server/causes.js'
import { isLate, within } from '../../store/wait/deadline.js'
import type { CommandConnection } from './connection.js'
import type { Finding } from './finding.js'

type Caller = { call: (command: string, ...args: Array<string | number>) => Promise<unknown> }
type Trial = [command: string, ...args: Array<string | number>]

const LIFE = 10_000
const FLAGGED = '#!lua flags=allow-oom\nreturn 1'

/** What every cache calls; docs/operating.md has the same list. */
function needed (name: string, list: string): Trial[] {
  return [
    ['SET', name, '1', 'NX', 'GET', 'PX', LIFE], ['GET', name], ['MGET', name], ['GETRANGE', name, 0, 0], ['SETRANGE', name, 0, '1'],
    ['PTTL', name], ['PEXPIRE', name, LIFE], ['ZADD', list, 1, 'a'], ['PEXPIRE', list, LIFE], ['ZRANGE', list, 0, -1], ['ZCARD', list],
    ['ZPOPMIN', list], ['UNLINK', name], ['DEL', name], ['TIME'], ['EVAL', FLAGGED, 0],
    ['EVALSHA', createHash('sha1').update(FLAGGED).digest('hex'), 0], ['INFO', 'server']
  ]
}

/** What only some features call, by these. */
const MORE: Readonly<Record<string, Trial[]>> = {
  'invalidating by prefix': [['SCAN', '0', 'MATCH', 'x', 'COUNT', 1]],
  waitForReplicas: [['WAIT', 0, 1]]
}

/** `isFull`: a write was refused for lack of memory, which is no matter of rights. */
export async function tryRights (connection: CommandConnection): Promise<{ findings: Finding[], isFull: boolean }> {
  const { prefix, place: { mode } } = connection
  const keys = new Keys(prefix)
  const key = `doctor:${randomUUID()}`
  const trials = needed(`${prefix}#${key}`, `${prefix}#list:${key}`)
  // By PING a Cluster's client finds its servers.
  const refused = await refusedOf(connection, mode === 'cluster' ? [...trials, ['PING']] : trials)
  const late = refused.find(({ isLate }) => isLate)
  if (late !== undefined) {
    const text = `${late.command} got no answer: the server stands still, or what is between drops it`
    return { findings: [{ check: 'rights', state: 'wrong', text }], isFull: false }
  }
  const isFull = refused.some(({ why }) => why.startsWith('OOM'))
  const lacking = refused.filter(({ why }) => !why.startsWith('OOM'))
  const names = [keys.entry(key), keys.lease(key), keys.variant(key, 'x'), keys.tag(key), keys.clock, keys.floor]
  const hidden: string[] = []
  const unread = await Promise.all(names.map(async (name) => await refusedOf(connection, [['GET', name]])))
  for (const [at, [first]] of unread.entries()) if (first?.isKey === true) hidden.push(names[at]!.replace(key, '*'))
  const more: string[] = []
  for (const [feature, trials] of Object.entries(MORE)) {
    const refused = await refusedOf(connection, trials)
    if (refused.length > 0) more.push(`${feature} (${refused.map(rightOf).join(' ')})`)
  }
  const found = foundOf(lacking, hidden)
  if (more.length > 0) found.push({ check: 'rights', state: 'note', text: `not for ${more.join(', ')}: add the rights where you use it` })
  return { findings: found, isFull }
}

interface Refused { command: string, why: string, isUnknown: boolean, isRight: boolean, isKey: boolean, isLate: boolean }

/**
 * Those that the server refuses, does not know, or does not answer, in order. What is no word or no right of the command's
 * own counts as done.
 */
async function refusedOf ({ client, limit }: CommandConnection, trials: readonly Trial[]): Promise<Refused[]> {
  const time = limit.share
  // Together, as they are answered in order.
  const errors = await Promise.all(trials.map(async ([command, ...args]): Promise<unknown> => {
    return await within(time, (client as unknown as Caller).call(command, ...args)).then(() => null, withoutSecrets)
  }))
  return errors.flatMap((error, at): Refused[] => {
    const { message = '' } = (error ?? {}) as Partial<Error>
    if (error === null || message.startsWith('NOSCRIPT')) return []
    const isKey = /^NOPERM.*\bkey/i.test(message)
    return [{
      command: trials[at]![0],
      why: causeOf(error) ?? message.slice(0, 100),
      isUnknown: /unknown command|syntax error|unsupported/i.test(message),
      isRight: message.startsWith('NOPERM') && !isKey,
      isKey,
      isLate: isLate(error)
    }]
  })
}

function rightOf ({ command }: Refused): string {
  return `+${command.toLowerCase()}`
}

function foundOf (lacking: readonly Refused[], hidden: readonly string[]): Finding[] {
  const check = 'rights'
  const findings: Finding[] = []
  const [rights, unknown] = [lacking.filter(({ isRight }) => isRight), lacking.filter(({ isUnknown }) => isUnknown)]
  const others = lacking.filter(({ isRight, isUnknown, isKey }) => !isRight && !isUnknown && !isKey)
  const wrong = (text: string): void => { findings.push({ check, state: 'wrong', text }) }
  if (rights.length > 0) {
    const list = [...new Set(rights.map(rightOf))].join(' ')
    wrong(`the user may not call what the cache needs, so it serves or stores nothing: ACL SETUSER <user> ${list}`)
  }
  if (hidden.length > 0) wrong(`the user may not use the cache's names (${hidden.join(', ')}): docs/operating.md#rights has the patterns`)
  if (unknown.length > 0) {
    wrong(`the server does not know ${[...new Set(unknown.map(({ command }) => command))].join(', ')} as the cache calls it: it is no Redis 7 or Valkey 8`)
  }
  if (others.length > 0) wrong(`${others[0]!.command} failed: ${others[0]!.why}`)
  if (findings.length === 0) findings.push({ check, state: 'ok', text: 'all that the cache needs' })
  return findings
}
