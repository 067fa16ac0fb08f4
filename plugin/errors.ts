// Every error that this plugin throws, with its code. A configuration error is thrown where the mistake was made; of the
// cache's own work only `invalidate` and the other calls that somebody waits for reject.

/** The kind of failure, as a stable string to test for. */
export type ErrorCode =
  /** An option of the plugin or of a route is unknown or has a wrong value. */
  | 'FRC_OPTION'
  /** The decorator's name is already used on this Fastify instance. */
  | 'FRC_DECORATOR_TAKEN'
  /** Two routes would write the same keys. */
  | 'FRC_KEY_TAKEN'
  /** A key, or the values for a key template, can't be used. */
  | 'FRC_KEY'
  /** The given tags are not a list of non-empty strings. */
  | 'FRC_TAG'
  /** A URL leads to no cached GET route, or to one that makes another key. */
  | 'FRC_ROUTE'
  /** The given target is neither key, keys nor prefix. */
  | 'FRC_TARGET'
  /** The store failed or could not be reached; `cause` has the store's own error, without the arguments of a command. */
  | 'FRC_STORE'
  /** The store did not answer in time. */
  | 'FRC_DEADLINE'
  /** Redis has it, but fewer replicas than `waitForReplicas` confirmed it in time. */
  | 'FRC_REPLICAS'
  /** Redis has it, but the function `onInvalidate` failed, or took too long; `cause` has its own error. */
  | 'FRC_ON_INVALIDATE'
  /** From fastify-route-cache/postgres: the database can't be used, or lacks the triggers that report its changes. */
  | 'FRC_POSTGRES'

/** A request whose handler lets one of these through may be made again. */
const PASSING: readonly ErrorCode[] = ['FRC_STORE', 'FRC_DEADLINE', 'FRC_REPLICAS', 'FRC_ON_INVALIDATE']

/** What the store could not be told to end: as `invalidate` takes it. */
export type Untold = { keys: readonly string[], tags: readonly string[], prefix: readonly string[] } | { all: true }

interface ErrorDetails { cause?: unknown, worked?: boolean, statusCode?: number, untold?: Untold }

/** An error of this plugin. */
export class RouteCacheError extends Error {
  readonly code: ErrorCode
  /** For `mutate`, `set` and `put`: whether `work` was done by then, so that its writes stand. For all others: false. */
  readonly worked: boolean
  /**
   * The status for Fastify's answer if nobody catches the error: 503 for FRC_STORE, FRC_DEADLINE, FRC_REPLICAS and
   * FRC_ON_INVALIDATE, and if a route with `onError: 'fail'` was not begun. For all others: undefined, which is 500.
   */
  readonly statusCode: number | undefined
  /** The same, by the name that frameworks know of the package http-errors: Nest reads it with `expose`. */
  declare readonly status: number | undefined
  /** False: the message names servers and causes, which a framework may keep from clients. */
  declare readonly expose: boolean
  /** Of a `close()` that rejects: what Redis was not told of. It can be given to `invalidate`. For all others: undefined. */
  readonly untold: Untold | undefined

  constructor (code: ErrorCode, message: string, { cause, worked = false, statusCode, untold }: ErrorDetails = {}) {
    super(message, cause === undefined ? undefined : { cause: withoutSecrets(cause) })
    this.name = 'RouteCacheError'
    this.code = code
    this.worked = worked
    this.untold = untold
    this.statusCode = statusCode ?? (PASSING.includes(code) ? 503 : undefined)
    // Not in logs, which have the status by its name; an error handler may write them, as those of http-errors.
    const hidden = { enumerable: false, writable: true, configurable: true }
    Object.defineProperties(this, { status: { ...hidden, value: this.statusCode }, expose: { ...hidden, value: false } })
  }
}

/** An option's error, in one form: where, which option, what it is, what would be right. */
export function optionError (where: string, option: string, value: unknown, right: string): RouteCacheError {
  return new RouteCacheError('FRC_OPTION', `${where}: ${option} is ${show(value)}; ${right}`)
}

/** A value as a person would write it, shortened: it is put into messages. Without passwords that it may have. */
export function show (value: unknown): string {
  const text = typeof value === 'string'
    ? JSON.stringify(withoutPassword(value))
    : typeof value === 'function'
      ? `a function${value.name === '' ? '' : ` (${value.name})`}`
      : typeof value === 'object' && value !== null ? showObject(value) : String(value)
  return text.length > 80 ? text.slice(0, 77) + '...' : text
}

function showObject (value: object): string {
  try {
    return JSON.stringify(value, shownMember) ?? 'an object'
  } catch {
    return 'an object'
  }
}

/** Members that may be passwords, also of a name that was misspelt. */
const SECRET = /pass|pasw|pwd|secret|auth/i

