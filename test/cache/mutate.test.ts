// `cache.mutate`, as users see it: what is asked for while its work runs, what was under way before, and what is there after
// it; several at once; and others' invalidations meanwhile.
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { InvalidateTarget, RouteCacheOptions } from '../../plugin/index.js'
import { cachedApp, gate, onEachStore, settled, type CachedApp } from '../helpers/app.js'
import { SUBJECTS, type Answer, type Ask, type Subject } from './subjects.js'

/** Longer than anything takes that does not hang. */
const LIMIT = 30_000
const OTHERS: InvalidateTarget[] = ['k', { prefix: 'k' }, { tags: ['s', 't', 'own'] }, { all: true }]
/** What is waited for in vain shows: nobody would be let go in time. */
const OPTIONS = { waitTimeout: 10 * LIMIT / 1000 }

interface Stage {
  app: CachedApp
  /** Each variant's question. */
  asks: Ask[]
  /** All of them, one after another, until their fills are done. */
  ask: () => Promise<Answer[]>
}

interface Origin {
  row: string
  runs: number
  /** Behind its reading of the row. */
  pause: () => Promise<void>
  read: () => Promise<string>
}

function origin (): Origin {
  return {
    row: 'old',
    runs: 0,
    pause: async () => {},
    async read () {
      const { row } = this
      this.runs++
      await this.pause()
      return row
    }
  }
}

function stage (app: CachedApp, subject: Subject, source: Origin): Stage {
  const asks = subject.open(app, async () => await source.read())
  const ask = async (): Promise<Answer[]> => {
    const answers: Answer[] = []
    for (const one of asks) {
      answers.push(await one())
      await settled(app)
    }
    return answers
  }
  return { app, asks, ask }
}

/** Resolves once it is true. */
async function until (isTrue: () => boolean, otherwise: () => string): Promise<void> {
  const limit = performance.now() + LIMIT
  while (!isTrue()) {
    if (performance.now() > limit) throw new Error(otherwise())
    await turn()
  }
}

const each = (of: readonly unknown[], answer: Answer): Answer[] => of.map(() => answer)
const miss = (body: string): Answer => ({ body, isHit: false })
const hit = (body: string): Answer => ({ body, isHit: true })

/** All at once, three times each: none waits for another, as each is held until all of them run. */
async function rush (t: Test, { asks }: Stage, source: Origin): Promise<void> {
  const held = gate()
  source.pause = held.wait
  const wanted = source.runs + 3 * asks.length
  const asked = [...asks, ...asks, ...asks].map(async (ask) => await ask())
  await until(() => source.runs === wanted, () => `${wanted - source.runs} wait for others`)
  held.open()
  t.strictSame(await Promise.all(asked), each(asked, miss(source.row)))
  source.pause = async () => {}
}

/** Without renewals, by which a run hears that it has lost its lease: they would let go who waits for it, after a second. */
function withoutRenewals (t: Test): void {
  const never = setInterval(() => {}, LIMIT).unref()
  t.teardown(() => { clearInterval(never) })
  t.intercept(globalThis, 'setInterval', { value: () => never })
}

