// An app of Nest with the module, for the tests beside this file, and requests to it.
import 'reflect-metadata'
import { Module, type ExecutionContext, type Provider, type Type } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify'
import type { FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { RouteCache, RouteCacheModule } from '../../plugin/extras/nest/index.js'
import type { RouteCacheOptions } from '../../plugin/index.js'
import { startRedis } from '../helpers/redis.js'

const server = await startRedis()
t.teardown(async () => { await server.stop() })
export const redis = server.client()
await redis.ping()

export interface Site {
  controllers: Array<Type<object>>
  providers?: Provider[]
  options?: RouteCacheOptions
  /** As `main.ts` has it. */
  setUp?: (app: NestFastifyApplication) => unknown
  adapter?: FastifyAdapter
}

let prefixes = 0

/** An app with the module and these controllers; a process has one Redis for all. */
export async function open (
  t: Test, { controllers, providers = [], options = {}, setUp, adapter = new FastifyAdapter() }: Site
): Promise<NestFastifyApplication> {
  class App {}
  const cache = RouteCacheModule.forRoot({ redis, prefix: `nest-${++prefixes}`, deadline: 30, writeDeadline: 30, ...options })
  Module({ imports: [cache], controllers, providers })(App)
  const app = await NestFactory.create<NestFastifyApplication>(App, adapter, { logger: false, abortOnError: false })
  t.teardown(async () => { await app.close() })
  await setUp?.(app)
  await app.init()
  await app.getHttpAdapter().getInstance().ready()
  return app
}

export type Asked = { url: string, method?: 'GET' | 'HEAD' | 'PUT' | 'POST', headers?: Record<string, string> }

export async function ask (app: NestFastifyApplication, asked: string | Asked) {
  const response = await app.inject(asked)
  await app.get(RouteCache).settled()
  const { statusCode: status, headers, body } = response
  const cache = /; (hit|fwd=[a-z]+)/.exec(String(headers['cache-status']))?.[1] ?? null
  return { status, headers, body, cache }
}

export const requestOf = (context: ExecutionContext): FastifyRequest => context.switchToHttp().getRequest<FastifyRequest>()