function shownMember (name: string, member: unknown): unknown {
  if (typeof member !== 'string') return member
  return SECRET.test(name) || member.startsWith('-----BEGIN') ? '***' : withoutPassword(member)
}

/** A text without the passwords of URLs that it may have. */
export function withoutPasswords (text: string): string {
  return text.replace(/[^\s"']+/g, withoutPassword)
}

/** All of the text is a URL, if it has one. */
function withoutPassword (text: string): string {
  const [from, to] = [text.indexOf('//'), text.lastIndexOf('@')]
  return from >= 0 && to > from ? `${text.slice(0, from)}//***${text.slice(to)}` : text
}

// An error of a client, on its way to a log or to somebody who waits for a call, without the passwords and users' data that
// it may carry: ioredis keeps the command that was refused, with its arguments, which for AUTH and HELLO are the password,
// for SET an entry; Node keeps a URL that it can't read, and the host or path that it does not find, which may be a URL that
// was written into the wrong option; and a server repeats the arguments of a command that it does not know.

/**
 * The error itself where it carries none of that, nor an error behind it (`cause`, `errors`, `lastNodeError`, …); else a
 * copy that lacks it. The error is not changed: the client, and its other listeners, have it too.
 */
export function withoutSecrets (error: unknown): unknown {
  try {
    return tells(error, new Set()) ? copyOf(error as Error, new Map()) : error
  } catch {
    return new Error('an error that could not be read')
  }
}

/** Of system errors: what was looked for, as the client was told. */
const PLACES = ['hostname', 'host', 'address', 'path']
/** A server's answer to a command that it does not know, as Redis or a proxy may give it to HELLO. */
const REPEATED = /,? with args beginning with:.*/g

function tells (error: unknown, seen: Set<unknown>): boolean {
  if (Array.isArray(error)) return error.some((one) => tells(one, seen))
  if (!(error instanceof Error) || seen.has(error)) return false
  seen.add(error)
  const members = membersOf(error)
  return hasArguments(members.get('command')) || hasUnreadUrl(members) || placesOf(members).length > 0 ||
    error.message.search(REPEATED) >= 0 || [...members.values()].some((member) => tells(member, seen))
}

/** Its own, without running what computes one. */
function membersOf (error: Error): ReadonlyMap<PropertyKey, unknown> {
  const names = Reflect.ownKeys(error)
  return new Map(names.map((name) => [name, Object.getOwnPropertyDescriptor(error, name)?.value as unknown]))
}

function hasArguments (command: unknown): command is { name?: unknown } {
  return typeof command === 'object' && command !== null && 'args' in command
}

function hasUnreadUrl (members: ReadonlyMap<PropertyKey, unknown>): boolean {
  return members.get('code') === 'ERR_INVALID_URL' && members.has('input')
}

/** The texts that may hold a password in front of an "@", the longest first. */
function placesOf (members: ReadonlyMap<PropertyKey, unknown>): string[] {
  const texts = PLACES.map((name) => members.get(name))
    .filter((text): text is string => typeof text === 'string' && text.includes('@'))
  return texts.sort((a, b) => b.length - a.length)
}

function copyOf (error: Error, copies: Map<Error, Error>): Error {
  const known = copies.get(error)
  if (known !== undefined) return known
  const members = membersOf(error)
  const places = placesOf(members)
  const spoken = (text: string): string => places
    .reduce((text, place) => text.replaceAll(place, place.replace(/^.*@/s, '***@')), text).replace(REPEATED, '')
  // Made as an error, so that it is shown as one.
  const copy = new Error(spoken(error.message))
  copies.set(error, copy)
  Object.setPrototypeOf(copy, Object.getPrototypeOf(error) as object)
  const stack = { value: spoken(String(error.stack)), writable: true, configurable: true, enumerable: false }
  Object.defineProperty(copy, 'stack', stack)
  for (const [name, member] of members) {
    if (name === 'stack' || name === 'message' || (hasUnreadUrl(members) && (name === 'input' || name === 'base'))) continue
    const enumerable = Object.prototype.propertyIsEnumerable.call(error, name)
    const value = name === 'command' && hasArguments(member) ? { name: member.name } : copied(member, { spoken, copies })
    Object.defineProperty(copy, name, { value, writable: true, configurable: true, enumerable })
  }
  return copy
}

interface Copying { spoken: (text: string) => string, copies: Map<Error, Error> }

function copied (member: unknown, { spoken, copies }: Copying): unknown {
  if (typeof member === 'string') return spoken(member)
  if (Array.isArray(member)) return member.map((one: unknown) => copied(one, { spoken, copies }))
  return member instanceof Error ? copyOf(member, copies) : member
}
