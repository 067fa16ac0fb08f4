// Protocols that are wrong in one place each: the model has to find an interleaving for every one of them, or it holds
// nothing. What Redis does wrong is put into a script, what we do into a store.
import type { Reading, Store } from '../../../plugin/store/store.js'
import { BODIES, raise, tick, type Body, type Data } from './data.js'
import type { Broken } from './run.js'

const nothing: Body = () => 0
const KEYS = ['keys', 'a prefix']
const MUTATED = ['keys, mutated', 'keys that vary, mutated']
const TAGS_MUTATED = ['tags of the policy, mutated', 'tags of the response, mutated']
const VARYING = ['keys that vary', 'a prefix of keys that vary']

/** Of pairs of an entry and its lease. */
const leasesOf = (keys: readonly string[]): string[] => keys.filter((_, i) => i % 2 === 1)

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

const FLOOR_OF_OLD: Body = (data, keys, args) => {
  const floor = data.get(keys[0]!)
  if (floor === null || data.get(keys[1]!) === null) return BODIES.FLOOR(data, keys, args)
  return floor
}

type Kept = (keys: readonly string[], data: Data) => readonly string[]

/** As the script, but these names hold what they held. */
const keeping = (body: Body, kept: Kept): Body => (data, keys, args) => {
  const held = kept(keys, data).map((name) => [name, data.get(name)] as const)
  const reply = body(data, keys, args)
  for (const [name, text] of held) if (text !== null) data.set(name, text)
  return reply
}

/** As the scripts that invalidate, but where it says so they take no quarantine for one. */
const blindly = (isBlind: (token: string) => boolean): Required<Broken>['scripts'] => {
  const end = (data: Data, name: string, token: string): void => {
    if (isBlind(token) && data.get(name)?.startsWith('!') === true) data.unlink(name)
  }
  return {
    INVALIDATE: (data, keys, [token]) => {
      for (const lease of leasesOf(keys)) end(data, lease, token!)
      return BODIES.INVALIDATE(data, keys, [token!])
    },
    INVALIDATE_TAGS: (data, keys, args) => {
      for (const name of keys.slice(3)) end(data, name, args[2]!)
      return BODIES.INVALIDATE_TAGS(data, keys, args)
    },
    RAISE: (data, keys, args) => {
      end(data, keys[0]!, args[2]!)
      return BODIES.RAISE(data, keys, args)
    }
  }
}

const before = (name: string): string => `before:${name}`

