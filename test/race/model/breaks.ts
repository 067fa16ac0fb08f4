// Protocols that are wrong in one place each: the model has to find an interleaving for every one of them, or it holds
// nothing. What Redis does wrong is put into a script, what we do into a store.
import { NO_TARGETS } from '../../../plugin/cache/claim.js'
import type { Reading, Store } from '../../../plugin/store/store.js'
import { apart } from '../../../plugin/key/target.js'
import { BODIES, epochIn, isEntry, isHold, namedByCall, scripts, tick, type Body, type ScriptName } from './bodies.js'
import type { Held } from './held.js'
import { scriptOf } from './data.js'
import type { Broken } from './run.js'

const nothing: Body = () => 0
const KEYS = ['keys', 'a prefix']
const MUTATED = ['keys, mutated', 'keys that vary, mutated']
const TAGS_MUTATED = ['tags of the policy, mutated', 'tags of the response, mutated']
const VARYING = ['keys that vary', 'a prefix of keys that vary']
const madeOf = (mode: string): string => `made of values: ${mode}`
/** Where a script that arrives twice is found. */
const TWICE: Record<string, Pick<Break, 'modes' | 'seed'>> = {
  FILL: { modes: ['keys', 'tags of the policy'] },
  FILL_VARIANT: { modes: ['keys that vary'] },
  TAKE: { modes: ['keys', 'keys that vary'] },
  RENEW: { seed: 2, modes: ['keys, mutated'] },
  SOFTEN: { modes: ['tags, softly'] },
  INVALIDATE_ALL: { seed: 1, modes: [madeOf('everything')] }
}