await onEachStore(t, async (t, open) => {
  let apps = 0
  const opened = async (options: RouteCacheOptions = {}): Promise<CachedApp> =>
    await open({ prefix: `app-${++apps}`, ...OPTIONS, ...options })
  /** Another instance of the app; in-process stores are not shared: there it is the same one. */
  const other = async (app: CachedApp): Promise<CachedApp> =>
    app.cache.stats().store === 'redis' ? await open({ prefix: `app-${apps}`, ...OPTIONS }) : app

  for (const [name, subject] of Object.entries(SUBJECTS)) {
    await t.test(`${name}: while the work runs nothing hits and nothing is stored`, async (t) => {
      const source = origin()
      const here = stage(await opened(), subject, source)
      t.strictSame(await here.ask(), each(here.asks, miss('old')))
      t.strictSame(await here.ask(), each(here.asks, hit('old')))
      const result = await here.app.cache.mutate(subject.target, async () => {
        await rush(t, here, source)
        await rush(t, here, source)
        source.row = 'new'
        t.strictSame(await here.ask(), each(here.asks, miss('new')))
        return 'result'
      })
      t.equal(result, 'result')
      t.strictSame(await here.ask(), each(here.asks, miss('new')))
      t.strictSame(await here.ask(), each(here.asks, hit('new')))
    })

    await t.test(`${name}: what was read before is not stored, neither while the work runs nor after it`, async (t) => {
      withoutRenewals(t)
      for (const isEarly of [true, false]) {
        const source = origin()
        const here = stage(await opened(), subject, source)
        // So that tags of the response are known.
        await here.ask()
        await here.app.cache.invalidate('k')
        const slow = gate()
        source.pause = slow.wait
        const asked = here.asks[0]!()
        await slow.reached
        source.pause = async () => {}
        const writer = isEarly ? here.app : await other(here.app)
        await writer.cache.mutate(subject.target, async () => {
          source.row = 'new'
          if (!isEarly) return
          await rush(t, here, source)
          slow.open()
          await asked
        })
        slow.open()
        t.strictSame(await asked, miss('old'))
        await settled(here.app)
        t.strictSame(await here.ask(), each(here.asks, miss('new')), isEarly ? 'while it ran' : 'after it')
        t.strictSame(await here.ask(), each(here.asks, hit('new')))
      }
    })

    await t.test(`${name}: several mutations end with the last, and with nothing else`, async (t) => {
      const source = origin()
      const here = stage(await opened(), subject, source)
      const there = await other(here.app)
      await here.ask()
      const gates = [gate(), gate(), gate()]
      const writing = [here.app, there, here.app].map(async (app, i) =>
        await app.cache.mutate(subject.target, gates[i]!.wait))
      await Promise.all(gates.map(async ({ reached }) => await reached))
      for (const last of [2, 0, 1]) {
        for (const target of [subject.target, ...OTHERS]) {
          for (const app of [here.app, there]) await app.cache.invalidate(target)
          t.strictSame(await here.ask(), each(here.asks, miss('old')), JSON.stringify(target))
        }
        await here.ask()
        t.strictSame(await here.ask(), each(here.asks, miss('old')), 'nor is it stored')
        gates[last]!.open()
        await writing[last]
      }
      t.strictSame(await here.ask(), each(here.asks, miss('old')))
      t.strictSame(await here.ask(), each(here.asks, hit('old')))
    })
  }

  for (const [kind, fail] of Object.entries({
    rejects: async (error: Error) => { throw error },
    throws: (error: Error) => { throw error }
  })) {
    await t.test(`work that ${kind}: its error, and all is invalidated`, async (t) => {
      const source = origin()
      const here = stage(await opened(), SUBJECTS['a key']!, source)
      await here.ask()
      const error = new Error('commit failed, or did it?')
      const mutation = here.app.cache.mutate('k', () => {
        source.row = 'new'
        return fail(error)
      })
      t.equal(await mutation.catch((thrown: unknown) => thrown), error)
      t.strictSame(await here.ask(), [miss('new')])
      t.strictSame(await here.ask(), [hit('new')])
      t.match(here.app.cache.stats(), { invalidations: 1, invalidationsFailed: 0, journal: 0 })
    })
  }

  await t.test('what is not named is served while the work runs', async (t) => {
    const app = await opened()
    app.get('/:id', { cache: { key: 'user:{id}', tags: ['user:{id}'] } }, async () => 'x')
    const isHit = async (url: string): Promise<boolean> => {
      const { headers } = await app.inject(url)
      await settled(app)
      return /; ttl=/.test(String(headers['cache-status']))
    }
    for (const target of ['user:1', { tags: ['user:1'] }, { keys: ['user:1'], tags: ['user:1'] }]) {
      for (const url of ['/1', '/11']) await isHit(url)
      await app.cache.mutate(target, async () => {
        t.strictSame([await isHit('/1'), await isHit('/11')], [false, true], JSON.stringify(target))
      })
    }
  })

  await t.test('nothing named: the work is done', async (t) => {
    const app = await opened()
    for (const target of [[], { keys: [] }, { tags: [] }]) t.equal(await app.cache.mutate(target, () => 7), 7)
  })
})

t.test('what can not be put in quarantine is refused, and the work does not run', async (t) => {
  const app = await cachedApp(t)
  const work = (): void => { t.fail('it ran') }
  const targets: [target: unknown, message: RegExp][] = [
    [{ prefix: 'a' }, /^can't mutate \{"prefix":"a"\}: .*a prefix, or everything, .*name keys and tags/],
    [{ keys: ['a'], prefix: 'a' }, /^can't mutate .*name keys and tags/],
    [{ all: true }, /^can't mutate \{"all":true\}: .*name keys and tags/],
    [{}, /write a key, an array of keys, \{ keys, tags/],
    [undefined, /write a key, an array of keys, \{ keys, tags/],
    [{ key: 'a' }, /write a key, an array of keys, \{ keys, tags/],
    ['', /a key is a non-empty string, not ""/],
    [[7], /a key is a non-empty string, not 7/]
  ]
  for (const [target, message] of targets) {
    const refused = { code: 'FRC_TARGET', message, worked: false }
    await t.rejects(app.cache.mutate(target as string, work), refused, JSON.stringify(target))
  }
  await t.rejects(app.cache.mutate({ tags: [''] }, work), { code: 'FRC_TAG', message: /a tag is a non-empty string/ })
  for (const wrong of [undefined, null, 'select', Promise.resolve()]) {
    await t.rejects(app.cache.mutate('k', wrong as unknown as () => void), { code: 'FRC_OPTION', message: /work is .*; it is a function/ })
  }
  await t.rejects(cachedApp(t, { quarantineTime: 0 }), { code: 'FRC_OPTION', message: /quarantineTime is 0; it is longer than 0/ })
  await t.rejects(cachedApp(t, { quarantineTime: 'soon' }), { code: 'FRC_OPTION', message: /quarantineTime is "soon"; a duration is/ })
})
