// A controller's method with the lookup in front of it. Nest calls it when guards, interceptors and pipes have let a request
// pass, with the values of its params; the request comes as one more param behind them. On a miss the method runs. On a hit
// the plugin sends the entry, and nothing comes back to Nest: its interceptors wait for a result, with their timers and what
// they release at the end. So one of ours, around all others, unsubscribes them then.
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
    if (turn === null) return run()
    turn.fields = fields
    return turn.take(run)
  }
  for (const name of ['name', 'length'] as const) Object.defineProperty(method, name, { value: original[name], configurable: true })
  originals.set(method, original)
  return method
}

/** Goes around all other interceptors of a cached route. */
export const aroundOthers: NestInterceptor = {
  intercept (context, next) {
    const turn = context.getType() === 'http' ? turnOf(context.getArgByIndex(0)) : null
    const results = next.handle()
    if (turn === null) return results
    return new Observable((subscriber) => {
      const subscription = results.subscribe({
        next: (value) => { subscriber.next(value) },
        error: (error: unknown) => { subscriber.error(error) },
        complete: () => { subscriber.complete() }
      })
      turn.onAnswered = () => { subscription.unsubscribe() }
      return subscription
    })
  }
}
