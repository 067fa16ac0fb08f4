// Outcomes of a request of a cached route, and of its response, as closed unions.

/** Why a request went past the cache. */
export type BypassReason =
  /** `cache.enabled` is false. */
  | 'disabled'
  /** A hook, the validation or a time-out answered before the lookup was done. */
  | 'answered'
  /** The request carries `Authorization` (RFC 9111 §3.5). */
  | 'authorization'
  /** It has a header field that says who asks, such as X-Api-Key (`CREDENTIAL_HEADERS`, and the option `credentials`). */
  | 'credential'
  /** It has cookies other than those of analytics, or one of those that the option `cookies` names. */
  | 'cookie'
  /** The client has shown a certificate. */
  | 'certificate'
  /** A credential in the query, such as `access_token`, whose value the key lacks. */
  | 'query'
  /** A hook has put who asks on the request: `request.user`, `request.account`, `request.raw.user`, … */
  | 'user'
  /** A session that came with the request, or was changed by a hook. */
  | 'session'
  /** It has content, by which its handler may answer (RFC 9110 §9.3.1). */
  | 'content'
  /** It asks to go on in another protocol, a websocket for example (RFC 9110 §7.8). */
  | 'upgrade'
  /** Its target is no path of this host, or has a fragment (RFC 9112 §3.2). */
  | 'target'
  /** Params, query or headers are not valid: Fastify answers 400. */
  | 'invalid'
  /** The route runs behind guards of Nest's, or is made for each request, and does not say for whom its responses are. */
  | 'unsaid'
  /** The policy's `when` said no. */
  | 'when'
  /** The policy's `key` or `when` threw, or gave something that is no key. */
  | 'policy'
  /** The store failed or did not answer within the deadline. */
  | 'store'
  /** It was not asked: it has failed too often, and has not answered in time since. */
  | 'breaker'
  /** Invalidations could not be told to the store yet. */
  | 'journal'

/** Why a response was not stored. */
export type RefusalReason =
  /** Its status is not one that is stored. */
  | 'status'
  /** An error was raised, whatever status it was answered with. */
  | 'error'
  /** By the time of the answer the request had become somebody's own. */
  | 'credentials'
  /** It sets a cookie. */
  | 'set-cookie'
  /** Its Cache-Control says `no-store` (RFC 9111 §5.2.2.5). */
  | 'no-store'
  /** Its Cache-Control says `private` (RFC 9111 §5.2.2.7). */
  | 'private'
  /**
   * Its `Vary` is `*` (RFC 9111 §4.1); or it has none, where the responses under its key vary; or it is a value given to
   * the cache, and the policy has an `identity` or a `vary`.
   */
  | 'vary'
  /** It was sent past Fastify, or its head was: `reply.hijack()`, `reply.raw`. */
  | 'raw'
  /** Its bytes can't be known: an event stream, or a stream of an unknown kind. */
  | 'payload'
  /** The handler gave it trailers: they are made behind the body, for one client. */
  | 'trailer'
  /**
   * A `Response` beside which the handler set a status or fields on the reply, where other plugins' onSend hooks look on:
   * they would see a hit otherwise.
   */
  | 'response'
  /** It did not get through whole: the source failed, or the client left (RFC 9111 §3.3). */
  | 'incomplete'
  /** Its body is larger than `maxBodyBytes`, or than the store takes; or its header than `maxHeaderBytes`. */
  | 'size'
  /** A header that Node would not send. */
  | 'header'
  /** The handler called `reply.noCache()`. */
  | 'no-cache-called'
  /** `reply.noCache()`, or `reply.cacheTags()` with a new tag, was called when it was stored already: it was ended again. */
  | 'called-late'
  /** The policy's `storeIf` said no. */
  | 'store-if'
  /** The ttl is 0. */
  | 'ttl'
  /** The policy's `ttl` or `storeIf` threw, or gave something that is no duration. */
  | 'policy'
  /** The request was a HEAD: only GET fills. */
  | 'head'
  /** It was asked for a part of the response (`Range`), so what the handler sent may be one (RFC 9110 §14.2). */
  | 'range'
  /** Somebody else was filling the key, or it was invalidated while the handler ran. */
  | 'lease'
  /** As many requests as `maxWaiters` were waiting for others' handlers, so this one's ran as well. */
  | 'waiters'
  /** One of the tags that the handler named was invalidated while it ran. */
  | 'outdated'
  /** `cache.enabled` is false by now. */
  | 'disabled'
  /** A request of the cache's own did not come to it as its handler would have: the policy, or the key, is against it. */
  | 'diverted'
  /** The store failed. */
  | 'store'

