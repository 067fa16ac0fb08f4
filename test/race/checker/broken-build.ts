// The plugin without one of the checks that its promises rest on, for showing that the race checker finds what is then
// wrong: a checker that has never found anything proves nothing. Each is an edit of one file's text, made while it is
// compiled, in the mode where it shows.
import type { ModeName } from './workload.js'

export interface BrokenBuild {
  mode: ModeName
  /** Below plugin/. */
  file: string
  /** Stands there exactly once. */
  text: string
  replacement: string
}

export const BROKEN_BUILDS = {
  /** A fill stores whether it still has its lease or not. */
  lease: {
    mode: 'key',
    file: 'store/redis/scripts.ts',
    text: "if not isOwn(redis.call('GET', KEYS[2]), ARGV[1]) then return isStored(KEYS[1], ARGV[2]) and 1 or 0 end\n" +
      "redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])",
    replacement: "redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])"
  },
  /** An entry is valid whatever its tags' generations say. */
  generation: {
    mode: 'tag',
    file: 'entry/entry.ts',
    text: 'asOf >= validity.least &&\n    validity.generations.every(',
    replacement: 'asOf >= validity.least ||\n    validity.generations.every('
  },
  /** An entry is valid whatever memory the server came back with: shows with `--fault restart` or `failover`. */
  history: {
    mode: 'key',
    file: 'entry/entry.ts',
    text: 'return history === validity.history && asOf',
    replacement: 'return asOf'
  },
  /** Followers are handed what their leader has stored, without a look whether it is still true. */
  landing: {
    mode: 'tag',
    file: 'cache/fill.ts',
    text: 'await handOut(claim)',
    replacement: `this.#land(claim, { type: 'stored', stored: {
      entry: (await import('../entry/codec.js')).decode(bytes, key)!, members: [], variant: lease.variant, tags } })`
  },
  /** A quarantine drops the entry, and does not occupy the lease's name: shows where writers die, in `npm run race:kill`. */
  quarantine: {
    mode: 'mutate',
    file: 'store/redis/scripts.ts',
    // eslint-disable-next-line no-template-curly-in-string
    text: "had = math.min(had, occupy(KEYS[i + 1], '${QUARANTINE}', ARGV[1], ARGV[2]))",
    replacement: ''
  },
  /** A tag's quarantine ends with a generation that everything is above. */
  mutate: {
    mode: 'mutate',
    file: 'store/redis/joint-scripts.ts',
    text: 'change(KEYS[i], value, ARGV[6], token, true, raised)',
    replacement: "change(KEYS[i], isQuarantine(text(KEYS[i])) and '1' or value, ARGV[6], token, true, raised)"
  },
  /** A fill that is under way when its key is made stale lands. */
  soft: {
    mode: 'soft',
    file: 'store/redis/joint-scripts.ts',
    text: "if not isQuarantine(text(KEYS[i + 1])) then redis.call('DEL', KEYS[i + 1]) end\n  count",
    replacement: 'count'
  },
  /** The lease of a write-through is taken behind its work. */
  set: {
    mode: 'set',
    file: 'calls/write-through.ts',
    text: 'const right = await cache.seize(key, { tags: wanted.tags, waitTimeout })\n  const outcome = await attempt(work)',
    replacement: 'const outcome = await attempt(work)\n  const right = await cache.seize(key, { tags: wanted.tags, waitTimeout })'
  },
  /** Values stay when their key is invalidated. */
  value: {
    mode: 'getorset',
    file: 'store/keys.ts',
    text: 'return isValueKey(key) ? [key] : [key, valueKey(key)]',
    replacement: 'return [key]'
  },
  /** What is named in one call ends one after the other: shows where responses are made of cached values. */
  together: {
    mode: 'composed-keys',
    file: 'calls/invalidate.ts',
    text: 'invalidation.run(targets)',
    replacement: `(async (targets) => {
        const { apart } = await import('../key/target.js')
        for (const one of apart(targets)) await invalidation.run(one)
        return 0
      })(targets)`
  },
  /** What a route declares is invalidated when its client has the answer. */
  declared: {
    mode: 'declarative',
    file: 'writing/change.ts',
    text: ' : change?.conclude()\n',
    replacement: ' : (change != null && setTimeout(() => { change.conclude() }, 20), null)\n'
  },
  /** What a process itself writes stays in its tier until Redis tells of it: shows with `--memory`. */
  tier: {
    mode: 'key',
    file: 'store/redis/redis.ts',
    text: 'return this.#tiered === null ? work : work.finally(() => { drop(this.#tiered!) })',
    replacement: 'return work'
  },
  /** A tier is never told of others' changes: shows with `--memory`, beyond the tolerance. */
  deaf: {
    mode: 'key',
    file: 'store/tier/tracked-server.ts',
    text: 'if (changed.length > 0) onChange(changed)',
    replacement: ''
  },
  /** A prefix is invalidated by removing its entries only. */
  prefix: {
    mode: 'prefix',
    file: 'store/redis/prefix.ts',
    text: 'await this.#eachName(servers, leases, async (names) => await this.#inScripts(UNLINK_LEASES, names))',
    replacement: ''
  }
} as const satisfies Record<string, BrokenBuild>

export type BrokenBuildName = keyof typeof BROKEN_BUILDS

/** The text of one file of the plugin, with the edit if it is the file for it. */
export function edited (file: string, text: string, broken: BrokenBuild): string {
  if (file !== broken.file) return text
  const parts = text.split(broken.text)
  if (parts.length !== 2) throw new Error(`plugin/${file} has ${parts.length - 1} times, not once: ${broken.text}`)
  return parts.join(broken.replacement)
}
