// The breaker by itself, its probes in the test's hands.
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { RouteCacheError } from '../../../plugin/errors.js'
import { Breaker } from '../../../plugin/store/wait/breaker.js'
import { until } from '../../helpers/until.js'

interface Probe { answer: () => void, fail: (error: Error) => void }

interface Watched {
  breaker: Breaker
  probes: Probe[]
  said: string[]
  closings: number
  /** From now on probes are answered at once. */
  isUp: boolean
}

function watched (t: Test, { threshold = 3, deadline = 20 } = {}): Watched {
  const probes: Probe[] = []
  const said: string[] = []
  const all = { probes, said, isUp: false, closings: 0 }
  const breaker = new Breaker({
    threshold,
    deadline,
    probe: async () => await new Promise<void>((resolve, reject) => {
      probes.push({ answer: resolve, fail: reject })
      if (all.isUp) resolve()
    }),
    onClose: () => { all.closings++ },
    log: {
      warn: (details, message) => { said.push(`warn ${message}: ${(details as { err?: Error }).err?.message ?? ''}`) }
    }
  })
  t.teardown(() => { breaker.end() })
  return Object.assign(all, { breaker })
}

function fails (breaker: Breaker, times: number): void {
  for (let i = 0; i < times; i++) breaker.failed()
}

t.test('some failures have it ask the store; where that is answered, it stays closed and forgets them', async (t) => {
  const { breaker, probes, said } = watched(t)
  fails(breaker, 2)
  t.equal(probes.length, 0)
  fails(breaker, 10)
  t.equal(probes.length, 1, 'one probe')
  t.equal(breaker.isOpen, false)
  probes[0]!.answer()
  await turn()
  fails(breaker, 2)
  t.equal(probes.length, 1)
  fails(breaker, 1)
  t.equal(probes.length, 2)
  t.strictSame(said, [])
})

t.test('where the probe fails it opens, and closes by itself when one is answered in time', async (t) => {
  const { breaker, probes, said } = watched(t)
  fails(breaker, 3)
  probes[0]!.fail(new Error('gone'))
  await until(async () => breaker.isOpen, 'the breaker did not get there')
  await until(async () => probes.length === 2, 'the breaker did not get there')
  t.equal(breaker.isOpen, true, 'still')
  probes[1]!.fail(new Error('gone yet'))
  await until(async () => probes.length === 3, 'the breaker did not get there')
  probes[2]!.answer()
  await until(async () => !breaker.isOpen, 'the breaker did not get there')
  t.equal(said.length, 2, 'said once')
  t.match(said, [
    'warn the cache does without its store which has failed too often: requests go to their handlers, until it answers again: gone',
    /^warn the cache uses its store again, after \d+\.\d s: $/
  ])
})

t.test('a probe that hangs opens it; there is no other until it is answered, and that is not enough', async (t) => {
  const hanging = watched(t, { deadline: 5 })
  const { breaker, probes } = hanging
  fails(breaker, 3)
  await until(async () => breaker.isOpen, 'the breaker did not get there')
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.equal(probes.length, 1)
  hanging.isUp = true
  probes[0]!.answer()
  await until(async () => !breaker.isOpen, 'the breaker did not get there')
  t.equal(probes.length, 2, 'the first was late')
})

t.test('a probe that its own deadline ends is a failure', async (t) => {
  const all = watched(t)
  const { breaker, probes } = all
  fails(breaker, 3)
  probes[0]!.fail(new RouteCacheError('FRC_DEADLINE', 'late'))
  await until(async () => breaker.isOpen, 'the breaker did not get there')
  await until(async () => probes.length === 2, 'the breaker did not get there')
  probes[1]!.answer()
  await until(async () => !breaker.isOpen, 'the breaker did not get there')
  t.equal(all.closings, 1, 'it says so')
})

t.test('a process that computes is not a store that hangs', async (t) => {
  const { breaker, probes, said } = watched(t, { deadline: 10 })
  fails(breaker, 3)
  for (let i = 0; i < 20; i++) {
    const end = performance.now() + 30
    while (performance.now() < end);
    await turn()
  }
  t.equal(breaker.isOpen, false)
  probes[0]!.answer()
  await turn()
  t.strictSame(said, [])
})

t.test('successes make up for failures, ten for one', async (t) => {
  const { breaker, probes } = watched(t)
  for (let i = 0; i < 100; i++) {
    breaker.failed()
    for (let ok = 0; ok < 10; ok++) breaker.succeeded()
  }
  t.equal(probes.length, 0)
  for (let i = 0; i < 5; i++) {
    breaker.failed()
    for (let ok = 0; ok < 4; ok++) breaker.succeeded()
  }
  t.equal(probes.length, 1)
})

t.test('a threshold of 0: never', async (t) => {
  const { breaker, probes } = watched(t, { threshold: 0 })
  fails(breaker, 100)
  t.equal(probes.length, 0)
})

t.test('ended, it asks no more', async (t) => {
  const { breaker, probes } = watched(t)
  fails(breaker, 3)
  breaker.end()
  probes[0]!.fail(new Error('gone'))
  await turn()
  await turn()
  fails(breaker, 3)
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.equal(probes.length, 1)
})
