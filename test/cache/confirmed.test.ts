// The list of confirmed invalidations by itself: how long they are kept, what others are told, and what they need not be.
import t from 'tap'
import { NO_TARGETS, type Targets } from '../../plugin/cache/claim.js'
import { Confirmed, MOST_IN_SPAN, SPAN } from '../../plugin/cache/journal.js'
import { RouteCacheError } from '../../plugin/errors.js'
import type { Answering } from '../../plugin/store/witness.js'

const keys = (...keys: string[]): Targets => ({ ...NO_TARGETS, keys })

/** A list, and servers that the test names; `time` passes by hand. */
function listOf () {
  const state = { servers: 'A', isAlone: false, time: 0, isTold: true, watched: 0 }
  const told: Targets[] = []
  const confirmed = new Confirmed({
    witness: {
      get servers () { return state.servers },
      get isAlone () { return state.isAlone },
      sent: () => {
        const { servers } = state
        return () => state.servers === servers ? servers : ''
      },
      follow: () => {},
      watch: () => { state.watched++ }
    },
    again: (list) => {
      state.isTold = false
      told.push(...list)
    },
    isTold: () => state.isTold,
    now: () => state.time
  })
  const confirm = async (targets: Targets): Promise<void> => { await confirmed.by(targets, async () => {}) }
  /** Others answer: what they are told. */
  const takeOver = (servers: string, { isNew = false, unnamed = 'nobody' }: Partial<Answering> = {}): Targets[] => {
    told.length = 0
    const answering = confirmed.asking()
    state.servers = servers
    answering({ servers, isNew, unnamed })
    return [...told]
  }
  return { state, told, confirmed, confirm, takeOver }
}

t.test('other servers are told, once', async (t) => {
  const { state, confirmed, confirm, takeOver } = listOf()
  await confirm(keys('a', 'b'))
  await confirm({ keys: ['a'], tags: ['t'], prefixes: ['p:'], all: false })
  await confirm({ ...NO_TARGETS, prefixes: ['q:'] })
  t.equal(state.watched, 3)
  t.strictSame(takeOver('A'), [], 'they have it')
  t.notOk(confirmed.isBehind)
  t.strictSame(takeOver('B'), [{ keys: ['a', 'b'], tags: ['t'], prefixes: ['p:', 'q:'], all: false }])
  t.ok(confirmed.isBehind)
  state.isTold = true
  t.notOk(confirmed.isBehind)
  t.notOk(confirmed.isKeeping, 'they are in the journal, and come back when they are told')
  t.strictSame(takeOver('C'), [])
})

t.test('where this process began a history, what was confirmed before is moot', async (t) => {
  const { confirmed, confirm, takeOver, told, state } = listOf()
  await confirm(keys('before'))
  const answering = confirmed.asking()
  await confirm(keys('late'))
  state.servers = 'B'
  answering({ servers: 'B', isNew: true, unnamed: 'nobody' })
  t.strictSame(told, [keys('late')], 'but not what A has confirmed when it was there already')
  t.strictSame(takeOver('C'), [], 'neither is left')
})

t.test('confirmed by who knows', async (t) => {
  await t.test('a server was lost, and is not known yet', async (t) => {
    const { confirmed, takeOver, state, told } = listOf()
    await confirmed.by(keys('a'), async () => { state.servers = '' })
    t.strictSame(told, [])
    t.ok(confirmed.isKeeping)
    t.strictSame(takeOver('A'), [keys('a')], 'it may have been another one')
  })

  await t.test('others are known by then', async (t) => {
    const { confirmed, state, told } = listOf()
    await confirmed.by(keys('a'), async () => { state.servers = 'B' })
    t.strictSame(told, [keys('a')], 'who were asked before it was confirmed')
    t.ok(confirmed.isBehind)
  })

  await t.test('none was known yet', async (t) => {
    const { confirm, takeOver, state } = listOf()
    state.servers = 'not yet named'
    await confirm(keys('a'))
    t.strictSame(takeOver('A', { unnamed: 'not yet named' }), [])
    t.strictSame(takeOver('B', { unnamed: 'not yet named' }), [keys('a')], 'it has been A since then')
  })
})

