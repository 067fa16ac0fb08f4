// Decorators that meet on one method, or on a method and its class: all of them count, or the app says which one does not.
import 'reflect-metadata'
import { Body, Controller, Get, Injectable, Logger, Module, Param, Post, Put, Req, type Type } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter, RouteConfig, type NestFastifyApplication } from '@nestjs/platform-fastify'
import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { Cached, Invalidates, RouteCache } from '../../plugin/extras/nest/index.js'
import { RouteCacheError, routeCache } from '../../plugin/index.js'
import { ask, open, redis } from './nest-site.js'

const OPEN = { shared: true } as const

/** As decorators do that know nothing of metadata. */
const Wrap: () => MethodDecorator = () => (_target, _name, descriptor) => {
  const inner = descriptor.value as unknown as (...args: unknown[]) => unknown
  descriptor.value = function (this: unknown, ...args: unknown[]) { return inner.apply(this, args) } as never
}

/** As those do that copy it. */
const Careful: () => MethodDecorator = () => (target, name, descriptor) => {
  const inner = descriptor.value as unknown as object
  Wrap()(target, name, descriptor)
  for (const key of Reflect.getMetadataKeys(inner)) {
    Reflect.defineMetadata(key, Reflect.getMetadata(key, inner), descriptor.value as unknown as object)
  }
}

t.test('two of @Invalidates on one method: both count', async (t) => {
  @Controller('pair')
  class Pair {
    @Get('a') @Cached({ key: 'ka', ...OPEN }) a () { return 'a' }
    @Get('b') @Cached({ key: 'kb', tags: ['b'], ...OPEN }) b () { return 'b' }
    @Get('c') @Cached({ key: 'kc:1', ...OPEN }) c () { return 'c' }
    @Post(':id') @Invalidates('ka') @Invalidates({ tags: ['b'] }) @Invalidates(['kc:{id}']) save (@Param('id') id: string) { return id }
  }
  const app = await open(t, { controllers: [Pair] })
  for (const name of ['a', 'b', 'c']) await ask(app, `/pair/${name}`)
  await ask(app, { url: '/pair/1', method: 'POST' })
  for (const name of ['a', 'b', 'c']) t.equal((await ask(app, `/pair/${name}`)).cache, 'fwd=miss', name)
})

t.test('what can\'t be put together is refused where it is written', async (t) => {
  class Twice { save () {} }
  const decorate = (target: object, ...decorators: MethodDecorator[]): void => {
    for (const one of decorators) one(target, 'save', Object.getOwnPropertyDescriptor(target, 'save')!)
  }
  const refused = (decorators: MethodDecorator[], message: RegExp): void => {
    class Own extends Twice { override save () {} }
    t.throws(() => { decorate(Own.prototype, ...decorators) }, { code: 'FRC_OPTION', message })
  }
  refused([Cached({ ttl: 5 }), Cached({ tags: ['a'] })], /^Own\.save: @Cached is there twice.*write one/)
  refused([Cached(), Cached(false)], /@Cached is there twice/)
  refused([Invalidates('a'), Invalidates(() => 'b')], /^Own\.save: @Invalidates is there twice, and one has a function/)
  refused([Invalidates({ invalidates: ['a'], onError: 'fail' }), Invalidates('b')], /onError/)
  class Class {}
  Cached()(Class)
  t.throws(() => { Cached(false)(Class) }, { message: /^Class: @Cached is there twice/ })
  class Below extends Class {}
  Cached(false)(Below)
  t.pass('a subclass has its own')
})

t.test('tags of a controller and of a method add up; other options replace', async (t) => {
  @Controller('tagged')
  @Cached({ tags: ['all'], ttl: 600, ...OPEN })
  class Tagged {
    @Get('list') @Cached({ tags: ['mine:{query.q}'], ttl: 60 }) list () { return 'list' }
    @Get('found') @Cached({ tags: (request) => [`asked:${(request.query as { q: string }).q}`] }) found () { return 'found' }
    @Get('none') @Cached({ ttl: 30 }) none () { return 'none' }
    @Post() @Invalidates({ tags: ['all'] }) post () { return 'posted' }
    @Post('x') @Invalidates({ tags: ['mine:x', 'asked:x'] }) postX () { return 'posted' }
  }
  const app = await open(t, { controllers: [Tagged] })
  const urls = ['/tagged/list?q=x', '/tagged/found?q=x', '/tagged/none?q=x']
  for (const url of urls) await ask(app, url)
  await ask(app, { url: '/tagged', method: 'POST' })
  for (const url of urls) t.equal((await ask(app, url)).cache, 'fwd=miss', url)
  t.match((await ask(app, urls[0]!)).headers['cache-status'], /hit; ttl=60/)
  await ask(app, { url: '/tagged/x', method: 'POST' })
  const after = []
  for (const url of urls) after.push((await ask(app, url)).cache)
  t.same(after, ['fwd=miss', 'fwd=miss', 'hit'])
})

