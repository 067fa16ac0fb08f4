// Redis for tests, by one import: single servers, clusters, and groups with sentinels.
export { RedisServer, startRedis, type ServerOptions } from './redis-instance.js'
export { freePorts } from './redis-probe.js'
export { RedisCluster, startCluster, type ClusterClientOptions, type ClusterShape } from './redis-cluster.js'
export { RedisSentinel, startSentinel, type SentinelAddress, type SentinelShape } from './redis-sentinel.js'
