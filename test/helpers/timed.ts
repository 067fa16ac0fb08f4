// How long something took, and how much of that the machine is to blame for: a bound in a test has to follow a busy one.

/** A timer that is due so often is late by what this process had to wait for its turn. */
const TICK = 10

export interface Timed<T> {
  result: T
  time: number
  /** By how much such a timer was late meanwhile, all in all. */
  late: number
}

export async function timed<T> (work: () => Promise<T>): Promise<Timed<T>> {
  const began = performance.now()
  let last = began
  let late = 0
  const look = (): void => {
    const now = performance.now()
    late += Math.max(0, now - last - TICK)
    last = now
  }
  const timer = setInterval(look, TICK)
  try {
    const result = await work()
    look()
    return { result, time: last - began, late }
  } finally {
    clearInterval(timer)
  }
}
