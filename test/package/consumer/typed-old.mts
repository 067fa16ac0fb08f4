// A user's TypeScript with moduleResolution node10, which knows no subpaths of `exports`: it finds them by typesVersions.
import routeCache from 'fastify-route-cache'
import { createCache } from 'fastify-route-cache/client'
import { dashboard } from 'fastify-route-cache/dashboard'
import { RouteCacheModule } from 'fastify-route-cache/nest'
import { openTelemetry } from 'fastify-route-cache/opentelemetry'
import { postgresInvalidation } from 'fastify-route-cache/postgres'
import { prometheusMetrics } from 'fastify-route-cache/prometheus'
import { settled } from 'fastify-route-cache/testing'

export const found = [routeCache, createCache, dashboard, RouteCacheModule, openTelemetry, postgresInvalidation, prometheusMetrics, settled]
