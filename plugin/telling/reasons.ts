// Every reason in words: for explanations, for who looks at statistics, and for messages of tests. The types hold it
// complete: a reason without words does not compile.
import type { BypassReason, MissReason, RefusalReason, StaleReason, UncachedReason } from './outcome.js'

const WAY_OUT = 'and the route says neither shared nor identity: say cache: { identity: (request) => ... } where responses ' +
  'differ by user, or cache: { shared: true } where all may get the same'

/** Why a request went past the cache, and what to do about it. */
export const BYPASS_WORDS: Readonly<Record<BypassReason, string>> = {
  disabled: 'the cache is switched off (cache.enabled is false)',
  answered: 'a hook, the validation or a time-out answered before the lookup was done',
  authorization: `the request has an Authorization header ${WAY_OUT}`,
  credential: `the request has a header field that says who asks ${WAY_OUT}; or vary: [...], where the field selects the response`,
  cookie: `the request has cookies ${WAY_OUT}; or cookies: ['session'], where only some of them count`,
  certificate: `the client has shown a certificate ${WAY_OUT}`,
  query: `the query has a credential that is not in the key ${WAY_OUT}; or put it in the key`,
  user: `a hook has set request.user, or the like, ${WAY_OUT}`,
  session: `the request has a session ${WAY_OUT}`,
  content: 'the request is a GET with content, by which its handler may answer',
  upgrade: 'the request asks to go on in another protocol (Upgrade: websocket), which only the handler can do',
  target: 'its target is no path of this host (http://..., //...), or has a "#": a handler that puts request.url into its answer ' +
    'would put that into everybody\'s',
  invalid: 'its params, query or headers are not valid for the route\'s schema: Fastify answers 400',
  unsaid: `a guard of Nest's, a request-scoped provider or a decorator of a param may know who asks, ${WAY_OUT}; or vary or a key ` +
    'function, where something of the request selects the response',
  when: 'the route\'s cache.when said no',
  policy: 'a function of the route\'s policy (key, tags, identity or when) threw, or gave what it must not; the log has the error',
  store: 'the store failed, or did not answer within the deadline',
  breaker: 'the store is not asked, as it has failed too often; a probe finds out when it answers again',
  journal: 'the store could not be told of an invalidation yet, and nothing is served before it is'
}

/** Why a response was not stored, and what to do about it. */
export const REFUSAL_WORDS: Readonly<Record<RefusalReason, string>> = {
  status: 'its status is none that is stored: 200, and those of the route\'s cache.statuses',
  error: 'the handler or a hook threw',
  credentials: 'by the time of the answer the request had become somebody\'s own, by a session that the handler opened for example',
  'set-cookie': 'it sets a cookie, which is one client\'s own',
  'no-store': 'its Cache-Control says no-store',
  private: 'its Cache-Control says private',
  vary: 'its Vary is *, or it has none where other responses under its key vary, or a value was given for a route with ' +
    'an identity or a vary',
  raw: 'the handler or a hook sent it, or its head, past Fastify: reply.hijack(), reply.raw.writeHead(), reply.raw.write()',
  payload: 'its bytes can\'t be known: an event stream, or a stream of an unknown kind',
  trailer: 'the handler gave it trailers, which are made behind the body, for one client',
  response: 'the handler set a status or fields on the reply and sent a Response, where other plugins\' onSend hooks look on, which would see ' +
    'a hit otherwise; set all of them on the Response',
  incomplete: 'it did not get through whole: its source failed, or the client left',
  size: 'its body is larger than maxBodyBytes or than the store takes, or its header than maxHeaderBytes',
  header: 'it has a header field that Node would not send',
  'no-cache-called': 'the handler or a hook called reply.noCache()',
  'called-late': 'reply.noCache() or reply.cacheTags() was called when the response had been sent and was being stored, or had been: ' +
    'its key was invalidated; call them before reply.send() or return',
  'store-if': 'the route\'s cache.storeIf said no',
  ttl: 'its ttl is 0',
  policy: 'the route\'s cache.ttl or cache.storeIf threw, or gave what it must not; the log has the error',
  head: 'the request was a HEAD, and only GET fills',
  range: 'the request asked for a part of the response (Range), so what the handler sent may be one',
  lease: 'another request was filling the key, or it was invalidated while the handler ran',
  waiters: 'as many requests as maxWaiters were waiting for others\' handlers, so this one\'s ran as well',
  outdated: 'one of the tags that the handler named was invalidated while it ran',
  disabled: 'the cache was switched off while the handler ran',
  diverted: 'a request of the cache\'s own came to its handler with another key or variant, or past the cache',
  store: 'the store failed'
}

/** Why a lookup finds nothing that it may serve. */
export const MISS_WORDS: Readonly<Record<MissReason, string>> = {
  absent: 'nothing is stored for it',
  expired: 'what is stored has had its time',
  tag: 'a tag of what is stored was invalidated since, or can\'t be judged now',
  history: 'everything was invalidated since, or the store lost its memory',
  epoch: 'what is stored is of before its key was invalidated, or of before the key\'s responses varied by other fields',
  vary: 'what is stored does not tell apart what the route tells apart now (vary, identity or version)',
  unreadable: 'what lies there is no entry of this build: another version\'s, somebody else\'s, or damaged; the next fill overwrites it',
  forced: 'the client asked for a fresh response, and the route\'s cache.honourNoCache lets it'
}

/** Why something stale is served. */
export const STALE_WORDS: Readonly<Record<StaleReason, string>> = {
  'stale-while-revalidate': 'its time is over, and it is served while one run of the handler makes the next one',
  'stale-if-error': 'the handler failed just now, and what is stored stands in'
}

/** Why the cache has nothing to do with a request. */
export const UNCACHED_WORDS: Readonly<Record<UncachedReason, string>> = {
  method: 'only GET and HEAD requests are looked up in the cache',
  'not-found': 'no route has this URL',
  uncached: 'this route has no cache option, or was declared before the plugin had loaded',
  unseen: 'the request did not come to the plugin: a hook that was registered before it answered, or the route lies in a ' +
    'context that the plugin is not registered for'
}
