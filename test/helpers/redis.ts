// Redis for tests, by one import: single servers and clusters.
export { freePorts, RedisServer, startRedis, type ServerOptions } from './redis-instance.js'
export { RedisCluster, startCluster, type ClusterClientOptions, type ClusterShape } from './redis-cluster.js'
