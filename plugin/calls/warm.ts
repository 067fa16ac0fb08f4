// Requests of the app's own that fill the cache before anybody asks, so many at a time. Each goes the way of a client's,
// with the lookup, the lease and the fill that a client's would have; but where nothing can come of it that is stored
// (there is a fresh entry, the request goes past the cache, somebody else is filling it) the handler does not run, and
// nobody hears what it is answered.
import { setMaxListeners } from 'node:events'
import { optionError } from '../errors.js'
import { isCount, OptionReader } from '../options/reader.js'
import { openTicket, type Order, type OwnRequests, type Ticket } from '../request/own-request.js'
import type { BypassReason, CacheOutcome, End, RefusalReason, StaleReason, UncachedReason } from '../telling/outcome.js'
import { BYPASS_WORDS, REFUSAL_WORDS, STALE_WORDS, UNCACHED_WORDS } from '../telling/reasons.js'
import { readRequest, type RequestOption, type Wish } from './request-option.js'

/** How `cache.warm` goes about it. */
export interface WarmOptions {
  /** How many requests are under way at a time, at most. Default 4. */
  concurrency?: number | undefined
  /** Called after each request, and waited for. What it throws or rejects with ends the warm-up. Default: nobody is told. */
  onProgress?: ((progress: WarmProgress) => unknown) | undefined
  /** Ends the warm-up early: what has not been stored by then is left, and the call rejects with the signal's reason. */
  signal?: AbortSignal | undefined
}

/** After one request of `cache.warm`. */
export interface WarmProgress {
  /** How many requests are done, this one included. */
  done: number
  /** How many there are in all. */
  total: number
  /** As it was given. */
  url: string
  outcome: 'stored' | 'hit' | 'bypass' | 'failed'
  /** The reason for a bypass, or the message of a failure; else null. */
  reason: BypassReason | WarmFailure['reason'] | null
}

/** A URL that `cache.warm` could not fill. */
export interface WarmFailure {
  url: string
  /** Why its response was not stored (`RefusalReason`), or why there was none. */
  reason: RefusalReason | UncachedReason | StaleReason | NoAnswer
  /** The status of the answer; null: there was none. */
  status: number | null
  /** The reason in words. */
  text: string
}

/** The result of a warm-up. */
export interface WarmSummary {
  /** Responses that were stored. */
  stored: number
  /** Requests that had a fresh entry already. */
  hits: number
  /** Requests that go past the cache: they select nothing, or the store is away. `onProgress` tells why. */
  bypassed: number
  failed: WarmFailure[]
}

/** Why a request of a warm-up has no answer of its handler's. */
type NoAnswer = 'answered' | 'abandoned' | 'closed' | 'time'

const WORDS: Readonly<Record<WarmFailure['reason'], string>> = {
  ...REFUSAL_WORDS,
  ...UNCACHED_WORDS,
  ...STALE_WORDS,
  answered: BYPASS_WORDS.answered,
  abandoned: 'there was no answer through Fastify',
  closed: 'the app closed before',
  time: 'it was not answered within a minute'
}

const OPTIONS = ['concurrency', 'onProgress', 'signal']
const WHERE = 'cache.warm'
const CONCURRENCY = 4

type Warmed =
  | { outcome: 'stored' | 'hit', reason: null }
  | { outcome: 'bypass', reason: BypassReason }
  | { outcome: 'failed', reason: WarmFailure['reason'], status: number | null, text: string }

/** Has the responses to these requests stored. Rejects with FRC_OPTION, and where it is ended early. */
export async function warm (
  requests: OwnRequests, targets: ReadonlyArray<string | RequestOption>, options: WarmOptions
): Promise<WarmSummary> {
  const wishes = readTargets(targets)
  const { concurrency, onProgress, signal } = readOptions(options)
  const summary: WarmSummary = { stored: 0, hits: 0, bypassed: 0, failed: [] }
  const total = wishes.length
  const failed = new AbortController()
  const ended = signal === undefined ? failed.signal : AbortSignal.any([failed.signal, signal])
  // One for each request at work: no leak.
  setMaxListeners(0, ended)
  let done = 0
  const left = wishes.values()
  const work = async (): Promise<void> => {
    for (const wish of left) {
      ended.throwIfAborted()
      const warmed = await fill(requests, wish, ended)
      ended.throwIfAborted()
      done++
      add(summary, wish.url, warmed)
      await onProgress?.({ done, total, url: wish.url, outcome: warmed.outcome, reason: warmed.reason })
    }
  }
  try {
    await Promise.all(Array.from({ length: Math.min(concurrency, total) }, work))
  } catch (error) {
    failed.abort(error)
    throw error
  }
  return summary
}

