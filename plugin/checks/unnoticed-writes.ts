// Whether writes invalidate what they change, as far as that can be seen. A route with an unsafe method on the path of a
// cached one, which names no `invalidates`, may invalidate by hand: in its handler, behind an await, in a service that it
// calls, behind its response, or in a listener to the database. So its successes are counted that came without any
// invalidation by this process, and the log says so when there were enough of them. A false alarm is worse than a mistake
// that is not found, so an invalidation counts as the route's own wherever it may be that:
//
//   while the route's request is under way        the route's own: it is not watched any more
//   while no unsafe request is under way          if the cached route may have the name: it is told by other means, so
//                                                 those that write on its path are not watched any more
//   within a moment behind the route's requests,  perhaps the route's own, in work that nobody waits for: these
//   while other writes are under way              requests don't count
//
// An AsyncLocalStorage would tell whose it is, and slow down each await of the process on Node 20; and its context is lost
// in queues and pools.
import type { Targets } from '../cache/claim.js'
import type { Milliseconds } from '../duration.js'
import { mayTouch, warningOf, type WritePair } from './unsafe-routes.js'
import { SAFE_METHODS } from '../http/request.js'
import type { Warning } from './warnings.js'

/** Fewer successes may be without invalidation by chance: what they wrote was the same as before. */
const FIRST = 10
/** For so long behind a response, work that nobody waits for may be the request's. */
const MOMENT: Milliseconds = 200
/** An invalidation looks at all of them. */
const MOST_WATCHED = 200

interface RequestView {
  method: string
  headers: Record<string, unknown>
  routeOptions: { url?: string | undefined }
}

interface ReplyView {
  raw: { statusCode: number, writableEnded: boolean, once: (event: 'close', listener: () => void) => unknown }
}

/** A pair, and its requests. */
interface Watched {
  pair: WritePair
  underWay: number
  /** The ends of successes without an invalidation. */
  ends: Milliseconds[]
}

export class UnnoticedWrites {
  readonly #say: (warning: Warning) => void
  #watched: Watched[] = []
  /** By method and path. */
  readonly #byRoute = new Map<string, Watched[]>()
  /** Unsafe requests, of whatever route. */
  #underWay = 0
  /** Something is watched. */
  isOn = false

  constructor (say: (warning: Warning) => void) {
    this.#say = say
  }

  watch (pairs: readonly WritePair[]): void {
    this.#watched = pairs.slice(0, MOST_WATCHED).map((pair) => ({ pair, underWay: 0, ends: [] }))
    for (const watched of this.#watched) {
      const { methods, url } = watched.pair.writer
      for (const method of methods) {
        const name = `${method} ${url}`
        this.#byRoute.set(name, [...this.#byRoute.get(name) ?? [], watched])
      }
    }
    this.isOn = this.#watched.length > 0
  }

  /** A request has arrived. */
  begin (request: RequestView, reply: ReplyView): void {
    if (SAFE_METHODS.includes(request.method)) return
    const its = this.#byRoute.get(`${request.method} ${request.routeOptions.url}`) ?? []
    this.#underWay++
    for (const watched of its) watched.underWay++
    reply.raw.once('close', () => {
      this.#underWay--
      for (const watched of its) this.#end(watched, request, reply)
    })
  }

  #end (watched: Watched, request: RequestView, reply: ReplyView): void {
    watched.underWay--
    if (!this.#watched.includes(watched) || !hasWritten(watched.pair, request, reply)) return
    watched.ends.push(performance.now())
    if (watched.ends.length < FIRST) return
    this.#drop(watched)
    this.#say(warningOf(watched.pair, FIRST))
  }

  /** This process invalidates these, whoever asked for it. */
  invalidated (targets: Targets): void {
    for (const watched of this.#watched) {
      const { pair: { check, cached }, underWay } = watched
      const isNear = underWay > 0 && check === 'never-invalidated'
      if (!isNear && !cached.some((route) => mayTouch(route, targets))) continue
      if (underWay > 0 || this.#underWay === 0) this.#drop(watched)
      else this.#forgetLast(watched)
    }
  }

  #forgetLast (watched: Watched): void {
    const now = performance.now()
    watched.ends = watched.ends.filter((end) => now - end > MOMENT)
  }

  #drop (watched: Watched): void {
    this.#watched = this.#watched.filter((one) => one !== watched)
    this.isOn = this.#watched.length > 0
  }
}

/** Whether it has most likely changed something, by what can be seen. */
function hasWritten ({ check }: WritePair, { method, headers }: RequestView, { raw }: ReplyView): boolean {
  const { statusCode: status, writableEnded } = raw
  // 202: another process may do it, and invalidate then.
  if (!writableEnded || status < 200 || status >= 400 || status === 202 || status === 304) return false
  if (check === 'lasting-404' && method === 'PUT' && status !== 201) return false
  // A form's page most often stays as it was.
  return method !== 'POST' || !/^(?:application\/x-www-form-urlencoded|multipart\/|text\/)/i.test(String(headers['content-type'] ?? ''))
}