/** Among the names that a script is given. */
const leasesOf = (keys: readonly string[]): string[] => keys.filter((name) => name.startsWith('lease:'))
const entriesOf = (keys: readonly string[]): string[] => keys.filter((name) => /^{?shop:/.test(name))

/** As the script, where the lease's name holds the token in any case. */
const withoutLease = (body: Body): Body => (data, keys, args) => {
  data.set(keys[1]!, args[0]!)
  return body(data, keys, args)
}

/** As the script, but a lost clock begins no new history. */
const inOldHistory = (body: Body): Body => (data, keys, args) => {
  const floor = data.get(keys[0]!)
  const reply = body(data, keys, args)
  if (floor !== null) data.set(keys[0]!, floor)
  return reply
}

/** As the script, but each history that it begins has one name. */
const inOneHistory = (body: Body): Body => (data, keys, args) => {
  const floor = data.get(keys[0]!)
  const reply = body(data, keys, args)
  const after = data.get(keys[0]!)
  if (after === null || after.slice(0, 12) === floor?.slice(0, 12)) return reply
  data.set(keys[0]!, `historyhisto${after.slice(12)}`)
  return Array.isArray(reply) && reply[0] === after ? [data.get(keys[0]!)!, 1] : reply
}

const FLOOR_OF_OLD: Body = (data, keys, args) => {
  const floor = data.get(keys[0]!)
  if (floor === null || data.get(keys[1]!) === null) return BODIES.FLOOR(data, keys, args)
  return [floor, 0]
}

/** As the script, but what others raised a tag to that is held is not kept. */
const forgetting = (body: Body): Body => (data, keys, args) => {
  for (const name of keys) {
    const text = data.get(name)
    if (isHold(text)) data.set(name, text!.replace(/,?\d+@=[^,]*/, ''))
  }
  return body(data, keys, args)
}

/** As the script in a call's second step, and nothing in its first. */
const secondly = (body: Body): Body => (data, keys, args) => args[2] === '0' ? body(data, keys, args) : [0, 1]

type Kept = (keys: readonly string[], data: Held) => readonly string[]

/** As the script, but these names hold what they held. */
const keeping = (body: Body, kept: Kept): Body => (data, keys, args) => {
  const held = kept(keys, data).map((name) => [name, data.get(name)] as const)
  const reply = body(data, keys, args)
  for (const [name, text] of held) if (text !== null) data.set(name, text)
  return reply
}

type Scripts = Required<Broken>['scripts']

/** As the scripts that invalidate, but no quarantine stays. */
const BLIND: Scripts = {
  INVALIDATE: (data, keys, args) => {
    const { generations, pairs } = namedByCall(keys, args)
    unlinkQuarantines(data, [...generations, ...pairs.map(([, lease]) => lease)])
    return BODIES.INVALIDATE(data, keys, args)
  },
  RAISE: (data, keys, args) => {
    unlinkQuarantines(data, keys)
    return BODIES.RAISE(data, keys, args)
  }
}

function unlinkQuarantines (data: Held, names: readonly string[]): void {
  data.unlink(...names.filter((name) => data.get(name)?.startsWith('!') === true))
}

/** Of pairs: removes them, and occupies nothing. */
const removing: Body = (data, keys) => [data.unlink(...keys), 1]

const LETTING_GO = ['INVALIDATE', 'SOFTEN_KEY', 'RAISE', 'SOFTEN_TAG', 'ADVANCE'] as const

/** The same scripts, but what they are to let go is always said to have been held. */
const claiming = (scripts: Scripts): Scripts => ({
  ...scripts, ...Object.fromEntries(LETTING_GO.map((name) => [name, claimed(scripts[name] ?? BODIES[name])]))
})

const claimed = (body: Body): Body => (data, keys, args) => {
  const reply = body(data, keys, args)
  return Array.isArray(reply) ? [reply[0] as string, 1] : 1
}

const NOT_HELD = claiming({
  QUARANTINE_TAGS: (data, keys, args) => args[2] === '#' ? 1 : BODIES.QUARANTINE_TAGS(data, keys, args)
})

/** A store that does a call target by target, side by side. */
const byTarget: Required<Broken>['store'] = (store) => replacing(store, {
  invalidate: async (targets, token) => {
    const all = { ...NO_TARGETS, ...targets }
    if (all.all) return await store.invalidate(all)
    const counts = await Promise.all(apart(all).map(async (one) => await store.invalidate(one, token)))
    return counts.reduce((sum, n) => sum + n, 0)
  },
  soften: async ({ keys, tags }) => {
    const all = apart({ ...NO_TARGETS, keys, tags })
    return (await Promise.all(all.map(async (one) => await store.soften(one)))).reduce((sum, n) => sum + n, 0)
  }
})

const FIRST_STEP: readonly ScriptName[] = ['QUARANTINE_KEY', 'SOFTEN_KEY', 'QUARANTINE_TAGS', 'HOLD_PREFIXES']

/** A client that answers for a server before that has done these scripts. */
const answering = (scripts: readonly ScriptName[], reply: unknown): Required<Broken>['client'] => (client) => {
  const evalsha = client.evalsha.bind(client)
  client.evalsha = async (sha, ...args) => {
    const doing = evalsha(sha, ...args)
    if (!scripts.includes(scriptOf(sha) as ScriptName)) return await doing
    doing.catch(() => {})
    return reply
  }
  return client
}

/** What these scripts did before they knew what they had done when it arrives again. */
const FORGETFUL: Record<string, Scripts> = {
  FILL: { FILL: (data, keys, args) => data.get(keys[1]!) === args[0] ? BODIES.FILL(data, keys, args) : 0 },
  FILL_VARIANT: {
    FILL_VARIANT: (data, keys, args) => data.get(keys[1]!) === args[0] ? BODIES.FILL_VARIANT(data, keys, args) : 0
  },
  TAKE: {
    TAKE: (data, keys, args) => {
      const held = data.get(keys[0]!)
      return held?.endsWith(args[0]!) === true ? ['', held] : BODIES.TAKE(data, keys, args)
    }
  },
  // Nor do the others know the sign that it has put there.
  RENEW: {
    RENEW: (data, keys, args) => data.get(keys[0]!) === args[0] ? BODIES.RENEW(data, keys, args) : 0,
    FILL: (data, keys, args) => data.get(keys[1]!) === scripts.PASS + args[0]! ? 0 : BODIES.FILL(data, keys, args),
    RELEASE: (data, keys, args) => data.get(keys[0]!) === scripts.PASS + args[0]! ? 0 : BODIES.RELEASE(data, keys, args)
  },
  SOFTEN: {
    SOFTEN: (data, keys, args) => {
      if (args[0] !== '0') data.unlink(keys[3]!)
      return BODIES.SOFTEN(data, keys, args)
    }
  },
  INVALIDATE_ALL: {
    INVALIDATE_ALL: (data, keys, args) => {
      BODIES.INVALIDATE_ALL(data, keys, args)
      data.set(keys[0]!, args[0]! + data.get(keys[0]!)!.slice(12))
      return null
    }
  }
}

const before = (name: string): string => `before:${name}`

function bringBack (data: Held, name: string): void {
  const text = data.get(before(name))
  if (data.get(name) === null && text !== null) data.set(name, text)
}

/** Generations outlive a quarantine. */
const RETURNING: Required<Broken>['scripts'] = {
  QUARANTINE_TAGS: (data, keys, args) => {
    for (const name of keys) if (/^\d/.test(data.get(name) ?? '')) data.set(before(name), data.get(name)!)
    return BODIES.QUARANTINE_TAGS(data, keys, args)
  },
  CREATE: (data, keys, args) => {
    for (const name of keys.slice(3)) bringBack(data, name)
    return BODIES.CREATE(data, keys, args)
  },
  RESERVE: (data, keys, args) => {
    bringBack(data, keys[0]!)
    return BODIES.RESERVE(data, keys, args)
  }
}

/** The store with other methods. */
function replacing (store: Store, methods: Partial<Store>): Store {
  return new Proxy(store, {
    get: (target, name: keyof Store) => {
      const value: unknown = methods[name] ?? target[name]
      return typeof value === 'function' ? value.bind(target) as unknown : value
    }
  })
}

/** A store that reads something else. */
const reading = (change: (reading: Reading) => Partial<Reading>): Required<Broken>['store'] => (store) => replacing(store, {
  read: async (ask) => {
    const reading = await store.read(ask)
    return { ...reading, ...change(reading) }
  },
  ask: (ask, reader) => {
    const { failed } = reader
    store.ask(ask, { failed, read: (reading, left) => { reader.read({ ...reading, ...change(reading) }, left) } })
  },
  generations: async (tags) => {
    const validity = await store.generations(tags)
    const nothing = { main: null, varied: null, clock: null, isKept: false, isNear: false, token: null }
    return { ...validity, ...change({ ...nothing, ...validity }) }
  }
})

/** A store that says that a quarantine is on before it is. */
const hasty: Required<Broken>['store'] = (store) => replacing(store, {
  quarantine: async (...args) => {
    store.quarantine(...args).catch(() => {})
    return true
  }
})

/** In which modes it must be found; `seed`: with which that takes less long than with the one of all others. */
interface Break { modes: readonly string[], broken: Broken, seed?: number }

const GONE = ['keys that become stale, or are gone', 'keys that vary and become stale, or are gone']

/** As the script for who has the lease, whoever has it. */
const withoutItsLease: Body = (data, [lease, name, marker], [token, time, epoch]) => {
  const isThere = marker === undefined ? isEntry(data.get(name!)) : epochIn(data.get(marker)) === epoch
  if (isThere) data.unlink(name!)
  return BODIES.END(data, [lease!, name!], [token!, time!])
}

export const BREAKS: Record<string, Break> = {
  'a fill does not look at its lease': { modes: [...KEYS, ...MUTATED.slice(0, 1), 'keys that become stale', 'keys, softly'], broken: { scripts: { FILL: withoutLease(BODIES.FILL) } } },
  'an end does not look at its lease': { modes: GONE, broken: { scripts: { END: withoutItsLease } } },
  'an end leaves the entry': { modes: GONE, broken: { scripts: { END: keeping(BODIES.END, ([, name]) => [name!]) } } },
  'the end of a variant does not look at its marker': {
    seed: 1,
    modes: GONE.slice(1),
    broken: {
      scripts: {
        END: (data, keys, [token, time, epoch]) => {
          const marker = keys[2] === undefined ? null : data.get(keys[2])
          const present = marker === null || isEntry(marker) ? epoch : epochIn(marker)
          return BODIES.END(data, keys, present === undefined ? [token!, time!] : [token!, time!, present])
        }
      }
    }
  },
  'an invalidation leaves the lease': {
    modes: ['keys'],
    broken: {
      scripts: {
        INVALIDATE: keeping(BODIES.INVALIDATE, (keys, data) =>
          leasesOf(keys).filter((name) => data.get(name)?.startsWith('!') === false))
      }
    }
  },
  'an invalidation leaves the entry': {
    modes: ['keys', 'keys that vary'],
    broken: { scripts: { INVALIDATE: keeping(BODIES.INVALIDATE, entriesOf) } }
  },
  'the leases under a prefix are not found': { modes: ['a prefix'], broken: { isUnseen: (pattern) => pattern.startsWith('lease:') } },
  'making stale leaves the lease': {
    modes: ['keys, softly'],
    broken: { scripts: { SOFTEN: keeping(BODIES.SOFTEN, leasesOf) } }
  },
  'making stale leaves the entry fresh': {
    modes: ['keys, softly'], broken: { scripts: { SOFTEN: keeping(BODIES.SOFTEN, entriesOf) } }
  },
  'nobody looks at what makes a tag stale': {
    modes: ['tags, softly'], broken: { store: reading(({ softened }) => ({ softened: softened.map(() => 0) })) }
  },
  'a lease that was taken with a read is not given back': {
    modes: ['keys', 'tags of the policy'], broken: { store: reading(() => ({ token: null })) }
  },
  'a variant lands under any marker': {
    modes: ['keys that vary'],
    broken: {
      scripts: {
        FILL_VARIANT: (data, keys, [token, under, ...rest]) => {
          if (under !== '' && epochIn(data.get(keys[0]!)) !== under) under = ''
          return BODIES.FILL_VARIANT(data, keys, [token!, under!, ...rest])
        }
      }
    }
  },
  'a variant does not look at its lease': {
    modes: VARYING, broken: { scripts: { FILL_VARIANT: withoutLease(BODIES.FILL_VARIANT) } }
  },
  'the lease of a refused variant stays': {
    modes: VARYING,
    broken: {
      scripts: {
        FILL_VARIANT: (data, keys, args) => {
          const isStored = BODIES.FILL_VARIANT(data, keys, args)
          if (isStored === 0 && data.get(keys[1]!) === null) data.set(keys[1]!, 'nobody')
          return isStored
        }
      }
    }
  },
  'no generation is looked at': {
    modes: ['tags of the policy', 'tags of the response', 'tags of both, that vary', ...TAGS_MUTATED],
    broken: { store: reading(({ generations }) => ({ generations: generations.map(() => 0) })) }
  },
  'the clock that came with the generations is ahead': {
    modes: ['tags of the policy', 'tags of both, that vary'],
    broken: { store: reading(({ clock }) => ({ clock: clock === null ? null : clock + 1_000_000 })) }
  },
  'a tag is not invalidated': {
    modes: ['tags of the policy', 'tags of the response'],
    broken: { scripts: { INVALIDATE: keeping(BODIES.INVALIDATE, (keys) => keys.slice(3)), RAISE: nothing } }
  },
  'a generation can shrink': {
    seed: 9,
    modes: ['tags of the policy'],
    broken: {
      scripts: {
        RAISE: (data, [generation], [value, life]) => {
          data.set(generation!, value!, life!)
          return 1
        }
      }
    }
  },
  'a lost generation begins anew': {
    modes: ['tags of the policy', 'tags of the policy, mutated'],
    broken: {
      scripts: {
        CREATE: (data, [floor, clock, lastTag, ...generations], [history, life]) => {
          tick(data, [floor!, clock!, lastTag!], history!)
          for (const name of generations) data.setNew(name, '1', life!)
          return '1'
        }
      }
    }
  },
  'nobody keeps when a tag was last invalidated': {
    modes: ['tags of the response'],
    broken: {
      scripts: {
        INVALIDATE: keeping(BODIES.INVALIDATE, (keys) => keys.slice(2, 3)),
        ADVANCE: keeping(BODIES.ADVANCE, (keys) => keys.slice(2, 3))
      }
    }
  },
  'a lost clock begins no new history': {
    modes: ['tags of the policy'],
    broken: {
      scripts: {
        CREATE: inOldHistory(BODIES.CREATE),
        INVALIDATE: inOldHistory(BODIES.INVALIDATE),
        ADVANCE: inOldHistory(BODIES.ADVANCE)
      }
    }
  },
  'a quarantine does not occupy the name of the lease': {
    modes: MUTATED, broken: { scripts: claiming({ QUARANTINE_KEY: removing }) }
  },
  'a quarantine spares the lease of who fills': {
    modes: MUTATED,
    broken: {
      scripts: claiming({
        QUARANTINE_KEY: keeping(BODIES.QUARANTINE_KEY, (keys, data) =>
          leasesOf(keys).filter((name) => data.get(name)?.startsWith('!') === false))
      })
    }
  },
  'a quarantine leaves the entry': {
    modes: MUTATED,
    broken: { scripts: { QUARANTINE_KEY: keeping(BODIES.QUARANTINE_KEY, entriesOf) } }
  },
  'a quarantine of tags is none': {
    modes: TAGS_MUTATED, broken: { scripts: claiming({ QUARANTINE_TAGS: () => 1 }) }
  },
  'a quarantine of tags runs out, and their generations are as before': {
    modes: TAGS_MUTATED, broken: { scripts: claiming(RETURNING) }
  },
  'a quarantine of tags says nothing of unknown ones': {
    seed: 1,
    modes: ['tags of the response, mutated'],
    broken: { scripts: { QUARANTINE_ANY_TAG: nothing } }
  },
  'an invalidation ends quarantines of others': {
    seed: 2,
    modes: ['keys that vary, mutated', 'tags of the policy, mutated'],
    broken: { scripts: claiming(BLIND) }
  },
  'the work does not wait for its quarantine': {
    modes: [...MUTATED, ...TAGS_MUTATED, 'keys and tags, mutated'], broken: { store: hasty }
  },
  'everything is not invalidated': { modes: ['everything'], broken: { scripts: { INVALIDATE_ALL: nothing } } },
  'there is one history only': {
    modes: ['everything'],
    broken: {
      scripts: {
        FLOOR: inOneHistory(BODIES.FLOOR),
        INVALIDATE: inOneHistory(BODIES.INVALIDATE),
        ADVANCE: inOneHistory(BODIES.ADVANCE),
        CREATE: inOneHistory(BODIES.CREATE)
      }
    }
  },
  'nobody asks which servers run': {
    seed: 2,
    modes: ['keys, while servers restart', 'tags, while servers restart'],
    broken: { scripts: { FLOOR: FLOOR_OF_OLD } }
  },
  'nobody looks at histories': {
    modes: ['everything', 'keys, while servers restart'],
    broken: { store: reading(() => ({ history: 'historyhisto' })) }
  },
  'a call is done target by target': {
    modes: [
      'keys', 'keys that vary', 'tags', 'tags of the response', 'keys, of tags', 'tags, of keys', 'keys, of a prefix', 'a prefix, of keys',
      'keys, softly', 'keys, of tags, softly'
    ].map(madeOf),
    broken: { store: byTarget }
  },
  'the second step does not wait for the first': {
    modes: ['keys', 'tags', 'keys, of tags', 'tags, of a prefix', 'keys, softly', 'tags, softly'].map(madeOf),
    broken: { client: answering(FIRST_STEP, [0, 1]), scripts: claiming({}) }
  },
  'keys are not held': { modes: [madeOf('keys')], broken: { scripts: claiming({ QUARANTINE_KEY: () => [0, 1] }) } },
  'keys are not held, softly': {
    modes: ['keys, softly'].map(madeOf),
    broken: { scripts: claiming({ SOFTEN_KEY: secondly(BODIES.SOFTEN_KEY) }) }
  },
  'a tag is not held': { seed: 2, modes: [madeOf('one tag')], broken: { scripts: NOT_HELD } },
  'tags are not held': { modes: ['tags', 'tags of the response'].map(madeOf), broken: { scripts: NOT_HELD } },
  'a hold forgets the values of others': {
    seed: 5,
    modes: ['tags of the response'].map(madeOf),
    broken: { scripts: { RAISE: forgetting(BODIES.RAISE) } }
  },
  'prefixes are not held': {
    seed: 9,
    modes: ['keys, of a prefix'].map(madeOf),
    broken: { scripts: claiming({ HOLD_PREFIXES: () => 1 }) }
  },
  'nobody looks at what is invalid by its prefix': {
    modes: ['a prefix', 'keys, of a prefix', 'prefixes'].map(madeOf), broken: { store: reading(() => ({ least: 0 })) }
  },
  // Not where everything is invalidated: an entry has the history that was read with it, which is over then.
  'what is confirmed is filled whatever lies there': {
    modes: ['keys, confirmed', 'keys that vary, confirmed', 'a prefix, confirmed', 'tags, confirmed'], broken: { isBlind: true }
  },
  'a prefix is over before its names are removed': {
    modes: ['a prefix', ...['a prefix', 'tags, of a prefix'].map(madeOf)],
    broken: { isUnseen: (pattern) => !pattern.startsWith('lease:') }
  },
  ...Object.fromEntries(Object.entries(FORGETFUL).map(([name, scripts]) => [
    `${name} that arrives twice does not know itself`, { ...TWICE[name]!, broken: { scripts } }
  ]))
}
