// What is invalidated, how, and what responses are made of: a mode for each way through the protocol.
import type { Targets } from '../../../plugin/cache/claim.js'

/** What is invalidated, what the policy says, and what only the handler does. */
export interface Mode {
  targets: Partial<Targets>
  /** The policy's tags. */
  known?: readonly string[]
  /** Those that the handler names. */
  late?: readonly string[]
  varies?: boolean
  restarts?: boolean
  /** Entries may be served stale, and refreshed; some are stale as soon as they are stored. */
  stale?: boolean
  /** Handlers answer, now and then, that there is no such page any more. */
  gone?: boolean
  /** Writers make them stale, no more: who begins then is served nothing older as fresh. */
  soft?: boolean
  /** Handlers are asked about stale entries, some of them in vain: they find nothing changed whatever the row is. */
  confirms?: boolean
  /** Writers mutate, most of them. */
  mutates?: boolean
  /** What responses are made of: of the first of these cached values, which is made of the next one, or of the row. */
  values?: readonly Value[]
}

/** What `getOrSet` keeps. */
export interface Value { key: string, tags: readonly string[] }

// On the Cluster of two, `k:1`, `v:a`, `k:a`, `t` and `u` are on one server; `k:2`, `v:b`, `k:b`, `s` and `w` on the other.
const KEYS = ['k:1', 'k:2']
const VALUES: readonly Value[] = [{ key: 'v:b', tags: [] }, { key: 'v:a', tags: [] }]
const VALUE_KEYS = VALUES.map(({ key }) => key)
const UNDER_PREFIX: readonly Value[] = [{ key: 'k:b', tags: [] }, { key: 'k:a', tags: [] }]
const TAGGED: readonly Value[] = [{ key: 'v:b', tags: ['w'] }, { key: 'v:a', tags: ['u'] }]
const TAGGED_ALIKE: readonly Value[] = TAGGED.map((value) => ({ ...value, tags: ['t'] }))
const ALL_KEYS = { keys: [...KEYS, ...VALUE_KEYS] }
const ALL_TAGS = { tags: ['t', 'u', 'w'] }

const PLAIN: Record<string, Mode> = {
  keys: { targets: { keys: KEYS } },
  'keys that vary': { targets: { keys: KEYS }, varies: true },
  'a prefix': { targets: { prefixes: ['k:'] } },
  'a prefix of keys that vary': { targets: { prefixes: ['k:'] }, varies: true },
  'tags of the policy': { targets: { tags: ['t'] }, known: ['s', 't'] },
  'tags of the response': { targets: { tags: ['t'] }, late: ['s', 't'] },
  'tags of both, that vary': { targets: { tags: ['s', 't'] }, known: ['s'], late: ['t'], varies: true },
  everything: { targets: { all: true }, known: ['s'], late: ['t'] },
  'keys that become stale': { targets: { keys: KEYS }, stale: true },
  'keys that vary and become stale': { targets: { keys: KEYS }, varies: true, stale: true },
  'keys that become stale, or are gone': { targets: { keys: KEYS }, stale: true, gone: true },
  'keys that vary and become stale, or are gone': { targets: { keys: KEYS }, varies: true, stale: true, gone: true },
  'tags, of what becomes stale': { targets: { tags: ['t'] }, known: ['s'], late: ['t'], stale: true },
  'keys, softly': { targets: { keys: KEYS }, stale: true, soft: true },
  'keys that vary, softly': { targets: { keys: KEYS }, varies: true, stale: true, soft: true },
  'tags, softly': { targets: { tags: ['t'] }, known: ['s'], late: ['t'], stale: true, soft: true },
  'keys, confirmed': { targets: { keys: KEYS }, stale: true, confirms: true },
  'keys that vary, confirmed': { targets: { keys: KEYS }, varies: true, stale: true, confirms: true },
  'a prefix, confirmed': { targets: { prefixes: ['k:'] }, stale: true, confirms: true },
  'tags, confirmed': { targets: { tags: ['t'] }, known: ['s'], late: ['t'], stale: true, confirms: true },
  'everything, confirmed': { targets: { all: true }, known: ['s'], late: ['t'], stale: true, confirms: true },
  'keys, mutated': { targets: { keys: KEYS }, mutates: true },
  'keys that vary, mutated': { targets: { keys: KEYS }, varies: true, mutates: true },
  'tags of the policy, mutated': { targets: { tags: ['t'] }, known: ['s', 't'], mutates: true },
  'tags of the response, mutated': { targets: { tags: ['t'] }, late: ['s', 't'], mutates: true },
  'keys and tags, mutated': { targets: { keys: KEYS, tags: ['t'] }, known: ['s'], late: ['t'], mutates: true },
  'keys, while servers restart': { targets: { keys: KEYS }, restarts: true },
  'tags, while servers restart': { targets: { tags: ['t'] }, known: ['s'], late: ['t'], restarts: true }
}

