// A controller's method with the lookup in front of it. Nest calls it when guards, interceptors and pipes have let a request
// pass, with the values of its params; the request comes as one more param behind them. On a miss the method runs. On a hit
// the plugin sends the entry, and interceptors still wait for a result: with timers, a transaction, an await and a finally.
// They get undefined, as of a method that gives nothing, so all that they hold comes to its end by the way of a success.
//
//   undefined   `tap`, `finalize`, `lastValueFrom` and `finally` end; what they make of it reaches nobody
//   an error    would be logged as one, and open breakers
//   no value    `tap` would release nothing, and `lastValueFrom` reject
//   no chain    interceptors that refuse would be passed by
//
// One of ours, around all others, keeps what comes out of them from Nest, which would send it.
import type { NestInterceptor } from '@nestjs/common'
import { Observable } from 'rxjs'
import { turnOf } from '../../request/exchange.js'

/** A method of any class. */
export type Method = (this: unknown, ...args: unknown[]) => unknown

/** Each method of ours, and the class's own. */
const originals = new WeakMap<Method, Method>()

export function originalOf (method: Method): Method {
  return originals.get(method) ?? method
}

interface Passed {
  /** The place of the request among the params. */
  at: number
  /** The header fields that Nest sets for this method, by `@Header`. */
  fields: readonly string[]
}

/** The method, which runs when the request has its turn and is no hit. Called by others than Nest it just runs. */
export function methodBehindLookup (original: Method, { at, fields }: Passed): Method {
  const method: Method = function (...args) {
    const turn = turnOf(args[at])
    const run = (): unknown => original.apply(this, args.slice(0, at))
    // An interceptor that subscribes once more, behind its own error, does not make a hit a run.
    if (turn?.stage === 'answered') return undefined
    if (turn?.stage !== 'waiting') return run()
    turn.fields = fields
    return turn.take(run)
  }
  for (const name of ['name', 'length'] as const) Object.defineProperty(method, name, { value: original[name], configurable: true })
  originals.set(method, original)
  return method
}

/** Goes around all other interceptors of a cached route: what they make of a hit's undefined, or throw of it, ends here. */
export const aroundOthers: NestInterceptor = {
  intercept (context, next) {
    const turn = context.getType() === 'http' ? turnOf(context.getArgByIndex(0)) : null
    const results = next.handle()
    if (turn === null || turn.isWrapped) return results
    turn.isWrapped = true
    const isOpen = (): boolean => turn.stage !== 'answered'
    return new Observable((subscriber) => results.subscribe({
      next: (value) => { if (isOpen()) subscriber.next(value) },
      error: (error: unknown) => { if (isOpen()) subscriber.error(error) },
      complete: () => { if (isOpen()) subscriber.complete() }
    }))
  }
}