function bringBack (data: Data, name: string): void {
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

/** A store that reads something else. */
const reading = (change: (reading: Reading) => Partial<Reading>): Required<Broken>['store'] => (store) => new Proxy(store, {
  get: (target, name: keyof Store) => {
    if (name === 'read') {
      return async (...args: Parameters<Store['read']>) => {
        const reading = await target.read(...args)
        return { ...reading, ...change(reading) }
      }
    }
    if (name === 'generations') {
      return async (...args: Parameters<Store['generations']>) => {
        const ground = await target.generations(...args)
        return { ...ground, ...change({ main: null, varied: null, isKept: false, isNear: false, ...ground }) }
      }
    }
    const value: unknown = target[name]
    return typeof value === 'function' ? value.bind(target) as unknown : value
  }
})

/** A store that says that a quarantine is on before it is. */
const hasty: Required<Broken>['store'] = (store) => new Proxy(store, {
  get: (target, name: keyof Store) => {
    if (name === 'quarantine') {
      return async (...args: Parameters<Store['quarantine']>) => {
        target.quarantine(...args).catch(() => {})
        return true
      }
    }
    const value: unknown = target[name]
    return typeof value === 'function' ? value.bind(target) as unknown : value
  }
})

/** In which modes it must be found. */
export const BREAKS: Record<string, { modes: readonly string[], broken: Broken }> = {
  'a fill does not look at its lease': { modes: [...KEYS, ...MUTATED.slice(0, 1), 'keys that become stale', 'keys, softly'], broken: { scripts: { FILL: withoutLease(BODIES.FILL) } } },
  'an invalidation leaves the lease': {
    modes: ['keys'],
    broken: { scripts: { INVALIDATE: (data, [entry]) => data.unlink(entry!) } }
  },
  'an invalidation leaves the entry': {
    modes: ['keys', 'keys that vary'],
    broken: { scripts: { INVALIDATE: (data, [, lease]) => data.unlink(lease!) } }
  },
  'the leases under a prefix are not found': { modes: ['a prefix'], broken: { isUnseen: (pattern) => pattern.startsWith('lease:') } },
  'making stale leaves the lease': {
    modes: ['keys, softly'],
    broken: {
      scripts: {
        SOFTEN_KEY: (data, keys, args) => {
          const held = leasesOf(keys).map((lease) => [lease, data.get(lease)] as const)
          const softened = BODIES.SOFTEN_KEY(data, keys, args)
          for (const [lease, token] of held) if (token !== null) data.set(lease, token)
          return softened
        }
      }
    }
  },
  'making stale leaves the entry fresh': {
    modes: ['keys, softly'], broken: { scripts: { SOFTEN_KEY: (data, keys) => data.unlink(...leasesOf(keys)) } }
  },
  'nobody looks at what makes a tag stale': {
    modes: ['tags, softly'], broken: { store: reading(({ softened }) => ({ softened: softened.map(() => 0) })) }
  },
  'a variant lands under any marker': {
    modes: ['keys that vary'],
    broken: {
      scripts: {
        FILL_VARIANT: (data, keys, [token, under, ...rest]) => {
          if (under !== '' && (data.get(keys[0]!) ?? '').slice(5, 17) !== under) under = ''
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
  'a tag is not invalidated': {
    modes: ['tags of the policy', 'tags of the response'],
    broken: {
      scripts: {
        INVALIDATE_TAGS: (data, keys, args) => BODIES.INVALIDATE_TAGS(data, keys.slice(0, 3), args), RAISE: nothing
      }
    }
  },
  'a generation can shrink': {
    modes: ['tags of the policy'],
    broken: { scripts: { RAISE: (data, [generation], [value, life]) => data.set(generation!, value!, life!) } }
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
        INVALIDATE_TAGS: (data, [floor, clock, lastTag, ...generations], [history, life]) => {
          const value = tick(data, [floor!, clock!, lastTag!], history!)
          for (const name of generations) raise(data, name, [value, life!])
          return value
        }
      }
    }
  },
  'a lost clock begins no new history': {
    modes: ['tags of the policy'],
    broken: { scripts: { CREATE: inOldHistory(BODIES.CREATE), INVALIDATE_TAGS: inOldHistory(BODIES.INVALIDATE_TAGS) } }
  },
  'a quarantine does not occupy the name of the lease': {
    modes: MUTATED, broken: { scripts: { QUARANTINE_KEY: (data, keys) => { data.unlink(...keys); return 1 } } }
  },
  'a quarantine spares the lease of who fills': {
    modes: MUTATED,
    broken: {
      scripts: {
        QUARANTINE_KEY: keeping(BODIES.QUARANTINE_KEY, (keys, data) =>
          leasesOf(keys).filter((name) => data.get(name)?.startsWith('!') === false))
      }
    }
  },
  'a quarantine leaves the entry': {
    modes: MUTATED,
    broken: { scripts: { QUARANTINE_KEY: keeping(BODIES.QUARANTINE_KEY, (keys) => keys.filter((_, i) => i % 2 === 0)) } }
  },
  'a quarantine of tags is none': { modes: TAGS_MUTATED, broken: { scripts: { QUARANTINE_TAGS: () => 1 } } },
  'a quarantine of tags runs out, and their generations are as before': {
    modes: TAGS_MUTATED, broken: { scripts: RETURNING }
  },
  'a quarantine of tags says nothing of unknown ones': {
    modes: ['tags of the response, mutated'], broken: { scripts: { QUARANTINE_ANY_TAG: nothing } }
  },
  'the end of a quarantine ends that of others': {
    modes: ['keys that vary, mutated', 'tags of the policy, mutated'], broken: { scripts: blindly((token) => token !== '') }
  },
  'an invalidation ends quarantines': {
    modes: ['keys that vary, mutated', 'tags of the policy, mutated'], broken: { scripts: blindly((token) => token === '') }
  },
  'the work does not wait for its quarantine': {
    modes: [...MUTATED, ...TAGS_MUTATED, 'keys and tags, mutated'], broken: { store: hasty }
  },
  'everything is not invalidated': { modes: ['everything'], broken: { scripts: { INVALIDATE_ALL: nothing } } },
  'there is one history only': {
    modes: ['everything'],
    broken: {
      scripts: {
        FLOOR: (data, keys, [runs]) => BODIES.FLOOR(data, keys, [runs!, 'historyhisto']),
        INVALIDATE_TAGS: (data, keys, [, life]) => BODIES.INVALIDATE_TAGS(data, keys, ['historyhisto', life!]),
        CREATE: (data, keys, [, life]) => BODIES.CREATE(data, keys, ['historyhisto', life!])
      }
    }
  },
  'nobody asks which servers run': {
    modes: ['keys, while servers restart', 'tags, while servers restart'],
    broken: { scripts: { FLOOR: FLOOR_OF_OLD } }
  },
  'nobody looks at histories': {
    modes: ['everything', 'keys, while servers restart'],
    broken: { store: reading(() => ({ history: 'historyhisto' })) }
  }
}
