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
  /** The store failed or could not be reached; `cause` has the store's own error. */
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
  /** Of a `close()` that rejects: what Redis was not told of. It can be given to `invalidate`. For all others: undefined. */
  readonly untold: Untold | undefined

  constructor (code: ErrorCode, message: string, { cause, worked = false, statusCode, untold }: ErrorDetails = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'RouteCacheError'
    this.code = code
    this.worked = worked
    this.untold = untold
    this.statusCode = statusCode ?? (PASSING.includes(code) ? 503 : undefined)
  }
}

/** An option's error, in one form: where, which option, what it is, what would be right. */
export function optionError (where: string, option: string, value: unknown, right: string): RouteCacheError {
  return new RouteCacheError('FRC_OPTION', `${where}: ${option} is ${show(value)}; ${right}`)
}

/** A value as a person would write it, shortened: it is put into messages. */
export function show (value: unknown): string {
  const text = typeof value === 'string'
    ? JSON.stringify(value)
    : typeof value === 'function'
      ? `a function${value.name === '' ? '' : ` (${value.name})`}`
      : typeof value === 'object' && value !== null ? showObject(value) : String(value)
  const shown = withoutPasswords(text)
  return shown.length > 80 ? shown.slice(0, 77) + '...' : shown
}

/** A text without the passwords that it may have: in URLs, and in options as JSON. */
export function withoutPasswords (text: string): string {
  const urls = text.replace(/[^\s"']+/g, (word) => {
    const [from, to] = [word.indexOf('//'), word.lastIndexOf('@')]
    return from >= 0 && to > from ? `${word.slice(0, from)}//***${word.slice(to)}` : word
  })
  return urls.replace(/("(?:sentinelP|p)assword":)"(?:[^"\\]|\\.)*"/g, '$1"***"')
}

function showObject (value: object): string {
  try {
    return JSON.stringify(value) ?? 'an object'
  } catch {
    return 'an object'
  }
}