t.test('kept for a minute at least, and two at most', async (t) => {
  const { state, confirmed, confirm, takeOver } = listOf()
  state.time = SPAN - 1
  await confirm(keys('a'))
  for (const time of [SPAN, 2 * SPAN - 1]) {
    state.time = time
    t.ok(confirmed.isKeeping)
  }
  state.time = 2 * SPAN
  t.notOk(confirmed.isKeeping)
  t.strictSame(takeOver('B'), [])
})

const DOUBTS: Record<string, (list: ReturnType<typeof listOf>) => Promise<() => Promise<void>>> = {
  'the servers are not known': async ({ state }) => {
    state.servers = ''
    return async () => { state.servers = 'A' }
  },
  'a primary has no replica any more': async ({ state }) => {
    state.isAlone = true
    return async () => { state.isAlone = false }
  },
  'replicas did not confirm': async ({ confirmed, confirm }) => {
    const unreplicated = confirmed.by(keys('b'), async () => { throw new RouteCacheError('FRC_REPLICAS', 'only 0') })
    await t.rejects(unreplicated, { code: 'FRC_REPLICAS' })
    return async () => { await confirm(keys('c')) }
  }
}
for (const [what, begin] of Object.entries(DOUBTS)) {
  t.test(`kept for longer while ${what}`, async (t) => {
    const list = listOf()
    const { state, confirmed, confirm, takeOver } = list
    await confirm(keys('a'))
    const end = await begin(list)
    state.time = 100 * SPAN
    t.ok(confirmed.isKeeping)
    await end()
    t.ok(confirmed.isKeeping, 'and not forgotten at once')
    const [first] = takeOver('B')
    t.ok(first?.keys.includes('a'))
  })
}

t.test('what began before replicas were missed does not say that they have it', async (t) => {
  const { state, confirmed, confirm } = listOf()
  let confirmEarly!: () => void
  const early = confirmed.by(keys('early'), async () => await new Promise<void>((resolve) => { confirmEarly = resolve }))
  await t.rejects(confirmed.by(keys('a'), async () => { throw new RouteCacheError('FRC_REPLICAS', 'only 0') }))
  confirmEarly()
  await early
  state.time = 100 * SPAN
  t.ok(confirmed.isKeeping)
  await confirm(keys('b'))
  for (let i = 101; i < 104; i++) {
    state.time = i * SPAN
    confirmed.isKeeping // eslint-disable-line @typescript-eslint/no-unused-expressions
  }
  t.notOk(confirmed.isKeeping)
})

t.test('what was not confirmed is not kept', async (t) => {
  const { confirmed } = listOf()
  await t.rejects(confirmed.by(keys('a'), async () => { throw new RouteCacheError('FRC_DEADLINE', 'late') }))
  t.notOk(confirmed.isKeeping, 'it is in the journal')
})

t.test('of more than fits, everything', async (t) => {
  const many = keys(...Array.from({ length: MOST_IN_SPAN + 1 }, (_, i) => `${i}`))
  const everything = { ...NO_TARGETS, all: true }
  const { confirm, takeOver, state } = listOf()
  await confirm(many)
  await confirm(keys('a'))
  t.strictSame(takeOver('A'), [])
  t.strictSame(takeOver('B'), [everything])
  t.strictSame(takeOver('C'), [])

  await confirm(many)
  t.strictSame(takeOver('D', { isNew: true }), [], 'moot as well')
  await confirm(many)
  state.time += SPAN
  await confirm(keys('a'))
  t.match(takeOver('E'), [{ all: true, keys: ['a'] }])
  await confirm(many)
  state.time += 2 * SPAN
  await confirm(keys('b'))
  state.time += SPAN
  await confirm(keys('c'))
  t.strictSame(takeOver('F'), [keys('b', 'c')], 'forgotten like others')
})
