// Methods that may answer each client otherwise and don't say so: no client gets what another was answered.
import 'reflect-metadata'
import {
  Controller, Get, Headers, Inject, Injectable, Scope, UseGuards, UseInterceptors, createParamDecorator, type CallHandler,
  type CanActivate, type ExecutionContext, type NestInterceptor, type Provider, type Type
} from '@nestjs/common'
import { APP_GUARD, APP_INTERCEPTOR, REQUEST } from '@nestjs/core'
import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { Cached, RouteCache, type CachedOptions } from '../../plugin/extras/nest/index.js'
import { ask, open, requestOf, type Site } from './nest-site.js'

/** A name that no list has. */
type Known = FastifyRequest & { partner?: string }

const partnerOf = (request: FastifyRequest): string => String(request.headers['x-partner-key'])

@Injectable()
class PartnerGuard implements CanActivate {
  canActivate (context: ExecutionContext) {
    const request = requestOf(context) as Known
    request.partner = partnerOf(request)
    return true
  }
}

@Injectable({ scope: Scope.REQUEST })
class ScopedPartnerGuard extends PartnerGuard {}

const Partner = createParamDecorator((_: unknown, context: ExecutionContext) => partnerOf(requestOf(context)))

@Injectable({ scope: Scope.REQUEST })
class Shop {
  readonly request: FastifyRequest
  constructor (@Inject(REQUEST) request: FastifyRequest) { this.request = request }
}

@Injectable({ scope: Scope.REQUEST, durable: true })
class DurableShop extends Shop {
  constructor (@Inject(REQUEST) request: FastifyRequest) { super(request) }
}

/** A service that is made for each request only because of what it is given. */
@Injectable()
class Prices {
  readonly shop: Shop
  constructor (@Inject(Shop) shop: Shop) { this.shop = shop }
}

@Injectable({ scope: Scope.REQUEST })
class ScopedInterceptor implements NestInterceptor {
  intercept (_context: ExecutionContext, next: CallHandler) { return next.handle() }
}

type Options = CachedOptions | undefined

function guarded (options: Options, ...decorators: Array<MethodDecorator | ClassDecorator>): Type<object> {
  @Controller('list')
  class List {
    @Get() @Cached(options)
    list (@Headers('x-lang') lang: string) { return `list ${lang}` }
  }
  for (const decorate of decorators) {
    if (decorate.length === 1) (decorate as ClassDecorator)(List)
    else (decorate as MethodDecorator)(List.prototype, 'list', Object.getOwnPropertyDescriptor(List.prototype, 'list')!)
  }
  return List
}

function withProvider (options: Options, token: Type<object>, providers: Provider[]): Partial<Site> & Pick<Site, 'controllers'> {
  @Controller('list')
  class List {
    readonly given: object
    constructor (@Inject(token) given: object) { this.given = given }
    @Get() @Cached(options)
    list () { return Object.keys(this.given).length }
  }
  return { controllers: [List], providers }
}

function withParam (options: Options): Type<object> {
  @Controller('list')
  class List {
    @Get() @Cached(options)
    list (@Partner() partner: string) { return `list of ${partner}` }
  }
  return List
}

function sites (options: Options): Record<string, Site> {
  const ofClass = (target: object): void => { UseGuards(PartnerGuard)(target as never) }
  return {
    'a guard of the method': { controllers: [guarded(options, UseGuards(PartnerGuard) as MethodDecorator)] },
    'a guard of the controller': { controllers: [guarded(options, ofClass as ClassDecorator)] },
    'a guard of the app': { controllers: [guarded(options)], setUp: (app) => app.useGlobalGuards(new PartnerGuard()) },
    'a guard of a module': { controllers: [guarded(options)], providers: [{ provide: APP_GUARD, useClass: PartnerGuard }] },
    'a guard for each request': { controllers: [guarded(options)], providers: [{ provide: APP_GUARD, useClass: ScopedPartnerGuard }] },
    'a provider for each request': withProvider(options, Shop, [Shop]),
    'a provider for each tenant': withProvider(options, DurableShop, [DurableShop]),
    'a provider that has one': withProvider(options, Prices, [Shop, Prices]),
    'an interceptor for each request': { controllers: [guarded(options, UseInterceptors(ScopedInterceptor) as MethodDecorator)] },
    'an interceptor for each request of the app': {
      controllers: [guarded(options)], providers: [{ provide: APP_INTERCEPTOR, useClass: ScopedInterceptor }]
    },
    'a decorator of a param': { controllers: [withParam(options)] }
  }
}

