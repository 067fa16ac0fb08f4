// The outcome of a request as attributes of its span, while that is open: set at the end of the lookup, and again if a
// stale entry stands in for the handler's error.
//
// OpenTelemetry's conventions have no attributes for caches. `cache.hit`, `cache.key` (a list) and `cache.ttl` are as
// Sentry's have them; the others follow OpenTelemetry's rules for names.
// https://getsentry.github.io/sentry-conventions/attributes/cache
// https://opentelemetry.io/docs/specs/semconv/general/naming/
import { trace as api, type Attributes, type Span } from '@opentelemetry/api'
import type { CacheEvents } from '../../index.js'
import { listen } from '../metrics/durations.js'
import type { Subject } from '../metrics/subject.js'

type Outcome = CacheEvents['lookup']['outcome']

/** Until the function that it returns is called. `withKey`: the key is an attribute, too. */
export function trace ({ cache }: Subject, withKey: boolean): () => void {
  const ends = [
    listen('lookup', ({ cache: teller, request, outcome }) => {
      // A call of getOrSet belongs to no request: the active span is somebody else's.
      if (teller === cache && request !== null) spanOf(request)?.setAttributes(attributesOf(outcome, withKey))
    }),
    listen('rescue', ({ cache: teller, request }) => {
      if (teller === cache) spanOf(request)?.setAttributes({ 'cache.outcome': 'stale', 'cache.reason': 'rescued' })
    })
  ]
  return () => { for (const end of ends) end() }
}

/** That of @fastify/otel, which has hooks and handlers in spans of their own; or the active one. */
function spanOf (request: object): Span | undefined {
  const { opentelemetry } = request as { opentelemetry?: () => { span?: Span | null } }
  return (typeof opentelemetry === 'function' ? opentelemetry.call(request).span : null) ?? api.getActiveSpan()
}

function attributesOf (outcome: Outcome, withKey: boolean): Attributes {
  const isServed = outcome.type === 'hit' || outcome.type === 'stale'
  const attributes: Attributes = { 'cache.outcome': outcome.type, 'cache.hit': isServed }
  const reason = reasonOf(outcome)
  if (reason !== null) attributes['cache.reason'] = reason
  if (withKey && outcome.type !== 'bypass') attributes['cache.key'] = [outcome.key]
  if (isServed) attributes['cache.ttl'] = outcome.ttl
  return attributes
}

/** Why it is not the plain case of its kind; null: it is. */
function reasonOf (outcome: Outcome): string | null {
  switch (outcome.type) {
    case 'bypass': return outcome.reason
    case 'hit': return outcome.collapsed ? 'collapsed' : null
    case 'stale': return outcome.ifError ? 'error' : null
    case 'miss': return outcome.forced ? 'forced' : null
  }
}
