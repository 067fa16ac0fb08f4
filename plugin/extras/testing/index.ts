// For tests of apps: assertions about outcomes, waiting for work that the cache does after responses, a clock that is set
// by hand, a store that fails when told, and a cache without routes that needs no Redis.
export { assertBypass, assertHit, assertMiss, assertStale } from './assertions.js'
export type { HitExpectation, MissExpectation, ResponseExpectation, StaleExpectation } from './assertions.js'
export { readCacheStatus } from './said.js'
export type { AnyResponse, Said } from './said.js'
export { fakeClock } from './fake-clock.js'
export type { FakeClock } from './fake-clock.js'
export { faultyStore } from './faulty-store.js'
export type { Faults, FaultyStore } from './faulty-store.js'
export { inProcessCache } from './in-process-cache.js'
export type { InProcessCacheOptions } from './in-process-cache.js'
export { recovered, settled } from './settled.js'
export type { CachedApp } from './settled.js'
