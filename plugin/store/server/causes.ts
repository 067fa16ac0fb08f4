// The causes of a server's and a connection's errors in words, each with the likely mistake and what to write instead. No
// text has an address, a name of the user's, or a password: a client of the app may be answered with it.
import { WITHOUT_INFO } from './topology.js'

/** The advice for a server that is full, wherever it is given. */
export const ROOM = 'raise its maxmemory, or set its maxmemory-policy to volatile-lru'

const ONE_OF_CLUSTER = 'the server is one of a Cluster, and the client is for a single one: give the plugin new Cluster([{ host, port }]) of ' +
  'ioredis'
const NOT_TRUSTED = 'the server\'s certificate is not trusted: name its authority, by tls: { ca } or NODE_EXTRA_CA_CERTS in the environment'
const CUT = 'the connection was cut; a port for TLS does so to a client without it (rediss://, tls: {}), and a server that is no Redis'
const CLOSED = 'the connection is closed: the client was closed, or the other side has closed it, as a server does that stops, or that wants TLS (rediss://)'

/** By an error's code, or the first word of a server's. */
const MEANINGS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the name of the host can\'t be looked up now',
  ETIMEDOUT: 'no answer from there; to TLS (rediss://, tls) a port without it gives none',
  EHOSTUNREACH: 'no way to the host',
  ENETUNREACH: 'no way to the host\'s network',
  EPIPE: CUT,
  ECONNRESET: CUT,
  EPROTO: 'no TLS is spoken there: write redis:// in place of rediss:// (leave tls out)',
  ERR_SSL_WRONG_VERSION_NUMBER: 'no TLS is spoken there: write redis:// in place of rediss:// (leave tls out)',
  DEPTH_ZERO_SELF_SIGNED_CERT: NOT_TRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: NOT_TRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: NOT_TRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: NOT_TRUSTED,
  CERT_HAS_EXPIRED: 'the server\'s certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'the server\'s certificate is for another host: connect by a name that is in it, or set tls: { servername }',
  WRONGPASS: 'the password or the user name is wrong',
  NOAUTH: 'the server wants a password, and the client has none',
  NOPERM: 'the client\'s user lacks a right',
  OOM: `the server is full, and evicts nothing: ${ROOM}`,
  READONLY: 'the server is a replica, which takes no writes: connect to its primary',
  MASTERDOWN: 'the server is a replica that has lost its primary',
  MISCONF: 'the server can\'t write its snapshot, and takes no writes until it can',
  NOREPLICAS: 'the server has fewer replicas than it wants (min-replicas-to-write)',
  LOADING: 'the server still reads its memory from disk',
  MOVED: ONE_OF_CLUSTER,
  CROSSSLOT: ONE_OF_CLUSTER,
  CLUSTERDOWN: 'the Cluster lacks slots, or can\'t reach enough primaries'
}

/** By what a client says, where neither the server nor the system gives a word. */
const PHRASES: ReadonlyArray<[said: RegExp, meaning: string]> = [
  [/unknown command '?`?sentinel/i, 'what is given as a sentinel is a Redis: give it as the server ({ url }; --url), or the sentinels\' own ' +
    'addresses, with port 26379 as a rule'],
  [/No such master with that name/i, 'the sentinels know no servers by this name: give the one that their "sentinel monitor" line has (name; ' +
    '--master)'],
  [/All sentinels are unreachable/, 'no sentinel answers: look at their addresses, HOST:PORT with port 26379 as a rule, and their password ' +
    '(sentinelPassword; REDIS_SENTINEL_PASSWORD)'],
  [/cluster support disabled/i, 'the server is a single one, with cluster support disabled: give the plugin new Redis() of ioredis, and the ' +
    'command no --cluster'],
  [/RESP type 72\b|got "H"/, 'an HTTP server answers there, no Redis: look at host and port'],
  [/RESP type 21\b|got "\\x15"/, 'a server with TLS answers there: write rediss:// in place of redis:// (tls: {})'],
  [/RESP type|Protocol error/, 'what answers there is no Redis: look at host and port'],
  [/unknown command '?`?(?:m?get|set|eval(?:sha)?|unlink|scan|time)\b/i, 'the server does not know a command of Redis: it is a sentinel, which holds ' +
    'no data (give { sentinels: [{ host, port }], name }; --sentinel HOST:PORT --master NAME), or its commands were renamed'],
  [/client is closed|ClientClosed/i, 'the client is closed: it was not told to connect yet (await client.connect()), or was closed'],
  [/Connection is closed|max retries per request|Socket closed|Disconnects? client/i, CLOSED]
]

/** In words, by the first error of the chain that means something; null: none does. */
export function causeOf (error: unknown): string | null {
  for (let [one, depth] = [error, 0]; one != null && depth < 5; one = next(one), depth++) {
    const said = wordOf(one) ?? phraseOf(one)
    if (said !== null) return said
  }
  return null
}

function wordOf (error: object): string | null {
  const { code, message } = error as { code?: unknown, message?: unknown }
  const name = [String(code), .../\b[A-Z]{3,12}\b/.exec(String(message)) ?? []].find((name) => Object.hasOwn(MEANINGS, name))
  if (name === undefined) return null
  const command = name === 'NOPERM' ? /'[\w|]+'(?: or '[\w|]+')* command/.exec(String(message))?.[0] : undefined
  // Without it, nobody could tell a restart; topology.ts says the same of servers that don't know the command.
  const remedy = command === "'info' command" ? `; ${WITHOUT_INFO}` : ''
  return `${name}: ${MEANINGS[name]}${command === undefined ? '' : `, for the ${command}`}${remedy}`
}

function phraseOf (error: object): string | null {
  const { message } = error as { message?: unknown }
  return PHRASES.find(([said]) => said.test(String(message)))?.[1] ?? null
}

/** The error behind an error: one of several attempts, or that of the last node that a Cluster's client has tried. */
function next (error: object): object | null {
  const { cause, errors, lastNodeError } = error as { cause?: object, errors?: unknown, lastNodeError?: object }
  return cause ?? lastNodeError ?? (Array.isArray(errors) ? errors[0] as object : null)
}

// Nobody can be told "(it is not connected)" alone: a client's state says more.

/** Why a client can't be used that has said nothing itself, by its state. */
export function causeOfState (status: string, isTls: boolean): string {
  const orTls = isTls ? '' : ', or one that wants TLS (rediss://, tls: {})'
  const said: Readonly<Record<string, string>> = {
    wait: 'it is not connected: the client connects with its first command (lazyConnect)',
    end: 'it is not connected: the client was closed, or not told to connect (node-redis: await client.connect()); or the other side ended ' +
      `the connection without a word, a server that stops${orTls}`,
    connecting: `it is not connected: the connection${isTls ? ' (TCP, then TLS)' : ''} got no answer yet`,
    connect: `it is connected, and gives no answer: a server that was stopped or is busy, or no Redis${orTls}`
  }
  return said[status] ?? `it is not connected: the connection was closed without a word, by a server that stops${orTls}`
}
