// A URL of Redis, as an option or the command's environment has it. A password that was not percent-encoded makes another
// URL of it: what stands behind a "#", "?" or "/" is no part of the host, and what stands before it may be taken for one. So
// a URL with a member that none of Redis has is refused, and no message repeats the URL.

import { areNear } from '../key/key.js'

/** The right form, in words. */
export const RIGHT_URL = 'it begins with redis:// or rediss://, has a host, and a number for the database; special characters of a password ' +
  'are percent-encoded'

/** Where the server is, and the options of ioredis that the URL says. */
export interface UrlOfRedis { host: string, port: number, options: Record<string, unknown> }

/** Null: it is no URL of Redis. */
export function readRedisUrl (text: string): UrlOfRedis | null {
  // In small letters, as ioredis looks for them.
  if (!/^rediss?:\/\//.test(text)) return null
  try {
    const { protocol, hostname, port, username, password, pathname, search, hash, searchParams } = new URL(text)
    const [name, secret, db] = [decodeURIComponent(username), decodeURIComponent(password), pathname.slice(1)]
    const said = Object.fromEntries(searchParams)
    if (hostname === '' || search.includes('@') || hash !== '' || !isDatabase(db) || !isDatabase(said['db'])) return null
    return {
      host: hostname.replace(/^\[|\]$/g, ''),
      port: Number(port === '' ? 6379 : port),
      options: {
        ...said,
        ...said['family'] !== undefined && { family: Number(said['family']) },
        ...said['db'] !== undefined && { db: Number(said['db']) },
        ...name !== '' && { username: name },
        ...secret !== '' && { password: secret },
        ...db !== '' && { db: Number(db) },
        ...protocol === 'rediss:' && { tls: {} }
      }
    }
  } catch {
    return null
  }
}

/** Options of ioredis that say where the server is and who asks: a name that is nearly one of these is a mistake. */
const KNOWN = [
  'url', 'host', 'port', 'path', 'family', 'db', 'username', 'password', 'tls', 'sentinels', 'name', 'role', 'sentinelUsername',
  'sentinelPassword', 'enableTLSForSentinelMode', 'failoverDetector', 'keyPrefix', 'retryStrategy', 'connectTimeout', 'commandTimeout',
  'socketTimeout', 'keepAlive', 'noDelay', 'connectionName', 'lazyConnect', 'maxRetriesPerRequest', 'enableOfflineQueue',
  'enableReadyCheck', 'enableAutoPipelining', 'reconnectOnError', 'protocol', 'natMap'
]

/** The mistake in an option that says where Redis is, in words; null: there is none. */
export function mistakeInPlace (place: { url?: unknown, db?: unknown, port?: unknown }): string | null {
  const { url, db, port } = place
  for (const name of Object.keys(place).filter((name) => !KNOWN.includes(name))) {
    const meant = KNOWN.find((known) => name.toLowerCase() === known.toLowerCase() || areNear(name, known))
    if (meant !== undefined) return `redis.${name} is no option of ioredis: is ${meant} meant?`
  }
  if (typeof url === 'string' && !isSocket(url) && readRedisUrl(url) === null) return `redis.url is no URL of Redis: ${RIGHT_URL}`
  if (!isDatabase(db)) return 'redis.db is no number of a database'
  if (port !== undefined && port !== null && !/^\d{1,5}$/.test(String(port))) return 'redis.port is no number of a port'
  return null
}

/** A path of a socket of the system, which ioredis takes in place of a URL. */
function isSocket (url: string): boolean {
  return url.startsWith('/') && !url.startsWith('//') && isDatabase(new URLSearchParams(url.split('?')[1]).get('db'))
}

function isDatabase (db: unknown): boolean {
  return db === undefined || db === null || /^\d*$/.test(String(db))
}
