// Assertions about the outcome of a response. They throw node:assert's own error, which every test runner shows; its message
// names the actual outcome, and the reason.
import { AssertionError } from 'node:assert'
import { show } from '../../errors.js'
import type { BypassReason, RefusalReason, StaleReason } from '../../telling/outcome.js'
import { BYPASS_WORDS, REFUSAL_WORDS, STALE_WORDS } from '../../telling/reasons.js'
import { readCacheStatus, type AnyResponse, type Said } from './said.js'

/** Further expectations of a response. An absent one does not matter. */
export interface ResponseExpectation {
  /** The key, where the plugin's `cacheStatus` shows it: `cacheStatus: { key: true }`. */
  key?: string
  /** The cache's name in Cache-Status, where the plugin's `cacheStatus` gives it another. Default `fastify-route-cache`. */
  name?: string
}

/** Further expectations of a hit. */
export interface HitExpectation extends ResponseExpectation {
  /** Seconds that it is fresh yet. */
  ttl?: number
  /** Whether it waited for another request's handler. */
  collapsed?: boolean
}

/** Further expectations of a stale hit. */
export interface StaleExpectation extends ResponseExpectation {
  /** Why it was served. */
  reason?: StaleReason
  /** Seconds, 0 or less. */
  ttl?: number
}

/** Further expectations of a miss. */
export interface MissExpectation extends ResponseExpectation {
  /** Whether the client has forced it, by `Cache-Control: no-cache` on a route with `honourNoCache`. */
  forced?: boolean
  /** Why its response is not stored, where that is known when its header leaves; null: nothing is against it by then. */
  refused?: RefusalReason | null
}

type Expectation = Partial<Pick<Said, 'outcome' | 'reason' | 'refused' | 'ttl' | 'collapsed' | 'forced' | 'key'>>
type Check = (...args: never[]) => void

/**
 * The response was served from the cache, and is fresh. One that waited for another request's handler is a hit, too.
 * @throws AssertionError where it was not; RouteCacheError FRC_OPTION where it is no response
 */
export function assertHit (response: AnyResponse, { name, ...expected }: HitExpectation = {}): void {
  check(response, { outcome: 'hit', ...expected }, { name, by: assertHit })
}

/**
 * The response was served from the cache though its time was over.
 * @throws AssertionError where it was not; RouteCacheError FRC_OPTION where it is no response
 */
export function assertStale (response: AnyResponse, { name, ...expected }: StaleExpectation = {}): void {
  check(response, { outcome: 'stale', ...expected }, { name, by: assertStale })
}

/**
 * The response was not in the cache: the handler ran. Whether it was stored then, a next request tells; why it was not,
 * `refused`, as far as that was known when its header left.
 * @throws AssertionError where it was not so; RouteCacheError FRC_OPTION where it is no response
 */
export function assertMiss (response: AnyResponse, { name, ...expected }: MissExpectation = {}): void {
  check(response, { outcome: 'miss', ...expected }, { name, by: assertMiss })
}

/**
 * The request went past the cache, for this reason. Absent: for any.
 * @throws AssertionError where it did not; RouteCacheError FRC_OPTION where it is no response
 */
export function assertBypass (response: AnyResponse, reason?: BypassReason, { name }: ResponseExpectation = {}): void {
  check(response, { outcome: 'bypass', ...reason !== undefined && { reason } }, { name, by: assertBypass })
}

interface Context { name: string | undefined, by: Check }

function check (response: AnyResponse, expected: Expectation, { name, by }: Context): void {
  const said = readCacheStatus(response, { name })
  const isSo = (part: string): boolean => said !== null && said[part as keyof Said] === expected[part as keyof Expectation]
  const wanted = Object.keys(expected).filter((part) => expected[part as keyof Expectation] !== undefined)
  if (wanted.every(isSo)) return
  const actual = said === null ? null : Object.fromEntries(wanted.map((part) => [part, said[part as keyof Said]]))
  throw new AssertionError({
    message: `expected ${expectedText(expected)}, but ${said === null ? silence(response, name) : actualText(said)}`,
    actual,
    expected,
    operator: by.name,
    stackStartFn: by
  })
}

function expectedText ({ outcome, ...others }: Expectation): string {
  const parts = Object.entries(others).filter(([, value]) => value !== undefined).map(([name, value]) => `${name} ${show(value)}`)
  return `a ${outcome}${parts.length === 0 ? '' : ` with ${parts.join(', ')}`}`
}

function actualText (said: Said): string {
  const { outcome, reason, refused, ttl, collapsed, forced, member } = said
  const more = [
    ttl !== null && `ttl ${ttl}`, collapsed && 'after waiting for another request\'s handler', forced && 'forced by the client'
  ].filter((part) => part !== false)
  const known = reason ?? refused
  const why = known === null ? '' : ` (${known}): ${wordsOf(known, outcome)}`
  return `it was a ${outcome}${more.length === 0 ? '' : ` (${more.join(', ')})`}${why}\nCache-Status: ${member}`
}

/** A bypass and a refusal may have reasons of one name. */
function wordsOf (reason: string, outcome: Said['outcome']): string {
  if (outcome !== 'miss') return ({ ...BYPASS_WORDS, ...STALE_WORDS } as Readonly<Record<string, string>>)[reason] ?? reason
  return `its response is not stored: ${(REFUSAL_WORDS as Readonly<Record<string, string>>)[reason] ?? reason}`
}

function silence (response: object, name: string | undefined): string {
  const { statusCode, status } = response as { statusCode?: unknown, status?: unknown }
  const code = statusCode ?? status
  return `the response${typeof code === 'number' ? ` (status ${code})` : ''} has no Cache-Status` +
    `${name === undefined ? '' : ` of ${show(name)}`}: its route has no cache option, was declared before the plugin had ` +
    'loaded, or the plugin\'s cacheStatus is false'
}
