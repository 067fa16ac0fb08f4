// What every store must do for writers: quarantines, leases that displace others, and values apart from responses.
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { encodeMarker } from '../../plugin/entry/entry.js'
import { valueKey } from '../../plugin/store/keys.js'
import type { Lease, Store } from '../../plugin/store/store.js'
import { NOTHING_SEEN, leaseOf } from '../helpers/plain-store.js'
import { actors } from './tag-contract.js'

const LONG = 60_000
/** How long a quarantine lasts that is to run out: it is waited for. */
const SHORT = 60

export async function quarantineContract (t: Test, store: Store): Promise<void> {
  await keysInQuarantine(t, store)
  await tagsInQuarantine(t, store)
  await seizing(t, store)
  await values(t, store)
}

const onKey = (key: string): { keys: string[], tags: string[] } => ({ keys: [key], tags: [] })
const onTag = (tag: string): { keys: string[], tags: string[] } => ({ keys: [], tags: [tag] })

async function keysInQuarantine (t: Test, store: Store): Promise<void> {
  const { start, end, isServed } = actors(store)
  const take = async (key: string): Promise<unknown> => {
    const taken = await store.take(key, null, NOTHING_SEEN)
    return typeof taken === 'string' ? taken : 'taken'
  }

  await t.test('in quarantine nothing is served, and nothing stored', async (t) => {
    const old = await start('q:key')
    await end(old)
    const slow = await start('q:key')
    t.equal(await isServed(old), true)
    const token = randomUUID()
    t.equal(await store.quarantine(onKey('q:key'), token, LONG), false, 'it had not been')
    t.equal(await isServed(old), false)
    t.equal(await end(slow), 'lost', 'who was under way')
    t.equal(await take('q:key'), 'pass', 'who comes now does not wait')
    t.equal(await store.holder('q:key', null), 'pass')
    t.equal(await store.quarantine(onKey('q:key'), token, LONG), true, 'again, it had been')
    await store.invalidate({ keys: ['q:key'] }, token)
    t.equal(await store.holder('q:key', null), 'none')
    const next = await start('q:key')
    await end(next)
    t.equal(await isServed(next), true)
  })

  await t.test('a first marker is not put there', async (t) => {
    const token = randomUUID()
    await store.quarantine(onKey('q:first'), token, LONG)
    const seen = { tags: [], missing: [], bytes: null, marker: encodeMarker({ members: ['a'], epoch: 'epochepoch-1' }) }
    t.equal(await store.take('q:first', 'x', seen), 'pass')
    await store.invalidate({ keys: ['q:first'] }, token)
    t.type(await store.take('q:first', 'x', seen), 'object')
  })

  await t.test('only its own writers end it, the last of them', async (t) => {
    const [one, other] = [randomUUID(), randomUUID()]
    await store.quarantine(onKey('q:two:1'), one, LONG)
    await store.quarantine(onKey('q:two:1'), other, LONG)
    await store.invalidate({ keys: ['q:two:1'] })
    await store.invalidate({ prefixes: ['q:two:'] })
    await store.invalidate({ keys: ['q:two:1'] }, randomUUID())
    t.equal(await take('q:two:1'), 'pass', 'not who invalidates, by key or prefix')
    await store.invalidate({ keys: ['q:two:1'] }, one)
    t.equal(await take('q:two:1'), 'pass', 'not the first')
    await store.invalidate({ keys: ['q:two:1'] }, other)
    t.equal(await take('q:two:1'), 'taken')
  })

  await t.test('it runs out by itself, also of one whose name another keeps', async (t) => {
    const [dead, alive] = [randomUUID(), randomUUID()]
    // In this order: when the end of the last one is seen, that of the one before has passed.
    await store.quarantine(onKey('q:out:2'), dead, SHORT)
    await store.quarantine(onKey('q:out:2'), alive, LONG)
    await store.quarantine(onKey('q:out:1'), dead, SHORT)
    while (await store.holder('q:out:1', null) === 'pass') await delay(5)
    t.equal(await take('q:out:1'), 'taken')
    t.equal(await take('q:out:2'), 'pass')
    // The other's end has passed, too.
    await store.invalidate({ keys: ['q:out:2'] }, alive)
    t.equal(await take('q:out:2'), 'taken')
  })
}

