// One direction of a connection through the proxy: bytes in the order in which they came, at the pace of now.
import type { Socket } from 'node:net'

export type Pace =
  | { type: 'flow' | 'hold' }
  /** Each piece so many milliseconds after it came. */
  | { type: 'later', ms: number }
  | { type: 'drip', bytes: number, every: number }

/** More than this waits with who sends it. */
const MOST_HELD = 1024 * 1024

interface Piece {
  /** null: the end of the stream. */
  bytes: Buffer | null
  came: number
}

export class Pump {
  readonly #from: Socket
  readonly #to: Socket
  readonly #edit: (bytes: Buffer) => Buffer
  readonly #held: Piece[] = []
  #size = 0
  #pace: Pace = { type: 'hold' }
  #timer: NodeJS.Timeout | undefined
  #hasEnded = false

  constructor (from: Socket, to: Socket, edit: (bytes: Buffer) => Buffer = (bytes) => bytes) {
    this.#from = from
    this.#to = to
    this.#edit = edit
    from.on('data', (bytes) => { this.#take(bytes as Buffer) })
    from.on('end', () => { this.#take(null) })
    to.on('drain', () => { this.#go() })
    from.pause()
  }

  /** At this pace from now on, what is held as well. */
  run (pace: Pace): void {
    this.#pace = pace
    this.#go()
  }

  /** Nothing more passes. */
  end (): void {
    this.#hasEnded = true
    clearTimeout(this.#timer)
    this.#held.length = 0
  }

  #take (bytes: Buffer | null): void {
    if (this.#hasEnded) return
    const edited = bytes === null ? null : this.#edit(bytes)
    this.#held.push({ bytes: edited, came: performance.now() })
    this.#size += edited?.length ?? 0
    // A timer that is under way goes on with what it has.
    if (this.#timer === undefined) this.#go()
  }

  #go (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#hasEnded) return
    for (let wait = this.#wait(); wait !== null; wait = this.#wait()) {
      if (wait > 0) {
        this.#timer = setTimeout(() => { this.#go() }, wait)
        break
      }
      this.#pass()
      if (this.#pace.type !== 'drip') continue
      this.#timer = setTimeout(() => { this.#go() }, this.#pace.every)
      break
    }
    if (this.#pace.type === 'hold' || this.#size > MOST_HELD) this.#from.pause()
    else this.#from.resume()
  }

  /** Milliseconds until the next piece may pass; null: none, or somebody else says when. */
  #wait (): number | null {
    const [next] = this.#held
    if (next === undefined || this.#pace.type === 'hold' || this.#to.writableNeedDrain) return null
    return this.#pace.type === 'later' ? Math.max(0, Math.ceil(next.came + this.#pace.ms - performance.now())) : 0
  }

  #pass (): void {
    const { bytes, came } = this.#held.shift()!
    if (bytes === null) {
      this.#to.end()
      return
    }
    const most = this.#pace.type === 'drip' ? this.#pace.bytes : bytes.length
    const now = bytes.subarray(0, most)
    if (most < bytes.length) this.#held.unshift({ bytes: bytes.subarray(most), came })
    this.#size -= now.length
    if (this.#to.writable) this.#to.write(now)
  }
}
