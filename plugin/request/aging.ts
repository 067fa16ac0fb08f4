// How old an answer is when it is stored. One that its own header fields keep fresh may come from elsewhere, and be older
// than its arrival; and a stream arrives when it begins, and is stored when it ends: RFC 9111 §4.2.3.
import type { Milliseconds } from '../duration.js'
import type { HeaderField } from '../entry/entry.js'
import type { Captured } from './exchange.js'

interface Aged { life: Milliseconds, headers: HeaderField[] }

/** What is left of its time, and its fields with its age at this instant. */
export function aged ({ age, at, life, headers }: Captured, now: Milliseconds): Aged {
  if (age === null) return { life, headers: [...headers] }
  const held = Math.max(0, now - at)
  const seconds = age + Math.floor(held / 1000)
  const others = headers.filter(([name]) => name !== 'age')
  return { life: life - held, headers: seconds === 0 ? others : [...others, ['age', String(seconds)]] }
}
