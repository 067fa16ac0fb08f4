// The time that a command has in all, and the words for the step at which it was over. A command that walks through all
// names has no bound in all: it is over when no server has answered for that time.
import { isIP } from 'node:net'
import type { Milliseconds } from '../../duration.js'
import type { RedisClient } from '../../store/server/redis-client.js'
import { primariesOf } from '../../store/server/topology.js'
import type { RedisPlace } from './place.js'

/** How often the time is looked at, while it runs. */
const LOOKS = 20

/** The time was over before the work. */
export class TimeIsOver extends Error {}

export class Limit {
  readonly time: Milliseconds
  readonly #began = performance.now()

  constructor (time: Milliseconds) {
    this.time = time
  }

  /** What is left; at least 1. */
  get left (): Milliseconds {
    return Math.max(1, this.#began + this.time - performance.now())
  }

  /** For one of several checks: half of what is left, so that those behind it have time, too. */
  get share (): Milliseconds {
    return Math.max(1, this.left / 2)
  }

  /**
   * The work's outcome, or TimeIsOver; what is late then goes on, and nobody hears of it. `heard`, for a walk: a number that
   * grows with each answer, from which on the time begins again.
   */
  async bound<T> (work: Promise<T>, heard = (): number => 0): Promise<T> {
    return await new Promise((resolve, reject) => {
      let [last, since] = [heard(), this.#began]
      const timer = setInterval(() => {
        const now = heard()
        if (now !== last) [last, since] = [now, performance.now()]
        else if (performance.now() - since >= this.time) reject(new TimeIsOver())
      }, Math.max(1, this.time / LOOKS))
      work.then(resolve, reject).finally(() => { clearInterval(timer) })
    })
  }
}

interface Connecting extends RedisClient {
  stream?: RedisClient['stream'] & { connecting?: boolean, bytesRead?: number }
  commandQueue?: { peekFront?: () => { command?: { name?: string } } | undefined }
}

/** How many bytes all servers have sent. */
export function heardFrom (client: RedisClient): number {
  return primariesOf(client).reduce((sum, server) => sum + ((server as Connecting).stream?.bytesRead ?? 0), 0)
}

/** What got no answer, in words: of the connection, or the command that waits for one. */
export function unansweredOf (client: RedisClient, { mode, addresses, options }: RedisPlace): string {
  const { status, stream } = client as Connecting
  const name = nextOf(client)
  if (status === 'ready') return `${name ?? 'a command'} got no answer`
  if (mode === 'sentinel') return 'no sentinel has named a server that answers; one that stands still does not say why'
  if (mode === 'cluster') return 'no server of the Cluster has told its slots (CLUSTER SLOTS)'
  if (status === 'connect') {
    return `connected, and ${name ?? 'its first command'} got no answer: a server that was stopped or is busy, or no Redis` +
      (options.tls === undefined ? ', or one that wants TLS (rediss://)' : '')
  }
  if (stream?.connecting === false && options.tls !== undefined) {
    return 'the TLS handshake got no answer: a server that was stopped, or one without TLS, which is redis:// in place of rediss://'
  }
  const isName = isIP(addresses[0]!.host) === 0
  return `${isName ? 'neither the look-up of the name nor ' : ''}the connection got ${isName ? 'an' : 'no'} answer: a host that is off, a ` +
    `firewall${isName ? ', or a name server that stands still' : ''}`
}

/** The command that the servers owe an answer to. */
function nextOf (client: RedisClient): string | undefined {
  const names = primariesOf(client).map((server) => (server as Connecting).commandQueue?.peekFront?.()?.command?.name)
  return names.find((name) => name !== undefined)?.toUpperCase()
}