/** Responses that are made of cached values; one call names all of them. */
const COMPOSED: Record<string, Mode> = {
  'made of values: keys': { targets: ALL_KEYS, values: VALUES },
  'made of values: keys that vary': { targets: ALL_KEYS, values: VALUES, varies: true },
  'made of values: one tag': { targets: { tags: ['t'] }, known: ['t'], values: TAGGED_ALIKE },
  'made of values: tags': { targets: ALL_TAGS, known: ['t'], values: TAGGED },
  'made of values: tags of the response': { targets: ALL_TAGS, late: ['t'], values: TAGGED },
  'made of values: keys, of tags': { targets: { keys: KEYS, tags: ['u', 'w'] }, values: TAGGED },
  'made of values: tags, of keys': { targets: { keys: VALUE_KEYS, tags: ['t'] }, known: ['t'], values: VALUES },
  'made of values: a prefix': { targets: { prefixes: ['k:'] }, values: UNDER_PREFIX },
  'made of values: a prefix of keys that vary': { targets: { prefixes: ['k:'] }, values: UNDER_PREFIX, varies: true },
  'made of values: keys, of a prefix': { targets: { keys: KEYS, prefixes: ['v:'] }, values: VALUES },
  'made of values: a prefix, of keys': { targets: { keys: VALUE_KEYS, prefixes: ['k:'] }, values: VALUES },
  'made of values: tags, of a prefix': { targets: { tags: ['t'], prefixes: ['v:'] }, known: ['t'], values: VALUES },
  'made of values: prefixes': { targets: { prefixes: ['k:', 'v:'] }, values: VALUES },
  'made of values: a prefix, of tags': { targets: { tags: ['u', 'w'], prefixes: ['k:'] }, values: TAGGED },
  'made of values: everything': { targets: { all: true }, known: ['t'], values: VALUES },
  'made of values: keys, softly': { targets: ALL_KEYS, values: VALUES, stale: true, soft: true },
  'made of values: tags, softly': { targets: ALL_TAGS, known: ['t'], values: TAGGED, stale: true, soft: true },
  'made of values: keys, of tags, softly': { targets: { keys: KEYS, tags: ['u', 'w'] }, values: TAGGED, stale: true, soft: true },
  'made of values: tags, of keys, softly': {
    targets: { keys: VALUE_KEYS, tags: ['t'] }, known: ['t'], values: VALUES, stale: true, soft: true
  },
  'made of values: keys, mutated': { targets: ALL_KEYS, values: VALUES, mutates: true },
  'made of values: tags, mutated': { targets: ALL_TAGS, known: ['t'], values: TAGGED, mutates: true },
  'made of values: keys, of tags, mutated': { targets: { keys: KEYS, tags: ['u', 'w'] }, values: TAGGED, mutates: true },
  'made of values: keys, while servers restart': { targets: ALL_KEYS, values: VALUES, restarts: true },
  'made of values: tags, while servers restart': { targets: ALL_TAGS, known: ['t'], values: TAGGED, restarts: true }
}

export const MODES: Record<string, Mode> = { ...PLAIN, ...COMPOSED }