async function tagsInQuarantine (t: Test, store: Store): Promise<void> {
  const { start, end, isServed } = actors(store)
  const generationOf = async (tag: string): Promise<number | null> => (await store.generations([tag])).generations[0]!

  await t.test('a tag in quarantine: nothing is valid under it, until it has ended, and nothing older after it', async (t) => {
    const old = await start('q:tag:1', ['q-tag'])
    await end(old)
    t.equal(await isServed(old), true)
    const token = randomUUID()
    t.equal(await store.quarantine(onTag('q-tag'), token, LONG), false)
    t.equal(await isServed(old), false)
    t.equal(await generationOf('q-tag'), Infinity)
    const during = await start('q:tag:2', ['q-tag'])
    await end(during)
    t.equal(await isServed(during), false)
    const late = await start('q:tag:3')
    t.equal(await end(late, ['q-tag']), 'outdated', 'a tag that only the response names')
    await store.invalidate({ tags: ['q-tag'] })
    t.equal(await generationOf('q-tag'), Infinity, 'others do not end it')
    t.equal(await store.quarantine(onTag('q-tag'), token, LONG), true)
    await store.invalidate({ tags: ['q-tag'] }, token)
    t.equal(await isServed(during), false, 'what had been read before its end')
    const next = await start('q:tag:1', ['q-tag'])
    await end(next)
    t.equal(await isServed(next), true)
  })

  await t.test('a tag in quarantine whose generation was missing is not created', async (t) => {
    const token = randomUUID()
    await store.quarantine(onTag('q-missing'), token, LONG)
    const reader = await start('q:missing:1', ['q-missing'], async () => {})
    const creator = await store.take('q:missing:2', null, { ...NOTHING_SEEN, missing: ['q-missing'] })
    t.ok(leaseOf(creator))
    await end(reader)
    t.equal(await generationOf('q-missing'), Infinity)
    await store.invalidate({ tags: ['q-missing'] }, token)
  })

  await t.test('overlapping quarantines of a tag end with the last', async (t) => {
    const [one, other] = [randomUUID(), randomUUID()]
    await store.quarantine(onTag('q-both'), one, LONG)
    await store.quarantine(onTag('q-both'), other, LONG)
    await store.invalidate({ tags: ['q-both'] }, one)
    t.equal(await generationOf('q-both'), Infinity)
    await store.invalidate({ tags: ['q-both'] }, other)
    t.not(await generationOf('q-both'), Infinity)
  })

  await t.test('it runs out as an invalidation', async (t) => {
    const old = await start('q:runs-out:1', ['q-out'])
    await end(old)
    await store.quarantine(onTag('q-out'), randomUUID(), SHORT)
    const during = await start('q:runs-out:2', ['q-out'])
    await end(during)
    const late = await start('q:runs-out:3')
    while (await generationOf('q-out') === Infinity) await delay(5)
    t.equal(await end(late, ['q-out']), 'outdated', 'a fill that only now names the tag')
    t.equal(await isServed(old), false)
    t.equal(await isServed(during), false)
    const next = await start('q:runs-out:4', ['q-out'])
    await end(next)
    t.equal(await isServed(next), true)
  })
}

async function seizing (t: Test, store: Store): Promise<void> {
  const { start, end, isServed } = actors(store)
  const seize = async (key: string): Promise<Lease> => {
    const seized = await store.seize(key)
    if (seized === null) throw new Error(`${key} is in quarantine`)
    return seized.lease
  }

  await t.test('a lease that is seized displaces any other', async (t) => {
    const reader = await start('seize:1')
    const { history } = reader
    const first = await seize('seize:1')
    t.equal(await end(reader), 'lost')
    const second = await seize('seize:1')
    t.equal(await end({ key: 'seize:1', lease: first, history, tags: [] }), 'lost', 'also that of another writer')
    const winner = { key: 'seize:1', lease: second, history, tags: [] }
    t.equal(await end(winner), 'stored')
    t.equal(await isServed(winner), true)
    t.ok(second.asOf >= first.asOf)
  })

  await t.test('who seized is a holder like others', async (t) => {
    const lease = await seize('seize:2')
    t.equal(await store.take('seize:2', null, NOTHING_SEEN), 'held')
    t.equal(await store.renew('seize:2', lease), true)
    await store.release('seize:2', lease)
    t.equal(await store.holder('seize:2', null), 'none')
  })

  await t.test('nothing is seized in quarantine', async (t) => {
    const token = randomUUID()
    await store.quarantine(onKey('seize:3'), token, LONG)
    t.equal(await store.seize('seize:3'), null)
    t.equal(await store.holder('seize:3', null), 'pass')
    await store.invalidate({ keys: ['seize:3'] }, token)
    t.ok(await store.seize('seize:3'))
  })
}

async function values (t: Test, store: Store): Promise<void> {
  const { start, end, isServed } = actors(store)

  await t.test('a value and a response of one key are apart, and go together', async (t) => {
    const value = valueKey('value:1')
    const [response, ofValue] = [await start('value:1'), await start(value)]
    await end(ofValue)
    t.equal(await isServed(ofValue), true)
    t.equal(await isServed(response), false, 'the response is not there')
    await end(response)
    t.equal(await isServed(response), true)
    const slow = await start(value)
    t.equal(await store.invalidate({ keys: ['value:1'] }), 2)
    t.strictSame([await isServed(response), await isServed(ofValue)], [false, false])
    t.equal(await end(slow), 'lost', 'and what was under way')
  })

  await t.test('a value alone', async (t) => {
    const [response, value] = [await start('value:2'), await start(valueKey('value:2'))]
    await end(response)
    await end(value)
    t.equal(await store.invalidate({ keys: [valueKey('value:2')] }), 1)
    t.strictSame([await isServed(response), await isServed(value)], [true, false])
  })

  await t.test('a prefix covers values', async (t) => {
    const [value, slow] = [await start(valueKey('value:p:1')), await start(valueKey('value:p:2'))]
    await end(value)
    t.equal(await store.invalidate({ prefixes: ['value:p:'] }), 1)
    t.equal(await isServed(value), false)
    t.equal(await end(slow), 'lost')
  })

  await t.test('a quarantine covers values', async (t) => {
    const value = await start(valueKey('value:q'))
    await end(value)
    const token = randomUUID()
    await store.quarantine(onKey('value:q'), token, LONG)
    t.equal(await isServed(value), false)
    t.equal(await store.take(valueKey('value:q'), null, NOTHING_SEEN), 'pass')
    await store.invalidate({ keys: ['value:q'] }, token)
    t.ok(leaseOf(await store.take(valueKey('value:q'), null, NOTHING_SEEN)))
  })
}