async function fill (requests: OwnRequests, wish: Wish, signal: AbortSignal): Promise<Warmed> {
  return (await warmOne(requests, wish, signal)).warmed
}

/** Has one response stored. With what its lookup came to, which has the route's key for it; null: there was none. */
export async function warmOne (
  requests: OwnRequests, { url, headers }: Wish, signal?: AbortSignal
): Promise<{ lookup: CacheOutcome | null, warmed: Warmed }> {
  const ticket = openTicket('warm', null)
  const warmed = await warmWith(requests, ticket, { url, headers, signal })
  return { lookup: ticket.outcome?.() ?? null, warmed }
}

async function warmWith (requests: OwnRequests, ticket: Ticket, order: Order): Promise<Warmed> {
  ticket.hasAgent = 'user-agent' in order.headers
  const ended = new Promise<End>((resolve) => { ticket.onEnd = resolve })
  const result = await requests.make(ticket, order)
  if ('error' in result) {
    if (requests.isClosing(result)) return failure('closed')
    return result.isGivenUp ? failure('time') : failure('abandoned', null, (result.error as Error).message)
  }
  return await judge(ticket, result.status, ended)
}

async function judge (ticket: Ticket, status: number, ended: Promise<End>): Promise<Warmed> {
  if (!ticket.isSeen) return failure('unseen', status)
  if (!ticket.isRouted) return failure(ticket.path === null ? 'not-found' : 'uncached')
  const lookup = ticket.outcome?.()
  if (lookup === undefined || (lookup.type === 'bypass' && lookup.reason === 'answered')) return failure('answered', status, String(status))
  if (lookup.type === 'hit') return { outcome: 'hit', reason: null }
  if (lookup.type === 'bypass') return { outcome: 'bypass', reason: lookup.reason }
  // A stale entry stood in, at once or for a handler that failed: nothing new was stored.
  if (lookup.type === 'stale') return failure('stale-if-error', status)
  const end = await ended
  if (end === 'stored') return { outcome: 'stored', reason: null }
  return failure(end as WarmFailure['reason'], status, end === 'status' ? String(status) : '')
}

function failure (reason: WarmFailure['reason'], status: number | null = null, more = ''): Warmed {
  return { outcome: 'failed', reason, status, text: more === '' ? WORDS[reason] : `${WORDS[reason]}: ${more}` }
}

function add (summary: WarmSummary, url: string, warmed: Warmed): void {
  if (warmed.outcome === 'failed') summary.failed.push({ url, reason: warmed.reason, status: warmed.status, text: warmed.text })
  else if (warmed.outcome === 'stored') summary.stored++
  else if (warmed.outcome === 'hit') summary.hits++
  else summary.bypassed++
}

function readTargets (targets: unknown): Wish[] {
  if (!Array.isArray(targets)) throw optionError(WHERE, 'requests', targets, 'it is a list of paths, or of { url, headers }')
  return targets.map((value: unknown, i) => readRequest(WHERE, `requests[${i}]`, { value, others: [] }))
}

function readOptions (given: unknown): WarmOptions & { concurrency: number } {
  const options = OptionReader.of(WHERE, given, { forms: 'write { concurrency: 4 }', names: OPTIONS })
  const concurrency = options.read('concurrency', CONCURRENCY, (value) => isCount(value) && value > 0, 'it is a number of requests, 1 or more')
  const onProgress = options.function<WarmOptions['onProgress']>('onProgress')
  const signal = options.read<AbortSignal | null>('signal', null, (value) => value instanceof AbortSignal, 'it is an AbortSignal')
  return { concurrency, ...onProgress != null && { onProgress }, ...signal !== null && { signal } }
}
