// The journal by itself: when it tells, what it tells, and that it leaves nothing behind. Timers are the test's own.
import t, { type Test } from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { Background, Flights } from '../../plugin/cache/flight.js'
import { NO_TARGETS, type Targets } from '../../plugin/cache/claim.js'
import type { Log } from '../../plugin/telling/events.js'
import { Invalidation } from '../../plugin/cache/invalidation.js'
import { Journal } from '../../plugin/cache/journal.js'
import { Stats } from '../../plugin/telling/stats.js'
import type { Store } from '../../plugin/store/store.js'
import { gate } from '../helpers/app.js'

interface Timer { time: number, fire: () => void, isRef: boolean }

/** The timers that are waiting: they go off when the test says so. */
function timersOf (t: Test): Timer[] {
  const timers: Timer[] = []
  const real = { setTimeout, clearTimeout }
  const without = (timer: unknown): void => {
    const at = timers.indexOf(timer as Timer)
    if (at >= 0) timers.splice(at, 1)
  }
  const start = (work: () => void, time: number): object => {
    const timer = { time, isRef: true, fire: () => { without(timer); work() }, unref: () => { timer.isRef = false } }
    timers.push(timer)
    return timer
  }
  Object.assign(globalThis, { setTimeout: start, clearTimeout: without })
  t.teardown(() => { Object.assign(globalThis, real) })
  return timers
}

const keys = (...keys: string[]): Targets => ({ ...NO_TARGETS, keys })
const AWAY = new Error('away')

/** A journal whose store answers as `answer` does, which may be changed. */
function journalOf (t: Test) {
  const told: Targets[] = []
  const lines: string[] = []
  const say = (level: string) => (_: object, message: string): void => { lines.push(`${level}: ${message}`) }
  const store = { answer: async (): Promise<void> => { throw AWAY } }
  const log = { debug: () => {}, info: say('info'), warn: say('warn'), error: say('error') }
  const timers = timersOf(t)
  const tell = async (targets: Targets): Promise<void> => {
    told.push(targets)
    await store.answer()
  }
  const fire = async (): Promise<void> => {
    timers[0]!.fire()
    await turn()
  }
  return { journal: new Journal({ tell, log, most: 1_000 }), told, lines, store, timers, fire }
}

t.test('one timer at a time, with longer and longer pauses, that keeps no process alive', async (t) => {
  const { journal, told, lines, store, timers, fire } = journalOf(t)
  for (const pause of [100, 200, 400, 800, 1600, 2000, 2000, 2000]) {
    for (const key of ['a', 'b', 'c']) journal.keep(keys(key), AWAY)
    t.equal(timers.length, 1)
    const { time, isRef } = timers[0]!
    t.ok(time <= pause && time >= 0.75 * pause, `${time} of ${pause}`)
    t.notOk(isRef)
    const before = told.length
    await fire()
    t.strictSame(told.slice(before), [keys('a')], 'a store that is away is told of one')
  }
  t.equal(journal.size, 3)
  t.strictSame(lines.map((line) => line.slice(0, 25)), ['error: the cache could no'])
  store.answer = async () => {}
  told.length = 0
  await fire()
  t.strictSame(told, [keys('a'), keys('a', 'b', 'c')])
  t.ok(journal.isEmpty)
  t.equal(timers.length, 0)
  t.match(lines.slice(1), [/^error: the cache was told of all invalidations, and serves again, after [\d.]+ s/])

  journal.keep(keys('d'), AWAY)
  t.ok(timers[0]!.time <= 100, 'from the shortest pause again')
  t.equal(lines.length, 3, 'and another line')
})

t.test('a store that answers is told soon, and not more often than that', async (t) => {
  const { journal, store, timers, fire } = journalOf(t)
  journal.hurry()
  t.equal(timers.length, 0, 'nothing to tell')
  journal.keep(keys('a'), AWAY)
  const [first] = timers
  journal.hurry()
  t.equal(timers[0], first, 'the shortest pause is not begun again')
  for (let i = 0; i < 5; i++) await fire()
  t.ok(timers[0]!.time > 1_000)
  journal.hurry()
  t.equal(timers.length, 1)
  t.ok(timers[0]!.time <= 100)
  t.notOk(timers[0]!.isRef)
  const [soon] = timers
  journal.hurry()
  t.equal(timers[0], soon)

  const { wait, reached, open } = gate()
  store.answer = async () => {
    await wait()
    throw AWAY
  }
  const firing = fire()
  await reached
  journal.hurry()
  t.equal(timers.length, 0, 'one attempt at a time')
  open()
  await firing
  await turn()
  t.ok(timers[0]!.time <= 100, 'the next one comes soon')
  await fire()
  t.ok(timers[0]!.time > 100, 'and then later and later')
})

