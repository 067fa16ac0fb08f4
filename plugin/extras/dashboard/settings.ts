// The dashboard's options, checked.
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Duration, RouteCache } from '../../index.js'
import { DURATION_FORMS, LONGEST_TIMER, toMilliseconds, type Milliseconds } from '../../duration.js'
import { wallClock } from '../../store/wait/deadline.js'
import { optionError } from '../../errors.js'
import { readSubject } from '../metrics/subject.js'
import { hostname } from './hosts.js'

/** Lets a request through by giving `true`. Whatever else it gives is a refusal; it may answer, or throw, itself. */
export type Guard = (request: FastifyRequest, reply: FastifyReply) => unknown

/** The options of `dashboard`, beside Fastify's own (`prefix`: where it is). */
export interface DashboardOptions {
  /**
   * Who may see the dashboard and invalidate with it: called in onRequest for all that it serves. Only `true` lets through;
   * without an answer of its own, or an error that it throws, the rest is answered with 401.
   */
  guard?: Guard | undefined
  /**
   * `true`: everybody who reaches it may. In place of a guard: where hooks of your own stand in front, or on your own
   * machine. Default false.
   */
  public?: boolean | undefined
  /**
   * The names under which browsers reach the dashboard, without ports: `['ops.example.com']`. Requests with other names are
   * refused, so that a page of another site whose name is made to lead here (DNS rebinding) can't use it; `localhost` and IP
   * addresses may always be used. Default: no others with `public: true`; with a guard all.
   */
  hosts?: readonly string[] | undefined
  /** The cache. Default: `fastify.cache`. Needed if the plugin has another `decorator`. */
  cache?: RouteCache | undefined
  /** The name of this cache on the page. Default: the cache's `prefix`. */
  name?: string | undefined
  /** How often a process tells the others of its numbers while somebody looks. Default 2 seconds. Above 0. */
  interval?: Duration | undefined
  /** The time of day, in milliseconds since 1970, by which the curve is drawn. Default: the system's. For tests. */
  now?: (() => number) | undefined
}

export interface DashboardSettings {
  /** Null: public. */
  guard: Guard | null
  /** In lower case; null: every name is served. */
  hosts: readonly string[] | null
  cache: RouteCache
  name: string
  interval: Milliseconds
  now: () => Milliseconds
}

const WHERE = 'fastify-route-cache/dashboard'
const DEFAULT_INTERVAL: Milliseconds = 2_000
/** Fastify's own options of `register` come with ours. */
const NAMES = ['guard', 'public', 'interval', 'now', 'hosts', 'prefix', 'logLevel', 'logSerializers']

/** Throws FRC_OPTION for an unknown or wrong option, and for a dashboard without `guard` and `public`. */
export function readDashboardSettings (app: object, options: DashboardOptions): DashboardSettings {
  const { cache, name } = readSubject(WHERE, app, { options, names: NAMES })
  const { interval = DEFAULT_INTERVAL / 1000, now = wallClock } = options
  const time = toMilliseconds(interval)
  if (time === undefined || time === 0 || time > LONGEST_TIMER) throw optionError(WHERE, 'interval', interval, `${DURATION_FORMS}, above 0`)
  if (typeof now !== 'function') throw optionError(WHERE, 'now', now, 'it is a function that gives milliseconds')
  const guard = readGuard(options)
  return { guard, hosts: readHosts(options, guard === null), cache, name, interval: time, now }
}

function readHosts ({ hosts }: { hosts?: unknown }, isPublic: boolean): readonly string[] | null {
  if (hosts === undefined) return isPublic ? [] : null
  const names = Array.isArray(hosts) ? hosts.map((host) => (typeof host === 'string' ? hostname(host) : null)) : [null]
  const isRight = names.every((name, i) => name !== null && name === String((hosts as unknown[])[i]).toLowerCase())
  if (isRight) return names as string[]
  throw optionError(WHERE, 'hosts', hosts, 'it is a list of host names without ports, such as ["ops.example.com"]')
}

function readGuard ({ guard, public: isPublic }: { guard?: unknown, public?: unknown }): Guard | null {
  if (isPublic !== undefined && typeof isPublic !== 'boolean') throw optionError(WHERE, 'public', isPublic, 'it is true or false')
  if (guard === undefined) {
    if (isPublic === true) return null
    throw optionError(WHERE, 'guard', guard, 'whoever reaches the dashboard sees the cache and can invalidate it: say who may, ' +
      'guard: async (request, reply) => { await request.jwtVerify(); return request.user.isAdmin }, or public: true where ' +
      'hooks of your own stand in front')
  }
  if (isPublic === true) throw optionError(WHERE, 'public', true, 'there is a guard as well; leave out one of them')
  if (typeof guard !== 'function') throw optionError(WHERE, 'guard', guard, 'it is a function (request, reply) that gives true')
  if (guard.length > 2) {
    throw optionError(WHERE, 'guard', guard, 'a hook with a callback can\'t be one, as calling back would say nothing; add it as ' +
      'an onRequest hook around the dashboard, with public: true')
  }
  return guard as Guard
}
