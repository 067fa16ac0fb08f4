// Where the command's Redis is, by its options and the environment.
import { toMilliseconds, type Milliseconds } from '../../duration.js'
import { RouteCacheError } from '../../errors.js'
import { readRedisUrl, RIGHT_URL } from '../../options/redis-url.js'
import type { Given } from './given.js'

export type Environment = Readonly<Record<string, string | undefined>>

export interface Address { host: string, port: number }

/** Where Redis is. */
export interface RedisPlace {
  mode: 'single' | 'cluster' | 'sentinel'
  /** The server's; of a Cluster some of its servers, of sentinels theirs. */
  addresses: Address[]
  /** The name that sentinels know the servers by. */
  master: string
  /** Of ioredis: user, password, TLS, database. */
  options: Record<string, unknown>
  timeout: Milliseconds
}

const HERE = 'redis://127.0.0.1:6379'
/** Of a command, which tries nothing again. */
const LONGEST: Milliseconds = 3_600_000

/** Throws FRC_OPTION. No message repeats what was given: it may have a password. */
export function readPlace (given: Given, env: Environment): RedisPlace {
  const { url: urls = [], sentinel: sentinels = [], cluster = false, master } = given
  if (cluster && sentinels.length > 0) throw refusal('--cluster and --sentinel: a server is one or the other')
  if ((master === undefined) !== (sentinels.length === 0)) throw refusal('--sentinel HOST:PORT and --master NAME go together')
  if (urls.length > 1 && !cluster) throw refusal('more than one --url is for --cluster')
  const texts = urls.length > 0 ? urls : (env['REDIS_URL'] ?? HERE).split(',')
  if (texts.length > 1 && !cluster) throw refusal('REDIS_URL has several URLs, which are for --cluster')
  const read = texts.map(readUrl)
  const password = env['REDIS_PASSWORD']
  const sentinelPassword = env['REDIS_SENTINEL_PASSWORD']
  const options = {
    ...read[0]!.options,
    ...password !== undefined && password !== '' && { password },
    ...sentinels.length > 0 && sentinelPassword !== undefined && sentinelPassword !== '' && { sentinelPassword }
  }
  const timeout = toMilliseconds(given.timeout ?? '5s')
  if (timeout === undefined || timeout === 0 || timeout > LONGEST) throw refusal('--timeout is a time such as 5s or 500ms, 1h at most')
  return {
    mode: cluster ? 'cluster' : sentinels.length > 0 ? 'sentinel' : 'single',
    addresses: sentinels.length > 0 ? sentinels.map(readAddress) : read.map(({ address }) => address),
    master: master ?? '',
    options,
    timeout
  }
}

export function refusal (message: string): RouteCacheError {
  return new RouteCacheError('FRC_OPTION', message)
}

function readUrl (text: string): { address: Address, options: Record<string, unknown> } {
  const url = readRedisUrl(text.trim())
  if (url === null) throw refusal(`a URL (--url, REDIS_URL) is no URL of Redis: ${RIGHT_URL}`)
  const { host, port, options } = url
  return { address: { host, port }, options }
}

function readAddress (text: string): Address {
  const [, host, port = '26379'] = /^([\w.-]+|\[[\da-f:]+\])(?::(\d{1,5}))?$/i.exec(text) ?? []
  if (host === undefined) throw refusal('--sentinel is HOST:PORT')
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) }
}