const ofAda = { url: '/list', headers: { 'x-partner-key': 'ada', 'x-lang': 'en' } }
const ofBob = { url: '/list', headers: { 'x-partner-key': 'bob', 'x-lang': 'en' } }

t.test('where nothing is said nobody is served another\'s, and one warning says what to write', async (t) => {
  for (const options of [undefined, { ttl: 60 }, { key: 'list', vary: [] }]) {
    for (const [name, site] of Object.entries(sites(options))) {
      const app = await open(t, site)
      for (const asked of [ofAda, ofBob, ofAda, ofBob, { ...ofBob, method: 'HEAD' as const }]) {
        const { status, cache, headers } = await ask(app, asked)
        t.match({ status, cache, said: headers['cache-status'] }, { status: 200, cache: 'fwd=bypass', said: /detail=unsaid/ }, name)
      }
      const { warnings } = app.get(RouteCache)
      t.match(warnings, [{ check: 'unsaid-user', concerned: ['GET /list'], message: /GET \/list \(.+\).*shared: true.*identity.*vary/ }], name)
      t.equal(warnings.length, 1)
      t.match(await app.get(RouteCache).explain('/list'), { reason: 'unsaid' })
      await app.close()
    }
  }
})

t.test('where it is said the responses are cached, as it says', async (t) => {
  const ways: Array<[options: CachedOptions, ofTheOther: string]> = [
    [{ shared: true }, 'hit'],
    [{ identity: (request) => partnerOf(request) }, 'fwd=miss'],
    [{ vary: ['x-partner-key'] }, 'fwd=miss'],
    [{ key: (request) => `list:${partnerOf(request)}` }, 'fwd=miss']
  ]
  for (const [options, ofTheOther] of ways) {
    for (const [name, site] of Object.entries(sites(options))) {
      const app = await open(t, site)
      t.match(await ask(app, ofAda), { cache: 'fwd=miss' }, name)
      t.match(await ask(app, ofAda), { cache: 'hit' }, name)
      t.match(await ask(app, ofBob), { cache: ofTheOther }, name)
      t.strictSame(app.get(RouteCache).warnings, [], name)
      await app.close()
    }
  }
})

t.test('a controller\'s own options count, and a method without any of this is cached as before', async (t) => {
  @Controller('said')
  @UseGuards(PartnerGuard)
  @Cached({ shared: true })
  class Said {
    @Get() @Cached({ ttl: 5 }) get () { return 'got' }
    @Get('other') @Cached({ shared: false }) other () { return 'other' }
  }
  @Controller('plain')
  class Plain {
    @Get() @Cached() get () { return 'got' }
  }
  const app = await open(t, { controllers: [Said, Plain] })
  for (const url of ['/said', '/plain']) {
    t.match(await ask(app, url), { cache: 'fwd=miss' })
    t.match(await ask(app, url), { cache: 'hit' })
  }
  t.match(await ask(app, '/said/other'), { cache: 'fwd=bypass' })
  t.match(app.get(RouteCache).warnings, [{ concerned: ['GET /said/other'], message: /PartnerGuard/ }])
  const quiet = await open(t, { controllers: [Said], options: { quiet: ['unsaid-user'] } })
  t.strictSame(quiet.get(RouteCache).warnings, [])
  t.match(await ask(quiet, '/said/other'), { cache: 'fwd=bypass' })
})