t.test('a template beside a function of tags does not start', async (t) => {
  @Controller('mixed')
  @Cached({ tags: ['of:{query.q}'] })
  class Mixed {
    @Get() @Cached({ tags: () => ['a'] }) get () { return 'got' }
  }
  await t.rejects(open(t, { controllers: [Mixed] }), { code: 'FRC_OPTION', message: /^Mixed\.get: @Cached\.tags is .*a function/ })
})

t.test('a decorator that is lost below one that wraps does not start, and says so', async (t) => {
  class Base {
    @Get('a') @Wrap() @Cached(OPEN) get () { return 'got' }
  }
  @Controller('wrapped') class Reading extends Base {}
  @Controller('wrapped') class Writing {
    @Post() @Wrap() @Invalidates('a') post () { return 'posted' }
  }
  @Controller('wrapped') @Cached(OPEN) class Out {
    @Get() @Wrap() @Cached(false) get () { return 'got' }
  }
  @Injectable() class Service {
    @Wrap() @Cached() get () { return 'got' }
  }
  for (const [site, message] of [
    [{ controllers: [Reading] }, /^Reading\.get: @Cached has no effect.*write @Cached above/],
    [{ controllers: [Writing] }, /^Writing\.post: @Invalidates has no effect.*write @Invalidates above/],
    [{ controllers: [Out] }, /^Out\.get: @Cached has no effect/],
    [{ controllers: [], providers: [Service] }, /^Service\.get: .*@Cached/]
  ] as const) {
    await t.rejects(open(t, { controllers: [...site.controllers], providers: 'providers' in site ? [...site.providers] : [] }),
      { code: 'FRC_OPTION', message })
  }
  class Right {
    @Get('above') @Cached(OPEN) @Wrap() above () { return 'above' }
    @Get('careful') @Careful() @Cached(OPEN) careful () { return 'careful' }
    @Get('new') @Wrap() @Cached(OPEN) replaced () { return 'old' }
  }
  @Controller('right') class Below extends Right {
    @Get('new') override replaced () { return 'new' }
  }
  const adapters = [await open(t, { controllers: [Below] }), await open(t, { controllers: [Below] })]
  for (const app of adapters) {
    for (const name of ['above', 'careful']) {
      await ask(app, `/right/${name}`)
      t.equal((await ask(app, `/right/${name}`)).cache, 'hit', name)
    }
    t.equal((await ask(app, '/right/new')).body, 'new')
  }
})

t.test('@Invalidates on a cached method does not start', async (t) => {
  @Controller('double') @Cached(OPEN)
  class Double {
    @Get() @Invalidates('a') get () { return 'got' }
  }
  await t.rejects(open(t, { controllers: [Double] }), { code: 'FRC_OPTION', message: /^Double\.get: @Invalidates has no effect/ })
})

t.test('a plugin of main.ts does not read decorators, of paths with params either', async (t) => {
  @Controller('forgotten') class Reading {
    @Get(':id') @Cached() get (@Param('id') id: string) { return id }
  }
  @Controller('forgotten') class Configured {
    @Get(':id') @Cached() @RouteConfig({ own: 1 }) get (@Param('id') id: string) { return id }
  }
  @Controller('forgotten') class Writing {
    @Put(':id') @Invalidates('a:{id}') put (@Param('id') id: string) { return id }
  }
  @Controller('forgotten') class Out {
    @Get(':id') @Cached(false) get (@Param('id') id: string) { return id }
  }
  const start = async (controller: Type<object>): Promise<NestFastifyApplication> => {
    class Main {}
    Module({ controllers: [controller] })(Main)
    const quiet = { logger: false, abortOnError: false } as const
    const app = await NestFactory.create<NestFastifyApplication>(Main, new FastifyAdapter(), quiet)
    t.teardown(async () => { await app.close() })
    await app.register(routeCache)
    await app.init()
    await app.getHttpAdapter().getInstance().ready()
    return app
  }
  for (const controller of [Reading, Configured, Writing]) {
    await t.rejects(start(controller), { code: 'FRC_OPTION', message: /forgotten\/:id: @(Cached|Invalidates).*RouteCacheModule/ }, controller.name)
  }
  t.equal((await (await start(Out)).inject('/forgotten/7')).body, '7')
})