t.test('an invalidation that succeeds has the others told soon', async (t) => {
  const timers = timersOf(t)
  const store = {
    witness: null, isUp: false, invalidate: async () => store.isUp ? 1 : await Promise.reject(AWAY), soften: async () => 1
  }
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
  const invalidation = new Invalidation({
    store: store as unknown as Store, stats: new Stats('redis', 0), log: log as unknown as Log, flights: new Flights(), background: new Background(), instance: { cache: {}, prefix: '' }, quarantineTime: 1, maxJournal: 9
  })
  for (const work of ['run', 'soften'] as const) {
    store.isUp = false
    await t.rejects(invalidation.run(keys('a')), { code: 'FRC_STORE' })
    for (let i = 0; i < 5; i++) {
      timers[0]!.fire()
      await turn()
    }
    t.ok(timers[0]!.time > 1_000)
    store.isUp = true
    await invalidation[work](keys('b'))
    t.ok(timers[0]!.time <= 100, work)
    timers[0]!.fire()
    await turn()
    t.ok(invalidation.isTold)
  }
})

t.test('what is kept while it is told is told again', async (t) => {
  for (const again of [keys('a'), { ...NO_TARGETS, all: true }, keys(...Array.from({ length: 2_000 }, (_, i) => `k${i}`))]) {
    await t.test(JSON.stringify(again).slice(0, 40), async (t) => {
      const { journal, told, store, timers, fire } = journalOf(t)
      const { wait, reached, open } = gate()
      journal.keep(again, AWAY)
      store.answer = wait
      const firing = fire()
      await reached
      journal.keep(again, AWAY)
      t.equal(timers.length, 0, 'nobody else tells meanwhile')
      open()
      await firing
      await turn()
      t.equal(journal.size, 1)
      t.equal(timers.length, 1)
      await fire()
      t.ok(journal.isEmpty)
      t.equal(told.length, 2)
      t.strictSame(told[0], told[1])
    })
  }
})

t.test('of more than a thousand, everything', async (t) => {
  const { journal, told, store, timers, fire } = journalOf(t)
  const many = Array.from({ length: 500 }, (_, i) => `${i}`)
  for (let i = 0; i < 3; i++) journal.keep({ keys: many, tags: many, prefixes: [], all: false }, AWAY)
  t.equal(journal.size, 1_000, 'a target counts once, a key and a tag of one name are two')
  journal.keep({ ...NO_TARGETS, prefixes: ['0'] }, AWAY)
  t.equal(journal.size, 1)
  journal.keep(keys('a'), AWAY)
  t.equal(journal.size, 1, 'which is in it')
  store.answer = async () => {}
  await fire()
  t.strictSame(told, [{ ...NO_TARGETS, all: true }])
  t.equal(timers.length, 0)
})

t.test('all are told together behind one of them, no target twice', async (t) => {
  const { journal, told, store, fire } = journalOf(t)
  journal.keep({ keys: ['a', 'b', 'c', 'b'], tags: ['t', 'u'], prefixes: ['p:'], all: false }, AWAY)
  journal.keep({ keys: ['b'], tags: ['u', 'v'], prefixes: ['q:'], all: false }, AWAY)
  t.equal(journal.size, 8)
  store.answer = async () => {}
  await fire()
  t.strictSame(told, [keys('a'), { keys: ['a', 'b', 'c'], tags: ['t', 'u', 'v'], prefixes: ['p:', 'q:'], all: false }])
})

t.test('nothing is kept of nothing', async (t) => {
  const { journal, lines, timers } = journalOf(t)
  journal.keep(NO_TARGETS, AWAY)
  t.ok(journal.isEmpty)
  t.strictSame({ lines, timers }, { lines: [], timers: [] })
})

t.test('closing: one attempt more, and no timer afterwards', async (t) => {
  await t.test('told', async (t) => {
    const { journal, lines, store, timers } = journalOf(t)
    journal.keep(keys('a'), AWAY)
    store.answer = async () => {}
    await journal.close(1_000)
    t.ok(journal.isEmpty)
    t.equal(timers.length, 0)
    t.match(lines.slice(1), [/^error: /])
  })

  await t.test('away', async (t) => {
    const { journal, told, lines, timers } = journalOf(t)
    journal.keep(keys('a'), AWAY)
    await journal.close(1_000)
    t.equal(told.length, 1)
    t.match(lines.slice(1), [/^error: the cache closes with invalidations/])
    journal.keep(keys('b'), AWAY)
    t.equal(timers.length, 0)
  })

  await t.test('hanging', async (t) => {
    const { journal, lines, store, timers, fire } = journalOf(t)
    const { wait, reached, open } = gate()
    store.answer = async () => {
      await wait()
      throw AWAY
    }
    journal.keep(keys('a'), AWAY)
    const firing = fire()
    await reached
    const closing = journal.close(1_000)
    await turn()
    t.strictSame(timers.map(({ time }) => time), [1_000])
    timers[0]!.fire()
    await closing
    t.match(lines.slice(1), [/^error: the cache closes/])
    open()
    await firing
    await turn()
    t.equal(timers.length, 0)
  })

  await t.test('with nothing kept', async (t) => {
    const { journal, told, lines } = journalOf(t)
    await journal.close(1_000)
    t.strictSame({ told, lines }, { told: [], lines: [] })
  })
})