/** Why a lookup finds nothing that it may serve, so that the handler runs. */
export type MissReason =
  /** Nothing lies there. */
  | 'absent'
  /** The stored entry has expired. */
  | 'expired'
  /** One of its tags was invalidated since its handler began, or is in quarantine, or its generation was lost. */
  | 'tag'
  /** Everything was invalidated since, or the server may have come back with an older memory. */
  | 'history'
  /** Its key was invalidated since, or varies by other fields now. */
  | 'epoch'
  /** It was stored without what the policy tells variants apart by now. */
  | 'vary'
  /** It is no entry of this build: another version's, somebody else's, or damaged. */
  | 'unreadable'
  /** The client asked for a fresh one, and the policy lets it. */
  | 'forced'

/** Why something stale is served. */
export type StaleReason =
  /** While one run of the handler makes the next one (RFC 5861 §3). */
  | 'stale-while-revalidate'
  /** As the handler failed just now (RFC 5861 §4). */
  | 'stale-if-error'

/** Why the cache has nothing to do with a request at all. */
export type UncachedReason =
  /** Neither GET nor HEAD. */
  | 'method'
  /** No route has this URL. */
  | 'not-found'
  /** Its route has no `cache` option. */
  | 'uncached'
  /** It did not come to the plugin. */
  | 'unseen'

/**
 * The end of a right to fill; 'abandoned': there was no response; 'replaced': the response of a refresh is not stored,
 * and has ended the entry.
 */
export type End = 'stored' | 'abandoned' | 'replaced' | RefusalReason | BypassReason

/** The cache's outcome for a request: one closed union, which feeds header, log and statistics. */
export type CacheOutcome =
  /** Served from the store, with this many seconds to live; `collapsed`: after waiting for another request's handler. */
  | { type: 'hit', key: string, ttl: number, collapsed: boolean }
  /**
   * Served from the store though its time was over, this many seconds ago (0 or less), and refreshed behind it. `ifError`:
   * as the handler failed, with this `status`; null: not this request's, which did not wait for it.
   */
  | { type: 'stale', key: string, ttl: number, ifError: boolean, status: number | null }
  /**
   * Not in the store, or (`forced`) not good enough for this client: the handler ran. `revalidated`: it was asked about the
   * stale entry, found nothing changed, and that was sent; absent: it was not so. `refused`: why the response is not stored,
   * for what it, the request or the policy is, as far as that is known when its header leaves; absent: nothing is against it
   * by then.
   */
  | { type: 'miss', key: string, forced: boolean, revalidated?: true, refused?: RefusalReason }
  /**
   * The store was not asked, or could not answer: the handler ran. `detail`: of a request that is somebody's own, by which
   * of several marks: `credential:x-api-key`.
   */
  | { type: 'bypass', reason: BypassReason, detail?: string }
  /**
   * No client's request, but one of the cache's own. `set`: a value stands for what the handler answers. `refresh`: the
   * key's entry was stale or near its end, and this is as the request that got it. `warm`: of `cache.warm`, and `explain`:
   * of `cache.explain`, whose key (null) is not known yet.
   */
  | { type: 'own', key: string | null, why: 'set' | 'refresh' | 'warm' | 'explain' }
