// `fastify-route-cache/nest`: the cache in apps of Nest on its Fastify adapter.
//
//   Nest's order           guards, interceptors, pipes, then the controller's method
//   a cached route         guards, interceptors, pipes, then the lookup; on a miss the method
//
// So a hit is served only to a request that everything of Nest's has let pass. What is stored is the whole response as Nest
// sent it, so status, header fields and streams are kept, and with it what interceptors made of the result. On a hit they
// get undefined, and end; what they make of that is dropped (method.ts).
export { Cached, Invalidates, type CachedOptions, type Invalidated, type InvalidatesOptions } from './decorators.js'
export { ROUTE_CACHE_OPTIONS, RouteCacheModule, type RouteCacheModuleAsyncOptions } from './module.js'
export { RouteCache } from '../../calls/route-cache.js'
