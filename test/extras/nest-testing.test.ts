// Tests of apps with the module, as users write them: options and RouteCache replaced in a test module, spies, and many apps
// of the same controllers in one process.
import 'reflect-metadata'
import {
  Controller, Get, HttpException, Module, Param, Post, Put, UseGuards, type CallHandler, type CanActivate,
  type ExecutionContext, type NestInterceptor
} from '@nestjs/common'
import { APP_GUARD, APP_INTERCEPTOR, NestFactory } from '@nestjs/core'
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify'
import { Test } from '@nestjs/testing'
import { finalize, map } from 'rxjs'
import t from 'tap'
import { Cached, Invalidates, ROUTE_CACHE_OPTIONS, RouteCache, RouteCacheModule } from '../../plugin/extras/nest/index.js'
import { routeCache } from '../../plugin/index.js'
import { ask, open, redis, requestOf } from './nest-site.js'

let runs = 0

@Controller('items')
class Items {
  @Get(':id') @Cached({ key: 'item:{id}', shared: true })
  item (@Param('id') id: string) { return `item ${id}, run ${++runs}` }

  @Put(':id') @Invalidates('item:{id}', { tags: ['items', 'of:{id}'] })
  save (@Param('id') id: string) { return { id } }

  @Post(':id/one') @Invalidates('item:{id}')
  one () {}

  @Post(':id/fails') @Invalidates('item:{id}')
  fails () { throw new HttpException('no', 409) }

  @Post(':id/strict') @Invalidates({ invalidates: ['item:{id}'], onError: 'fail' })
  strict () {}

  @Post('made') @Invalidates((_request, _reply, payload: { id: string }) => ({ keys: [`item:${payload.id}`], prefix: 'list:' }))
  made () { return { id: '9' } }

  @Post('all') @Invalidates({ all: true })
  all () {}
}

class Shop {}
Module({ imports: [RouteCacheModule.forRoot({ redis, prefix: 'nest-testing' })], controllers: [Items] })(Shop)

async function start (app: NestFastifyApplication): Promise<NestFastifyApplication> {
  t.teardown(async () => { await app.close() })
  await app.init()
  await app.getHttpAdapter().getInstance().ready()
  return app
}

t.test('a mock in place of RouteCache is told what @Invalidates names; nothing is cached, and Redis left alone', async (t) => {
  const calls: unknown[] = []
  const mock = { invalidate: async (targets: unknown) => { calls.push(targets) } }
  const tested = await Test.createTestingModule({ imports: [Shop] }).overrideProvider(RouteCache).useValue(mock).compile()
  const app = await start(tested.createNestApplication<NestFastifyApplication>(new FastifyAdapter(), { logger: false }))
  t.equal(app.get(RouteCache), mock)
  t.equal(app.getHttpAdapter().getInstance().cache.redis, null)
  const post = async (method: 'PUT' | 'POST', url: string): Promise<number> => (await app.inject({ method, url })).statusCode
  t.equal(await post('PUT', '/items/7'), 200)
  t.equal(await post('POST', '/items/7/one'), 201)
  t.equal(await post('POST', '/items/7/fails'), 409)
  t.equal(await post('POST', '/items/7/strict'), 201)
  t.equal(await post('POST', '/items/made'), 201)
  t.equal(await post('POST', '/items/all'), 201)
  t.strictSame(calls, [
    { keys: ['item:7'], tags: ['items', 'of:7'] }, 'item:7', 'item:7', { keys: ['item:9'], prefix: ['list:'] }, { all: true }
  ])
  for (let i = 0; i < 2; i++) {
    const { headers } = await app.inject('/items/7')
    t.match(headers['cache-status'], /fwd=bypass; detail=disabled/)
  }
  const failing = { invalidate: async () => { throw new Error('down') } }
  for (const other of [failing, {}]) {
    const tested = await Test.createTestingModule({ imports: [Shop] }).overrideProvider(RouteCache).useValue(other).compile()
    const app = await start(tested.createNestApplication<NestFastifyApplication>(new FastifyAdapter(), { logger: false }))
    t.equal((await app.inject({ method: 'PUT', url: '/items/7' })).statusCode, 200, 'the answer stands, as it does with the cache')
  }
})

