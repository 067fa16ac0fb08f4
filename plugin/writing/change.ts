// One request of a route that declares what it invalidates, on its way through its handler:
//
//   by default        handler -> answer -> if it is a success: invalidate -> client
//   onError: 'fail'   quarantine -> handler -> answer -> invalidate, whatever it is -> client
//
// By default the answer of a write that has happened stands, also where the store can't be told: that is logged, and the
// journal keeps it. With 'fail' nothing is written where the store can't be told before: the client gets 503. And where it
// can't be told afterwards, or this process dies, the quarantine runs out as an invalidation.
//
// The answer is held where it leaves the onSend chain. A reply that was hijacked never gets there: its end has to do.
import type { ResponseCache } from '../cache/cache.js'
import { harmlessLogOf, type Log } from '../telling/events.js'
import { CHANGE, TURN, type Carrier, type Change, type Concluded, type Turn } from '../request/exchange.js'
import type { Targets } from '../cache/claim.js'
import { isOfDownstream } from '../cache/downstream.js'
import type { Declaration } from './declaration.js'
import type { Milliseconds } from '../duration.js'
import { RouteCacheError } from '../errors.js'
import type { KeySource } from '../key/key.js'
import { isNothing, together } from '../key/target.js'
import { sayWrite, type WriteSignals } from './announcement.js'
import { watchSent } from './sent-payload.js'

/** A handler whose client has left may still be at work; not for longer than this. */
const LONGEST_WORK: Milliseconds = 10 * 60_000

/** The parts of a request and its reply that are used here. */
interface RequestView extends KeySource, Carrier {
  log: Log
  routeOptions: { url?: string }
}

interface ReplyView {
  statusCode: number
  sent: boolean
  raw: { closed: boolean, once: (event: 'close', listener: () => void) => unknown }
  send: (payload?: unknown) => unknown
  getHeader: (name: string) => unknown
  header: (name: string, value: string) => unknown
}

type Handler = (this: never, request: never, reply: never) => unknown

interface Run { request: RequestView, reply: ReplyView, run: () => unknown }

/** The route's handler, with its declared invalidation around it. */
export function changingHandler<H extends Handler> (cache: ResponseCache, declaration: Declaration, handler: H): H {
  const changing = function (this: unknown, request: RequestView, reply: ReplyView): unknown {
    const run = (): unknown => handler.call(this as never, request as never, reply as never)
    return (declaration.isStrict ? runInQuarantine : runFollowed)(cache, declaration, { request, reply, run })
  }
  return changing as unknown as H
}

/**
 * The same for a framework that has guards of its own in the handler: nothing is declared before a request has passed them.
 * What is thrown never counts as a success: the framework answers it as it likes.
 */
export function awaitingChange<H extends Handler> (cache: ResponseCache, declaration: Declaration, handler: H): H {
  const awaiting = function (this: unknown, request: RequestView, reply: ReplyView): unknown {
    const turn: Turn = request[TURN] = {
      stage: 'waiting',
      take: async (run) => {
        turn.stage = 'passed'
        // In a box, as a result of undefined is one, too.
        const boxed = async (): Promise<{ result: unknown }> => ({ result: await run() })
        const way = declaration.isStrict ? runInQuarantine : runFollowed
        try {
          return ((await way(cache, declaration, { request, reply, run: boxed })) as { result: unknown }).result
        } catch (error) {
          if (request[CHANGE] != null) request[CHANGE].failed = true
          throw error
        }
      },
      fields: [],
      isWrapped: false,
      onAnswered: () => {}
    }
    return handler.call(this as never, request as never, reply as never)
  }
  return awaiting as unknown as H
}

type SendHook = (request: object, reply: object, payload: unknown) => Promise<unknown>

/** The route's last onSend hook. */
export function concludingHook (cache: ResponseCache, { ahead, place }: Declaration, signals: WriteSignals): SendHook {
  return async (request, reply, payload) => {
    const { [CHANGE]: change } = request as Carrier
    const isAhead = change == null && ahead !== null && isSuccess(reply as ReplyView)
    const concluding = isAhead
      ? invalidate(cache, request as RequestView, { asked: ahead(request, reply), place })
      : change?.conclude()
    sayWrite(reply as ReplyView, await concluding ?? null, signals)
    return payload
  }
}

function isSuccess ({ statusCode }: Pick<ReplyView, 'statusCode'>): boolean {
  return statusCode >= 200 && statusCode < 400
}

/** The write has happened, so its answer stands. */
async function invalidate (
  cache: ResponseCache, request: RequestView, { asked, place }: { asked: Promise<readonly Targets[]>, place: string | null }
): Promise<Concluded | null> {
  let targets: Targets | null = null
  try {
    const all = together(await asked)
    if (isNothing(all)) return null
    targets = all
    await cache.invalidation.run(all)
    return { targets, isLate: false }
  } catch (error) {
    if (targets !== null && isOfDownstream(error)) return { targets, isLate: false }
    complain(cache, request, { error, isKept: targets !== null, place })
    return targets === null ? null : { targets, isLate: true }
  }
}

