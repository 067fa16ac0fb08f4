// Values that are no responses, under the same leases, flights, tags and statistics: a question without a request, and an
// entry whose body is the value.
import { DefaultDeserializer, serialize } from 'node:v8'
import type { ResponseCache } from '../cache/cache.js'
import { refuse, tellHit, type Complaints, channels, since, stamp, tell, tellLookup, type Caller } from '../telling/events.js'
import type { Answer, Claim, Selection } from '../cache/claim.js'
import type { Bytes, Duration, Milliseconds } from '../duration.js'
import type { Entry } from '../entry/entry.js'
import { optionError } from '../errors.js'
import { isObjectsText, checkTags } from '../key/key.js'
import { OptionReader } from '../options/reader.js'
import type { BypassReason, RefusalReason } from '../telling/outcome.js'
import { count } from '../telling/stats.js'
import { nameOf, valueKey } from '../store/keys.js'
import { unpacked } from '../send/reply.js'

/** How `cache.getOrSet` keeps a value. */
export interface ValueOptions {
  /** How long it is served. Default: the plugin's `ttl`. 0: it is not stored. */
  ttl?: Duration | undefined
  /** Labels by which it is invalidated together with others, responses too. Default: none. */
  tags?: readonly string[] | undefined
  /** How long to wait for another caller's `load`. Default: the plugin's `waitTimeout`. 0: each runs its own. */
  waitTimeout?: Duration | undefined
}

/** The cache that keeps values, and the defaults of their options. */
export interface Values {
  cache: ResponseCache
  caller: Caller
  ttl: Milliseconds
  waitTimeout: Milliseconds
  maxBodyBytes: Bytes
  /** Of values that can't be stored: each call may have one. */
  complaints: Complaints
}

interface ValueRequest<T> {
  key: string
  options: ValueOptions
  load: () => T | Promise<T>
}

const OPTIONS = ['ttl', 'tags', 'waitTimeout']
const ONLY_FRESH = { stale: 0, rescue: 0, cost: 0, isEncoded: false }
const WHERE = 'cache.getOrSet'
const NOT_STORED = 'a value of cache.getOrSet or cache.put can not be stored'

/** The value that is there; or what `load` gives, stored. Rejects with what `load` rejects with, and for wrong options. */
export async function getOrSet<T> (values: Values, { key, options, load }: ValueRequest<T>): Promise<T> {
  const { cache, caller } = values
  const { life, tags, waitTimeout } = read(values, options)
  if (typeof load !== 'function') throw optionError(WHERE, 'load', load, 'it is a function: getOrSet(key, options, load)')
  const began = stamp(channels.lookup)
  if (!cache.enabled) return await bypass(caller, began, { reason: 'disabled', load })
  if (isObjectsText(key)) {
    caller.log.warn({ key }, 'the key of a cache.getOrSet has an object in it, which has become the text that all objects share')
    return await bypass(caller, began, { reason: 'policy', load })
  }
  const named = valueKey(key)
  const selection = selectionOf(tags)
  const fresh = { toRefresh: false, mayBeStale: false, mayRescue: false, mayBeEarly: false }
  const question = { key: named, selection, toFill: life > 0, ...fresh, waitTimeout }
  let found = await cache.lookup(question, caller)
  if (found.type === 'hit') {
    const value = await valueOf<T>(found.entry, caller)
    if (value !== null) {
      const ttl = Math.ceil((found.entry.staleAt - cache.now()) / 1000)
      tellHit(caller, null, { outcome: { type: 'hit', key, ttl, collapsed: found.collapsed }, began })
      return value.value
    }
    // To be overwritten.
    found = await cache.lookup({ ...question, toRefresh: true }, caller)
  }
  if (found.type === 'unknown') return await bypass(caller, began, { reason: found.reason, load })
  caller.counters.misses++
  if (channels.lookup.hasSubscribers) {
    tellLookup(caller.source, null, { outcome: { type: 'miss', key, forced: false }, began })
  }
  return await filled(values, { key: named, found: found.type === 'miss' ? found : { claim: null }, life, load })
}

async function bypass<T> (
  caller: Caller, began: Milliseconds, { reason, load }: { reason: BypassReason } & Pick<ValueRequest<T>, 'load'>
): Promise<T> {
  count(caller.counters.bypasses, reason)
  if (channels.lookup.hasSubscribers) tellLookup(caller.source, null, { outcome: { type: 'bypass', reason }, began })
  return await loaded(caller, null, load)
}

/** The result of `load`; rejects as it does. */
async function loaded<T> ({ source }: Caller, key: string | null, load: ValueRequest<T>['load']): Promise<T> {
  const began = stamp(channels.handler)
  try {
    return await load()
  } finally {
    const duration = since(began)
    if (duration !== null) {
      const { instance, route } = source
      const named = key === null ? null : nameOf(key)
      tell('handler', instance, { route, key: named, why: key === null ? 'bypass' : 'miss', status: null, duration })
    }
  }
}

