// A client that leaves before its handler has answered. The handler goes on, and its answer is welcome: others may wait for
// it. But a handler that notices may stop half-way, and then answers with a part of the whole (three rows of five), which
// must not be stored. Whether it stopped can't be known, so an answer counts as whole only where nobody could notice:
//
//   - Nobody listens to the end of the request, of the reply or of the socket. `request.signal` does, as do `handlerTimeout`
//     and onRequestAbort hooks. A listener from before our first hook, a tracer's for example, is not the handler's.
//   - Nobody asks one of the three whether it is destroyed, between its end and the answer. For so long their properties
//     tell us that they are read; the values are the same.
//
// Where somebody noticed and did not stop, the handler runs once more than it had to.
import type { IncomingMessage, ServerResponse } from 'node:http'

/** Of a request and its reply, as Node has them. */
export interface RawPair { request: IncomingMessage, reply: ServerResponse }

/** Properties that tell that the client has left. */
const SIGNS = ['aborted', 'destroyed', 'closed', 'readableAborted', 'errored'] as const

/** Of an aborted signal; of undici, axios and others that heard of one. */
const ABORTS: readonly unknown[] = ['AbortError', 'ABORT_ERR', 'UND_ERR_ABORTED', 'ERR_CANCELED', 'ERR_ABORTED', 'CanceledError']
const MOST_CAUSES = 5

function isAbort (error: unknown): boolean {
  let cause = error as { name?: unknown, code?: unknown, cause?: unknown } | null | undefined
  for (let depth = 0; depth < MOST_CAUSES && typeof cause === 'object' && cause !== null; depth++) {
    if (ABORTS.includes(cause.name) || ABORTS.includes(cause.code)) return true
    cause = cause.cause as typeof cause
  }
  return false
}

export class Departure {
  readonly #pair: RawPair
  /** Null over HTTP/2, where many streams share one. */
  readonly #socket: IncomingMessage['socket'] | null
  readonly #ours = new Set<unknown>()
  /** How many listeners are not the handler's. */
  readonly #others: { reply: number, socket: number }
  #restore: Array<() => void> = []
  #isOver = false
  /** The client left before the answer came, and somebody could notice that. */
  wasNoticed = false
  #isAbort = false

  /** `others`: how many listeners to the reply's end are not the handler's. */
  constructor (pair: RawPair, others: number) {
    const { request, reply } = this.#pair = pair
    this.#socket = request.httpVersionMajor === 2 ? null : request.socket
    this.#others = { reply: others, socket: this.#socket?.listenerCount('close') ?? 0 }
    const leave = (): void => { this.#leave() }
    const watchReads = (): void => { this.#watchReads() }
    this.#ours.add(leave).add(watchReads)
    // Ahead of others: a listener may answer at once.
    request.prependOnceListener('aborted', leave)
    request.prependOnceListener('close', leave)
    reply.prependOnceListener('close', leave)
    // By then Node has read them itself.
    reply.once('close', watchReads)
  }

  /** The handler noticed, and says so: it threw what an aborted signal has others throw. */
  get stopped (): boolean {
    return this.wasNoticed && this.#isAbort
  }

  /** This was thrown. */
  raised (error: unknown): void {
    this.#isAbort = isAbort(error)
  }

  /** The answer has come. */
  end (): void {
    this.#isOver = true
    for (const restore of this.#restore) restore()
    this.#restore = []
  }

  #leave (): void {
    if (this.#isOver) return
    const { request, reply } = this.#pair
    const heard = this.#listening(request, 'aborted') + this.#listening(request, 'close') + this.#listening(request, 'error') +
      Math.max(0, this.#listening(reply, 'close') - this.#others.reply) +
      Math.max(0, (this.#socket?.listenerCount('close') ?? 0) - this.#others.socket)
    this.wasNoticed ||= heard > 0
  }

  #listening (emitter: NodeJS.EventEmitter, event: string): number {
    return emitter.listeners(event).filter((listener) => !this.#ours.has(listener)).length
  }

  #watchReads (): void {
    if (this.#isOver || this.wasNoticed) return
    const { request, reply } = this.#pair
    for (const object of [request, reply, this.#socket]) {
      for (const name of SIGNS) if (object !== null && name in object) this.#restore.push(this.#watchRead(object, name))
    }
  }

  /** Has the property say that it is read; gives how to undo that. */
  #watchRead (object: object, name: string): () => void {
    const own = Object.getOwnPropertyDescriptor(object, name)
    if (own?.configurable === false) return () => {}
    let value: unknown = own?.value
    const isOwn = own !== undefined && 'value' in own
    Object.defineProperty(object, name, {
      configurable: true,
      enumerable: own?.enumerable ?? false,
      get: () => {
        this.wasNoticed = true
        return isOwn ? value : Reflect.get(Object.getPrototypeOf(object) as object, name, object)
      },
      set: (next) => {
        if (isOwn) value = next
        else Reflect.set(Object.getPrototypeOf(object) as object, name, next, object)
      }
    })
    return () => {
      if (isOwn) Object.defineProperty(object, name, { ...own, value })
      else Reflect.deleteProperty(object, name)
    }
  }
}
