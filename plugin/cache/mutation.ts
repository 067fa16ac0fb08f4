// A write to the database with its targets in quarantine meanwhile, so that nothing is left over from before it, wherever
// the process dies:
//
//   1. quarantine      entries go, nobody gets a lease, nothing is valid under the tags
//   2. work            writes and commits, or throws; the quarantine is renewed
//   3. invalidate      the same targets, and the quarantine ends with it
//
// Dead before 2: nothing was written. In 2, or between commit and 3: the quarantine runs out as an invalidation, behind the
// commit, as it lasts longer than the database keeps a dead client's transaction. A `work` that throws may have committed
// all the same, so 3 follows in any case.
import { randomUUID } from 'node:crypto'
import type { Log } from '../telling/events.js'
import type { Targets } from './claim.js'
import type { Milliseconds } from '../duration.js'
import { RouteCacheError } from '../errors.js'
import { isOfDownstream } from './downstream.js'

interface MutationParts {
  /** True: it had been there until now, under this token. */
  quarantine: (targets: Targets, token: string) => Promise<boolean>
  /** Ends the quarantine of this token. */
  invalidate: (targets: Targets, token: string) => Promise<unknown>
  /** The same, where nothing was written. */
  undo: (targets: Targets, token: string) => Promise<unknown>
  /** How long a quarantine lasts unless it is renewed. */
  time: Milliseconds
  log: Log
}

type Outcome<T> = { result: T } | { error: unknown }

export async function mutate<T> (
  { quarantine, invalidate, undo, time, log }: MutationParts, targets: Targets, work: () => T | Promise<T>
): Promise<T> {
  const token = randomUUID()
  try {
    await quarantine(targets, token)
  } catch (error) {
    // The quarantine may be there all the same.
    undo(targets, token).catch(() => {})
    throw error
  }
  const stop = renewed(async () => await quarantine(targets, token), { time, log })
  const outcome = await attempt(work)
  await stop()
  try {
    await invalidate(targets, token)
  } catch (error) {
    if ('result' in outcome) throw worked(error)
    if (!isOfDownstream(error)) log.error({ err: error }, 'cache could not be told that a quarantine ends: it runs out by itself')
  }
  if ('error' in outcome) throw outcome.error
  return outcome.result
}

/**
 * Renews until it is told to stop; that resolves when no renewal is under way any more, as it would come behind the end. One
 * at a time: a store that hangs would have them all later.
 */
function renewed (renew: () => Promise<boolean>, { time, log }: Pick<MutationParts, 'time' | 'log'>): () => Promise<void> {
  let renewal: Promise<void> | null = null
  const timer = setInterval(() => {
    renewal ??= renew().then((had) => {
      if (!had) log.warn({}, 'a quarantine was lost while its work ran, and is there again')
    }, (error: unknown) => {
      log.warn({ err: error }, 'a quarantine could not be renewed')
    }).finally(() => { renewal = null })
  }, time / 3)
  timer.unref()
  return async () => {
    clearInterval(timer)
    await renewal
  }
}

export async function attempt<T> (work: () => T | Promise<T>): Promise<Outcome<T>> {
  try {
    return { result: await work() }
  } catch (error) {
    return { error }
  }
}

/** For who must know that what was written stands. */
export function worked (error: unknown): RouteCacheError {
  const { code, message } = error as RouteCacheError
  const words = isOfDownstream(error) ? `and ${message}` : `but the cache could not be told: ${message}`
  return new RouteCacheError(code, `the work is done, ${words}`, { cause: error, worked: true })
}
