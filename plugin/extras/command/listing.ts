// The keys under which there is a response or a value, by a walk over the names in Redis.
import { escapeKey } from '../../key/key.js'
import { Keys } from '../../store/keys.js'
import { primariesOf } from '../../store/server/topology.js'
import type { CommandConnection } from './connection.js'

/** Names per step of the walk. */
const BATCH = 500

/** As they are stored, in order. A key that begins so and has variants is one. */
export async function listKeys ({ client, prefix }: CommandConnection, beginning: string): Promise<string[]> {
  const keys = new Keys(prefix)
  const escaped = escapeKey(beginning)
  const found = new Set<string>()
  for (const server of primariesOf(client)) {
    for (const pattern of [keys.entryPattern(escaped, ''), keys.variantPattern(escaped, '')]) {
      let cursor = '0'
      do {
        const [next, names] = await server.scan!(cursor, 'MATCH', pattern, 'COUNT', BATCH)
        cursor = String(next)
        for (const name of names) found.add(keyIn(name, prefix))
      } while (cursor !== '0')
    }
  }
  return [...found].sort()
}

/** `user:1` of `shop:user:1`, and of `{shop:user:1}:value`. Keys have no braces. */
function keyIn (name: string, prefix: string): string {
  const whole = name.startsWith('{') ? name.slice(1, name.indexOf('}')) : name
  return whole.slice(prefix.length + 1)
}