t.test('options of a test: switched off, or in the process; entries that are cleared; spies', async (t) => {
  const open = async (options: object): Promise<NestFastifyApplication> => {
    const testing = Test.createTestingModule({ imports: [Shop] })
    const tested = await testing.overrideProvider(ROUTE_CACHE_OPTIONS).useValue(options).compile()
    return await start(tested.createNestApplication<NestFastifyApplication>(new FastifyAdapter(), { logger: false }))
  }
  const off = await open({ enabled: false })
  for (let i = 0; i < 2; i++) t.match((await ask(off, '/items/7')).headers['cache-status'], /detail=disabled/)
  const app = await open({})
  const cache = app.get(RouteCache)
  t.equal(cache.redis, null)
  t.match(await ask(app, '/items/7'), { cache: 'fwd=miss' })
  t.match(await ask(app, '/items/7'), { cache: 'hit' })
  await cache.invalidate({ all: true })
  t.match(await ask(app, '/items/7'), { cache: 'fwd=miss' })
  // As spies of test runners do: they replace the method, and look for their own function there afterwards.
  const { invalidate } = cache
  const spy = Object.assign(async (targets: string) => await invalidate.call(cache, targets), { isSpy: true })
  cache.invalidate = spy as never
  t.equal(cache.invalidate as unknown, spy)
  t.equal(await cache.invalidate('item:7'), 1)
})

t.test('apps of the same classes, also started at once: to each its own guards, interceptors and options', async (t) => {
  @Controller('same')
  class Same {
    @Get() @Cached()
    get () { return 'got' }

    @Get('guarded') @Cached({ shared: true })
    @UseGuards({ canActivate: (context: ExecutionContext) => requestOf(context).headers['x-who'] !== 'bob' })
    guarded () { return 'got' }
  }
  const guard: CanActivate = { canActivate: (context) => Boolean(Object.assign(requestOf(context), { partner: 'ada' })) }
  const ended = { first: 0, second: 0 }
  const marking = (name: keyof typeof ended): NestInterceptor => ({
    intercept: (_: ExecutionContext, next: CallHandler) =>
      next.handle().pipe(map((value: unknown) => `${String(value)} by ${name}`), finalize(() => { ended[name]++ }))
  })
  const sites = [
    { providers: [{ provide: APP_GUARD, useValue: guard }] },
    {},
    { providers: [{ provide: APP_INTERCEPTOR, useValue: marking('first') }] },
    { providers: [{ provide: APP_INTERCEPTOR, useValue: marking('second') }] }
  ]
  for (const order of [[0, 1, 2, 3], [3, 2, 1, 0]]) {
    const opening = order.map(async (i) => [i, await open(t, { controllers: [Same], ...sites[i] })] as const)
    const apps = new Map(await Promise.all(opening))
    const [guarded, plain, first, second] = [0, 1, 2, 3].map((i) => apps.get(i)!)
    Object.assign(ended, { first: 0, second: 0 })
    for (const cache of ['fwd=miss', 'hit', 'hit']) {
      t.match(await ask(guarded!, '/same'), { body: 'got', cache: 'fwd=bypass' }, 'its guard is not said')
      t.match(await ask(plain!, '/same'), { body: 'got', cache })
      t.match(await ask(first!, '/same'), { body: 'got by first', cache })
      t.match(await ask(second!, '/same'), { body: 'got by second', cache })
      t.match(await ask(plain!, '/same/guarded'), { body: 'got', cache })
      t.match(await ask(plain!, { url: '/same/guarded', headers: { 'x-who': 'bob' } }), { status: 403 })
    }
    await new Promise(setImmediate)
    t.strictSame(ended, { first: 3, second: 3 })
  }
  class Without {}
  Module({ controllers: [Same] })(Without)
  const quiet = { logger: false, abortOnError: false } as const
  const bare = await NestFactory.create<NestFastifyApplication>(Without, new FastifyAdapter(), quiet)
  await start(bare)
  t.match(await bare.inject('/same'), { body: 'got', headers: { 'cache-status': undefined } }, 'without the module')
})

t.test('a plugin of main.ts does not read decorators: the app does not start', async (t) => {
  @Controller('forgotten')
  class Forgotten {
    @Get() @Cached() get () { return 'got' }
  }
  @Controller('forgotten')
  class Writing {
    @Post() @Invalidates('a') post () { return 'posted' }
  }
  for (const controller of [Forgotten, Writing]) {
    class Main {}
    Module({ controllers: [controller] })(Main)
    const quiet = { logger: false, abortOnError: false } as const
    const app = await NestFactory.create<NestFastifyApplication>(Main, new FastifyAdapter(), quiet)
    t.teardown(async () => { await app.close() })
    await app.register(routeCache)
    const starting = async (): Promise<void> => {
      await app.init()
      await app.getHttpAdapter().getInstance().ready()
    }
    await t.rejects(starting(), { code: 'FRC_OPTION', message: /forgotten: .*@(Cached|Invalidates).*RouteCacheModule/ })
  }
})