function runFollowed (cache: ResponseCache, declaration: Declaration, { request, reply, run }: Run): unknown {
  // Now, as handlers may change what their templates are filled with.
  const early = declaration.isEarly ? declaration.targets(request, reply) : null
  early?.catch(() => {}) // told of where it matters
  const sent = declaration.looksAtPayload ? watchSent(reply) : null
  let isTold = false
  const change: Change = request[CHANGE] = {
    failed: false,
    conclude: async () => {
      if (isTold || change.failed || !isSuccess(reply)) return null
      isTold = true
      const asked = early ?? declaration.targets(request, reply, sent?.())
      return await invalidate(cache, request, { asked, place: declaration.place })
    }
  }
  let isClosed = reply.raw.closed
  const concludePast = (): void => { if (isClosed && reply.sent) change.conclude().catch(() => {}) }
  // If the client has left, the answer is still to come.
  reply.raw.once('close', () => {
    isClosed = true
    concludePast()
  })
  const result = promised(run())
  // Hijacked, or written past Fastify, after that: nothing else tells of its end.
  result?.then(concludePast, () => {})
  return result
}

/** One promise: a query that a handler returns may run each time that it is awaited. */
function promised (result: unknown): Promise<unknown> | undefined {
  return result === undefined ? undefined : Promise.resolve(result)
}

/** `isKept`: it is told later. */
interface Untold { error: unknown, isKept: boolean, place: string | null }

function complain (
  cache: ResponseCache, { log, routeOptions: { url } }: RequestView, { error, isKept, place }: Untold
): void {
  const words = isKept ? `: ${cache.describe(error)}. The response stands, and the cache is told later` : ', so nothing is invalidated'
  harmlessLogOf(cache, log).error({ err: error, route: url }, `cache could not be told of the change${place === null ? '' : ` by ${place}`}${words}`)
}

/** Resolves as the handler does; never, where something else answered meanwhile. */
async function runInQuarantine (
  cache: ResponseCache, declaration: Declaration, { request, reply, run }: Run
): Promise<unknown> {
  const change: Change = request[CHANGE] = { failed: false, conclude: async () => null }
  const targets = together(await declaration.targets(request, reply))
  return await new Promise((resolve, reject) => {
    let hasBegun = false
    let isLate = false
    const ended = cache.invalidation.mutate(targets, async () => {
      hasBegun = true
      // A time-out, for example.
      if (reply.sent || change.failed) return
      const work = new Work(reply)
      change.conclude = async () => {
        if (change.failed && work.isRunning) return null
        work.end()
        await ended
        return isNothing(targets) ? null : { targets, isLate }
      }
      try {
        const result = work.begin(run)
        if (result !== undefined) resolve(result)
      } catch (error) {
        reject(error)
      }
      await work.ended
    }).catch((error: unknown) => {
      if (isOfDownstream(error)) return
      isLate = true
      if (hasBegun) complain(cache, request, { error, isKept: true, place: declaration.place })
      else reject(refused(error))
    })
  })
}

/** The error of a request that was not begun. */
function refused (error: unknown): unknown {
  if (!(error instanceof RouteCacheError)) return error
  return new RouteCacheError(error.code, 'the cache can not be told what this request would change, so nothing was changed: ' +
    'try again', { cause: error, statusCode: 503 })
}

/** A handler at work in a quarantine, until its answer leaves, or none can come any more. */
class Work {
  readonly ended: Promise<void>
  readonly #reply: ReplyView
  #end!: () => void
  #limit: NodeJS.Timeout | undefined
  #isClosed = false
  /** The handler gave a promise that is not settled: who answered with an error was not the handler. */
  isRunning = false

  constructor (reply: ReplyView) {
    this.#reply = reply
    this.ended = new Promise((resolve) => { this.#end = resolve })
  }

  begin (run: () => unknown): Promise<unknown> | undefined {
    if (this.#reply.raw.closed) this.#close()
    else this.#reply.raw.once('close', () => { this.#close() })
    const result = promised(run())
    if (result !== undefined) {
      this.isRunning = true
      const settle = (value?: unknown): void => {
        this.isRunning = false
        // Otherwise its answer is still to come, or hijacked, and not over.
        if (this.#isClosed && (this.#reply.sent || value === undefined)) this.end()
      }
      result.then(settle, () => { settle() })
    }
    return result
  }

  end (): void {
    clearTimeout(this.#limit)
    this.#end()
  }

  /** The client has left, or has all. */
  #close (): void {
    this.#isClosed = true
    if (this.#reply.sent && !this.isRunning) return this.end()
    this.#limit = setTimeout(() => { this.end() }, LONGEST_WORK)
    this.#limit.unref()
  }
}
