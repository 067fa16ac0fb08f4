// Waiting for what nobody announces: other processes' states, asked again and again.
import { setTimeout as delay } from 'node:timers/promises'

const POLL = 20

/** Resolves once it holds; after the deadline rejects and says what was not so. */
export async function until (
  holds: () => Promise<boolean>, otherwise: string | (() => Promise<string>), deadline = 60_000
): Promise<void> {
  const end = performance.now() + deadline
  while (!await holds()) {
    if (performance.now() > end) {
      throw new Error(`not within ${deadline} ms: ${typeof otherwise === 'string' ? otherwise : await otherwise()}`)
    }
    await delay(POLL)
  }
}