t.test('a function gives a list of names and targets; what is none is told, with method and verb', async (t) => {
  @Controller('found')
  class Found {
    @Get('a') @Cached({ key: 'fa', ...OPEN }) a () { return 'a' }
    @Get('b') @Cached({ key: 'fb', tags: ['t:1'], ...OPEN }) b () { return 'b' }
    @Post() @Invalidates(() => ['fa', { tags: ['t:1'] }]) post () { return 'posted' }
    @Post('strict') @Invalidates({ invalidates: () => [{ tags: ['t:1'] }], onError: 'fail' }) strict () { return 'posted' }
    @Put(':id') @Invalidates(() => ['fa', { tag: 'x' }] as never) wrong (@Body() _body: unknown) { return 'put' }
  }
  const app = await open(t, { controllers: [Found] })
  const lines: string[] = []
  const logger = { log () {}, warn () {}, error: (line: string) => { lines.push(line) } }
  Logger.overrideLogger(logger as never)
  t.teardown(() => { Logger.overrideLogger(false) })
  for (const name of ['a', 'b']) await ask(app, `/found/${name}`)
  await ask(app, { url: '/found', method: 'POST' })
  for (const name of ['a', 'b']) t.equal((await ask(app, `/found/${name}`)).cache, 'fwd=miss', name)
  await ask(app, { url: '/found/strict', method: 'POST' })
  t.equal((await ask(app, '/found/b')).cache, 'fwd=miss')
  t.equal((await ask(app, { url: '/found/7', method: 'PUT' })).status, 200)
  t.match(lines.join('\n'), /could not be told of the change by @Invalidates of Found\.wrong, PUT \/found\/:id, so nothing/)
})

t.test('errors of this package are 503 where Redis can\'t be told, also in Nest\'s own filter', async (t) => {
  @Controller('failing')
  class Failing {
    @Post() post (@Req() _request: FastifyRequest) { throw new RouteCacheError('FRC_STORE', 'redis://secret is away') }
    @Put() put () { throw new RouteCacheError('FRC_OPTION', 'wrong') }
  }
  const app = await open(t, { controllers: [Failing] })
  const response = await ask(app, { url: '/failing', method: 'POST' })
  t.same([response.status, JSON.parse(response.body)], [503, { statusCode: 503, message: 'Service Unavailable' }])
  t.equal((await ask(app, { url: '/failing', method: 'PUT' })).status, 500)
})

t.test('onError: "fail" is 503 where Redis is away', async (t) => {
  let runs = 0
  @Controller('strict')
  class Strict {
    @Put() @Invalidates({ invalidates: ['a'], onError: 'fail' }) put () { return ++runs }
  }
  const client = redis.duplicate()
  t.teardown(() => { client.disconnect() })
  const app = await open(t, { controllers: [Strict], options: { redis: client } })
  t.equal((await ask(app, { url: '/strict', method: 'PUT' })).status, 200)
  client.disconnect()
  t.equal((await ask(app, { url: '/strict', method: 'PUT' })).status, 503)
  t.equal(runs, 1)
})

t.test('the plugin beside the module, and a name that is taken: in Nest\'s words', async (t) => {
  const app = await open(t, { controllers: [] })
  t.ok(app.get(RouteCache))
  const registering = async (): Promise<void> => {
    await app.register(routeCache)
    await app.getHttpAdapter().getInstance().ready()
  }
  await t.rejects(open(t, { controllers: [], setUp: async (app) => { await app.register(routeCache) } }),
    { code: 'FRC_DECORATOR_TAKEN', message: /RouteCacheModule registers it.*main\.ts/ })
  await t.rejects(registering())
  const adapter = new FastifyAdapter()
  adapter.getInstance().decorate('cache', {} as never)
  await t.rejects(open(t, { controllers: [], adapter }), { code: 'FRC_DECORATOR_TAKEN', message: /RouteCacheModule\.forRoot\(\{ decorator: 'routeCache' \}\)/ })
})
