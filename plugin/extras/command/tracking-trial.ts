// Whether Redis tells of changes, as the tier in the process (the option `memory`) needs it: a tier is opened, and
// looked at.
import { setTimeout as pause } from 'node:timers/promises'
import type { Milliseconds } from '../../duration.js'
import { Keys } from '../../store/keys.js'
import { RedisStore } from '../../store/redis/redis.js'
import { wallClock, within } from '../../store/wait/deadline.js'
import type { CommandConnection } from './connection.js'
import type { Finding } from './finding.js'

const LONGEST: Milliseconds = 3_000
const POLL: Milliseconds = 50
const LIMITS = { maxBytes: 1_000_000, maxAge: 60_000 }

export async function trackingOf ({ client, prefix, limit }: CommandConnection): Promise<Finding> {
  const check = 'tracking'
  const writeDeadline = limit.share
  const store = new RedisStore({ client, keys: new Keys(prefix), writeDeadline, now: wallClock, memory: LIMITS })
  try {
    await within(limit.share, store.connect()).catch(() => {})
    const until = performance.now() + Math.min(LONGEST, limit.share)
    for (; performance.now() < until; await pause(POLL)) {
      const { isLive = false, delay = null } = store.tier ?? {}
      if (isLive && delay !== null) return { check, state: 'ok', text: 'Redis tells of changes, so the tier (memory) can be used' }
    }
    const text = 'Redis does not tell of changes: the tier (memory) would hold nothing. It needs +subscribe +client|id +client|setname ' +
      '+client|tracking and the channel &__redis__:invalidate; without memory, nothing is lost'
    return { check, state: 'note', text }
  } finally {
    store.close()
  }
}