/** A value is one for all who ask, and has the tags that its caller names. */
export function selectionOf (tags: readonly string[]): Selection {
  return { needs: [], hint: { members: [] }, fingerprint: () => '', tags, maxVariants: 0 }
}

/** A value as it is stored. */
export function answerOf (body: Buffer, life: Milliseconds): Answer {
  return { status: 200, headers: [], body, kind: 'bytes', members: [], tags: [], life, ...ONLY_FRESH }
}

interface Filling<T> extends Pick<ValueRequest<T>, 'key' | 'load'> {
  found: { claim: Claim | null, why?: RefusalReason }
  life: Milliseconds
}

/** The result of `load`, which is stored under the claim. */
async function filled<T> (
  values: Values, { key, found: { claim, why = 'lease' }, life, load }: Filling<T>
): Promise<T> {
  const { cache, caller } = values
  let value: T
  try {
    value = await loaded(caller, key, load)
  } catch (error) {
    refuse(key, 'error', caller)
    if (claim !== null) cache.abandon(claim, caller, true)
    throw error
  }
  if (claim === null) {
    refuse(key, life === 0 ? 'ttl' : why, caller)
    return value
  }
  if (!cache.enabled) {
    // By now. The next one may be stored, so who waits for this one is let go to look again.
    refuse(key, 'disabled', caller)
    cache.abandon(claim, caller)
    return value
  }
  const body = bytesOf(values, key, value)
  if (typeof body === 'string') {
    refuse(key, body, caller)
    cache.abandon(claim, caller, true)
  } else {
    cache.fill(claim, answerOf(body, life), caller)
  }
  return value
}

/** `payload`: it holds what can't be copied, a function for example. `size`: it is too large. Both are said. */
export function bytesOf (
  { complaints, maxBodyBytes, caller: { log } }: Values, named: string, value: unknown
): Buffer | 'payload' | 'size' {
  const key = nameOf(named)
  try {
    const body = writeValue(value)
    if (body.length <= maxBodyBytes) return body
    complaints.warn(log, `${NOT_STORED}: it is larger than maxBodyBytes`, { key, reason: 'size', size: body.length, maxBodyBytes })
    return 'size'
  } catch (error) {
    complaints.warn(log, NOT_STORED, { err: error, key, reason: 'payload' })
    return 'payload'
  }
}

/** Null: another build's bytes, or somebody else's. */
async function valueOf<T> (entry: Entry, { counters, log }: Caller): Promise<{ value: T } | null> {
  try {
    return { value: readValue((await unpacked(entry)).body as Buffer) as T }
  } catch (error) {
    counters.errors++
    log.warn({ err: error }, 'a value of cache.getOrSet can not be read')
    return null
  }
}

interface Wanted { life: Milliseconds, tags: readonly string[], waitTimeout: Milliseconds }

function read (values: Values, given: unknown): Wanted {
  const options = OptionReader.of(WHERE, given, { forms: 'write { ttl, tags }', names: OPTIONS })
  return {
    life: options.duration('ttl', values.ttl),
    tags: checkTags(options.tags('tags')),
    waitTimeout: options.timer('waitTimeout', values.waitTimeout)
  }
}

// A value's bytes: as V8 writes it for `structuredClone`, but Buffers stay Buffers.

/** Throws where it holds what can't be copied, a function for example. */
export function writeValue (value: unknown): Buffer {
  return serialize(value)
}

/** Nothing of the value is a part of the bytes. Throws where they are another build's, or somebody else's. */
function readValue (bytes: Buffer): unknown {
  const reader = Object.assign(new DefaultDeserializer(bytes), {
    // V8 leaves these to Node, which makes them views on the bytes: whoever looks at their `buffer` would see all of it.
    _readHostObject () { return apart(readView.call(this)) }
  })
  reader.readHeader()
  return reader.readValue()
}

/** Documented, but not in Node's types. */
interface ViewReader { _readHostObject: () => NodeJS.ArrayBufferView }

const { _readHostObject: readView } = DefaultDeserializer.prototype as unknown as ViewReader

/** With memory of its own. */
function apart (view: NodeJS.ArrayBufferView): NodeJS.ArrayBufferView {
  if (Buffer.isBuffer(view)) return Buffer.from(view)
  const { buffer, byteOffset, byteLength } = view
  const View = view.constructor as new (memory: ArrayBufferLike) => NodeJS.ArrayBufferView
  return new View(buffer.slice(byteOffset, byteOffset + byteLength))
}
