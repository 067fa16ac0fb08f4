// Apps of Nest with the module: a hit is served to nobody whom something of Nest's refuses, what is served is all of the
// response that the method gave, and what is written wrongly does not start.
import 'reflect-metadata'
import {
  All, Catch, Controller, ForbiddenException, Get, Head, Header, Headers, HostParam, HttpCode, Inject, Injectable,
  Ip, Logger,
  RequestMapping, RequestMethod,
  Module, NotFoundException, Param, ParseIntPipe, Post, Put, Query, Redirect, Req, Res, Scope,
  ServiceUnavailableException, Session, SetMetadata, Sse, StreamableFile, UnauthorizedException, UseFilters,
  UseGuards, UseInterceptors, Version, VersioningType, createParamDecorator, type ArgumentsHost, type CallHandler,
  type CanActivate, type DynamicModule, type ExceptionFilter, type ExecutionContext, type NestInterceptor,
  type PipeTransform, type Type
} from '@nestjs/common'
import { APP_GUARD, APP_INTERCEPTOR, NestFactory, REQUEST, Reflector } from '@nestjs/core'
import { FastifyAdapter, RouteConfig, type NestFastifyApplication } from '@nestjs/platform-fastify'
import fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { Readable } from 'node:stream'
import { finalize, from, lastValueFrom, map, of, retry, throwError, timeout } from 'rxjs'
import t from 'tap'
import { Cached, Invalidates, RouteCache, RouteCacheModule } from '../../plugin/extras/nest/index.js'
import { routeCache, type RouteCacheOptions } from '../../plugin/index.js'
import { ask, open, redis, requestOf, type Asked, type Site } from './nest-site.js'

// Who may see: ada. Nobody else.
const mayPass = (request: { headers: Record<string, unknown> }): boolean => request.headers['x-who'] === 'ada'

@Injectable()
class Guard implements CanActivate {
  canActivate (context: ExecutionContext) { return mayPass(requestOf(context)) }
}

@Injectable()
class SlowGuard implements CanActivate {
  async canActivate (context: ExecutionContext) {
    await new Promise(setImmediate)
    return mayPass(requestOf(context))
  }
}

/** Who is named on the method or its class. */
@Injectable()
class Roles implements CanActivate {
  readonly reflector: Reflector
  constructor (reflector: Reflector) { this.reflector = reflector }
  canActivate (context: ExecutionContext) {
    const roles = this.reflector.getAllAndOverride<string[] | undefined>('roles', [context.getHandler(), context.getClass()])
    return roles === undefined || roles.includes(String(requestOf(context).headers['x-who']))
  }
}

@Injectable()
class ObservingGuard implements CanActivate {
  canActivate (context: ExecutionContext) { return of(mayPass(requestOf(context))) }
}

@Injectable()
class ThrowingGuard implements CanActivate {
  canActivate (context: ExecutionContext) {
    if (!mayPass(requestOf(context))) throw new UnauthorizedException()
    return true
  }
}

/** The user of one request. */
@Injectable({ scope: Scope.REQUEST })
class User {
  readonly request: FastifyRequest
  constructor (@Inject(REQUEST) request: FastifyRequest) { this.request = request }
}

@Injectable({ scope: Scope.REQUEST })
class ScopedGuard implements CanActivate {
  readonly user: User
  constructor (@Inject(User) user: User) { this.user = user }
  canActivate () { return mayPass(this.user.request) }
}

@Injectable()
class Refusing implements NestInterceptor {
  intercept (context: ExecutionContext, next: CallHandler) {
    if (!mayPass(requestOf(context))) throw new ForbiddenException()
    return next.handle()
  }
}

@Injectable()
class RefusingLater implements NestInterceptor {
  async intercept (context: ExecutionContext, next: CallHandler) {
    await new Promise(setImmediate)
    return mayPass(requestOf(context)) ? next.handle() : throwError(() => new ForbiddenException())
  }
}

@Injectable({ scope: Scope.REQUEST })
class ScopedPipe implements PipeTransform {
  readonly request: FastifyRequest
  constructor (@Inject(REQUEST) request: FastifyRequest) { this.request = request }
  async transform (value: unknown) {
    if (!mayPass(this.request)) throw new ForbiddenException()
    return value
  }
}

const Who = createParamDecorator((_data: unknown, context: ExecutionContext) => {
  if (!mayPass(requestOf(context))) throw new ForbiddenException()
  return 'ada'
})

const OPEN = { key: 'secret:{id}', ttl: 600, shared: true, tags: ['secrets'] } as const

/** A controller of its own for each way to refuse. */
function controllers (): Record<string, Site> {
  const decorated = (
    ofMethod: MethodDecorator | null, ofClass: ClassDecorator | null = null, options: object = {}
  ): Type<object> => {
    @Controller('secrets')
    class Secrets {
      @Get(':id') @Cached({ ...OPEN, ...options })
      secret (@Param('id') id: string) { return { secret: id } }
    }
    const { prototype } = Secrets
    ofMethod?.(prototype, 'secret', Object.getOwnPropertyDescriptor(prototype, 'secret')!)
    ofClass?.(Secrets)
    return Secrets
  }
  @Controller('secrets')
  class Piped {
    @Get(':id') @Cached(OPEN)
    secret (@Param('id', ScopedPipe) id: string) { return { secret: id } }
  }
  @Controller('secrets')
  class WithParam {
    @Get(':id') @Cached(OPEN)
    secret (@Param('id') id: string, @Who() who: string) { return { secret: id, who } }
  }
  @Controller({ path: 'secrets', scope: Scope.REQUEST })
  @UseGuards(Guard)
  class Scoped {
    readonly user: User
    constructor (@Inject(User) user: User) { this.user = user }
    @Get(':id') @Cached(OPEN)
    secret (@Param('id') id: string) { return { secret: id, who: this.user.request.headers['x-who'] } }
  }
  class Base {
    @Get(':id') @Cached(OPEN) @UseGuards(Guard)
    secret (@Param('id') id: string) { return { secret: id } }
  }
  @Controller('secrets')
  class Derived extends Base {}
  @Controller('secrets')
  @Cached({ shared: true })
  @UseGuards(Guard)
  class Whole {
    @Get(':id')
    secret (@Param('id') id: string) { return { secret: id } }
  }
  @Controller('secrets')
  @UseGuards(Guard)
  class Responding {
    @Get(':id') @Cached(OPEN)
    secret (@Param('id') id: string, @Res() reply: FastifyReply) { reply.send({ secret: id }) }
  }
  const plain = decorated(null)
  return {
    'a guard of the app, by useGlobalGuards': { controllers: [plain], setUp: (app) => app.useGlobalGuards(new Guard()) },
    'a guard of the app, by APP_GUARD': { controllers: [decorated(null)], providers: [{ provide: APP_GUARD, useClass: Guard }] },
    'a guard of the app for each request': {
      controllers: [decorated(null)], providers: [User, { provide: APP_GUARD, useClass: ScopedGuard }]
    },
    'a guard of the controller': { controllers: [decorated(null, UseGuards(Guard))] },
    'a guard of the method': { controllers: [decorated(UseGuards(Guard))] },
    'an async guard': { controllers: [decorated(UseGuards(SlowGuard))] },
    'a guard that gives an Observable': { controllers: [decorated(null, UseGuards(ObservingGuard))] },
    'a guard by roles, said above @Cached': { controllers: [decorated(SetMetadata('roles', ['ada']), UseGuards(Roles))] },
    'a guard by roles, said of the controller': {
      controllers: [decorated(null, (target) => { UseGuards(Roles)(target); SetMetadata('roles', ['ada'])(target) })]
    },
    'a guard that throws': { controllers: [decorated(UseGuards(ThrowingGuard))] },
    'a guard for each request': { controllers: [decorated(UseGuards(ScopedGuard))], providers: [User] },
    'an interceptor of the method': { controllers: [decorated(UseInterceptors(Refusing))] },
    'an interceptor of the controller': { controllers: [decorated(null, UseInterceptors(RefusingLater))] },
    'an interceptor of the app, by useGlobalInterceptors': {
      controllers: [decorated(null)], setUp: (app) => app.useGlobalInterceptors(new Refusing())
    },
    'an interceptor of the app, by APP_INTERCEPTOR': {
      controllers: [decorated(null)], providers: [{ provide: APP_INTERCEPTOR, useClass: RefusingLater }]
    },
    'a pipe for each request': { controllers: [Piped] },
    'a pipe of the app': { controllers: [WithParam], setUp: (app) => app.useGlobalPipes({ transform: (value: unknown) => value }) },
    'a decorator of a param': { controllers: [WithParam] },
    'a controller for each request': { controllers: [Scoped], providers: [User] },
    'an inherited method': { controllers: [Derived] },
    'a controller that is cached as a whole': { controllers: [Whole] },
    'a method that sends by itself': { controllers: [Responding] },
    'with staleWhileRevalidate': { controllers: [decorated(UseGuards(Guard), null, { staleWhileRevalidate: 600 })] },
    'a Fastify instance of the app\'s own': { controllers: [decorated(UseGuards(Guard))], adapter: new FastifyAdapter(fastify() as never) }
  }
}

const ATTEMPTS: Array<Omit<Asked, 'url'>> = [
  {}, { method: 'HEAD' }, { headers: { 'if-none-match': '*' } }, { headers: { 'if-modified-since': 'Fri, 01 Jan 2100 00:00:00 GMT' } },
  { headers: { range: 'bytes=0-3' } }, { headers: { 'cache-control': 'only-if-cached' } }, { headers: { 'cache-control': 'no-cache' } },
  { method: 'HEAD', headers: { 'if-none-match': '*' } }, { headers: { authorization: 'Bearer ada' } }, { headers: { cookie: 'who=ada' } }
]
const OTHERS = [{ 'x-who': 'bob' }, {}, { 'x-who': 'ADA' }, { 'x-who': 'ada, bob' }]

t.test('nobody is served whom something of Nest\'s refuses: by a hit, a 304, a HEAD, a part', async (t) => {
  let [attempts, leaks] = [0, 0]
  for (const [name, site] of Object.entries(controllers())) {
    await t.test(name, async (t) => {
      const app = await open(t, site)
      const asAda = { url: '/secrets/7', headers: { 'x-who': 'ada' } }
      t.match(await ask(app, asAda), { status: 200, cache: 'fwd=miss' })
      const filled = await ask(app, asAda)
      t.match(filled, { status: 200, cache: 'hit', body: /"secret":"7"/ })
      const withEtag = { headers: { 'if-none-match': String(filled.headers['etag']) } }
      for (const who of OTHERS) {
        for (const { method = 'GET', headers } of [...ATTEMPTS, withEtag as Omit<Asked, 'url'>]) {
          const { status, body, cache } = await ask(app, { url: '/secrets/7', method, headers: { ...headers, ...who } as never })
          attempts++
          if ((status !== 403 && status !== 401) || body.includes('"secret"') || cache === 'hit') leaks++
        }
      }
      t.match(await ask(app, { ...asAda, headers: { ...asAda.headers, ...withEtag.headers } }), { status: 304, cache: 'hit' })
      t.match(await ask(app, { ...asAda, method: 'HEAD' }), { status: 200, cache: 'hit', body: '' })
      await app.get(RouteCache).invalidate({ all: true })
      t.match(await ask(app, asAda), { status: 200, cache: 'fwd=miss' })
    })
  }
  t.comment(`${attempts} attempts, ${leaks} leaks`)
  t.equal(leaks, 0)
  t.ok(attempts > 900)
})

// What Nest's CacheInterceptor loses of a response.

@Injectable()
class Wrapping implements NestInterceptor {
  static ends = 0
  intercept (_context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(timeout(60_000), map((data: unknown) => ({ data })), finalize(() => { Wrapping.ends++ }))
  }
}

@Catch(NotFoundException)
class Gone implements ExceptionFilter {
  catch (error: NotFoundException, host: ArgumentsHost) {
    host.switchToHttp().getResponse<FastifyReply>().code(404).header('x-filter', 'gone').send({ gone: error.message })
  }
}

let runs = 0

@Controller('kept')
@Cached({ shared: true, ttl: 60, statuses: { 201: 60, 302: 60, 404: 60 } })
class Kept {
  @Get('status') @HttpCode(201)
  status () { return { run: ++runs } }

  @Get('headers') @Header('X-Kind', 'report') @Header('Content-Type', 'text/csv') @Header('Content-Language', 'en')
  headers () { return `run,${++runs}` }

  @Get('passthrough')
  passthrough (@Res({ passthrough: true }) reply: FastifyReply) {
    reply.code(201).header('x-run', ++runs)
    return { run: runs }
  }

  @Get('response')
  response (@Res() reply: FastifyReply) { reply.code(201).header('x-run', ++runs).send({ run: runs }) }

  @Get('later')
  later (@Req() request: FastifyRequest, @Res() reply: FastifyReply) {
    setImmediate(() => { reply.type('text/plain').send(`${request.url} ${++runs}`) })
  }

  @Get('file')
  file () {
    const parts = [Buffer.from(`run ${++runs}, `), Buffer.from([0, 255, 128])]
    return new StreamableFile(Readable.from(parts), { type: 'image/x', disposition: 'inline' })
  }

  @Get('buffer')
  buffer () { return Buffer.from([0, 255, ++runs]) }

  @Get('text')
  text () { return `run ${++runs}` }

  @Get('nothing')
  nothing () { runs++ }

  @Get('promise')
  async promise () { return await Promise.resolve({ run: ++runs }) }

  @Get('observable')
  observable () { return from([{ run: 0 }, { run: ++runs }]) }

  @Get('mapped') @UseInterceptors(Wrapping)
  mapped () { return { run: ++runs } }

  @Get('redirect') @Redirect('/elsewhere', 302)
  redirect () { return { url: `/elsewhere/${++runs}` } }

  @Get('missing') @UseFilters(Gone)
  missing () { throw new NotFoundException(`run ${++runs}`) }
}

t.test('a hit is the response that the method gave: status, header fields, body, stream', async (t) => {
  const app = await open(t, { controllers: [Kept] })
  const expected: Record<string, object> = {
    status: { status: 201 },
    headers: { status: 200, headers: { 'x-kind': 'report', 'content-type': 'text/csv', 'content-language': 'en' }, body: /^run,/ },
    passthrough: { status: 201, headers: { 'x-run': /^\d/ } },
    response: { status: 201, headers: { 'x-run': /^\d/ } },
    later: { status: 200, headers: { 'content-type': /^text\/plain/ } },
    file: { status: 200, headers: { 'content-type': 'image/x', 'content-disposition': 'inline' } },
    buffer: { status: 200, headers: { 'content-type': 'application/octet-stream' } },
    text: { status: 200, headers: { 'content-type': /^text\/plain/ } },
    nothing: { status: 200, body: '' },
    promise: { status: 200, body: /"run"/ },
    observable: { status: 200, body: /"run":[1-9]/ },
    mapped: { status: 200, body: /^\{"data":\{"run"/ },
    redirect: { status: 302, headers: { location: /^\/elsewhere\/\d/ } },
    missing: { status: 404, headers: { 'x-filter': 'gone' }, body: /"gone":"run/ }
  }
  // Of a stream the length, and the tag that is made of its bytes, are known when it is stored.
  const ofTheHit = ['cache-status', 'date', 'age', 'transfer-encoding', 'content-length', 'etag']
  const without = (headers: object): unknown => Object.entries(headers).filter(([name]) => !ofTheHit.includes(name)).sort()
  for (const [name, wanted] of Object.entries(expected)) {
    const miss = await ask(app, `/kept/${name}`)
    t.match(miss, { ...wanted, cache: 'fwd=miss' }, name)
    for (let i = 0; i < 2; i++) {
      const hit = await ask(app, `/kept/${name}`)
      t.match(hit, { ...wanted, cache: 'hit' }, `${name}: a hit`)
      t.equal(hit.body, miss.body, `${name}: its body`)
      t.strictSame(without(hit.headers), without(miss.headers), `${name}: its header fields`)
    }
  }
  t.equal(Wrapping.ends, 3, 'interceptors end on a hit, too')
})

t.test('a crowd is one run, whatever stands in front', async (t) => {
  let [runs, guards] = [0, 0]
  @Injectable()
  class Counting implements CanActivate {
    async canActivate () { return ++guards > 0 }
  }
  @Controller('slow')
  @UseGuards(Counting)
  class Slow {
    @Get(':id') @Cached({ shared: true })
    async one (@Param('id', ParseIntPipe) id: number) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      return { id, run: ++runs }
    }
  }
  const app = await open(t, { controllers: [Slow] })
  const answers = await Promise.all(Array.from({ length: 20 }, async () => await ask(app, '/slow/7')))
  t.strictSame([...new Set(answers.map(({ body }) => body))], ['{"id":7,"run":1}'])
  t.strictSame([runs, guards], [1, 20])
  t.match(await ask(app, '/slow/x'), { status: 400, cache: 'fwd=bypass' })
  t.equal(runs, 1)
})

// Who is told apart from whom.

t.test('versions: by the URL, a header field, the media type, a function', async (t) => {
  @Controller('things')
  class Things {
    @Get(':id') @Version('1') @Cached({ shared: true })
    first (@Param('id') id: string) { return `first ${id}` }

    @Get(':id') @Version('2') @Cached({ shared: true })
    second (@Param('id') id: string) { return `second ${id}` }

    @Get('of/:id') @Version(['1', '2']) @Cached({ shared: true, vary: ['x-version'] })
    both (@Req() { url, headers }: FastifyRequest) { return String(headers['x-version'] ?? headers.accept ?? url) }
  }
  const ways: Array<[name: string, type: object, ask: (version: string, path: string) => Asked]> = [
    ['uri', { type: VersioningType.URI }, (version, path) => ({ url: `/v${version}${path}` })],
    ['header', { type: VersioningType.HEADER, header: 'X-Version' }, (version, url) => ({ url, headers: { 'x-version': version } })],
    ['media type', { type: VersioningType.MEDIA_TYPE, key: 'v=' }, (version, url) => ({ url, headers: { accept: `application/json;v=${version}` } })],
    ['custom', { type: VersioningType.CUSTOM, extractor: ({ headers }: FastifyRequest) => String(headers['x-version']) },
      (version, url) => ({ url, headers: { 'x-version': version } })]
  ]
  for (const [name, versioning, asked] of ways) {
    const app = await open(t, { controllers: [Things], setUp: (app) => app.enableVersioning(versioning as never) })
    for (const cache of ['fwd=miss', 'hit']) {
      t.match(await ask(app, asked('1', '/things/7')), { body: 'first 7', cache }, `${name}, ${cache}`)
      t.match(await ask(app, asked('2', '/things/7')), { body: 'second 7', cache }, `${name}, ${cache}`)
      t.match(await ask(app, asked('1', '/things/of/7')), { body: /1/, cache }, `${name}, both, ${cache}`)
      t.match(await ask(app, asked('2', '/things/of/7')), { body: /2/, cache }, `${name}, both, ${cache}`)
    }
    if (name !== 'uri') t.match(await ask(app, asked('3', '/things/7')), { status: 404 })
  }
})

t.test('hosts of a controller, and users whom a guard has found', async (t) => {
  @Controller({ path: 'tenant', host: ':tenant.example.com' })
  class Tenants {
    @Get() @Cached({ key: 'tenant', shared: true })
    tenant (@HostParam('tenant') tenant: string) { return tenant }
  }
  @Injectable()
  class Login implements CanActivate {
    canActivate (context: ExecutionContext) {
      const request = requestOf(context)
      const { 'x-who': name, 'x-tenant': tenant = 'acme' } = request.headers
      if (name !== undefined) Object.assign(request, { user: { name, tenant } })
      return name !== undefined
    }
  }
  @Controller('me')
  @UseGuards(Login)
  class Me {
    @Get('own') @Cached<FastifyRequest & { user: { name: string, tenant: string } }>({
      key: 'own', identity: ({ user }) => [user.tenant, user.name]
    })
    own (@Req() { user }: { user: { name: string, tenant: string } }) { return `${user.tenant} ${user.name}` }

    @Get('unsaid') @Cached({ key: 'unsaid' })
    unsaid (@Req() { user }: { user: { name: string } }) { return user.name }
  }
  const app = await open(t, { controllers: [Tenants, Me] })
  for (const cache of ['fwd=miss', 'hit']) {
    for (const tenant of ['acme', 'umbrella']) {
      t.match(await ask(app, { url: '/tenant', headers: { host: `${tenant}.example.com` } }), { body: tenant, cache })
      for (const who of ['ada', 'bob']) {
        const headers = { 'x-who': who, 'x-tenant': tenant }
        t.match(await ask(app, { url: '/me/own', headers }), { body: `${tenant} ${who}`, cache })
        t.match(await ask(app, { url: '/me/unsaid', headers }), { body: who, cache: 'fwd=bypass' }, 'not said for whom')
      }
    }
    t.match(await ask(app, { url: '/tenant', headers: { host: 'example.com' } }), { status: 404 })
    t.match(await ask(app, '/me/own'), { status: 403 })
  }
})

// Writing.

t.test('a write invalidates where its method has succeeded, and nowhere else', async (t) => {
  @Catch(UnauthorizedException)
  class ToLogin implements ExceptionFilter {
    catch (_error: unknown, host: ArgumentsHost) {
      host.switchToHttp().getResponse<FastifyReply>().code(302).header('location', '/login').send()
    }
  }
  let reads = 0
  @Controller('items')
  @UseFilters(ToLogin)
  class Items {
    readonly cache: RouteCache
    constructor (cache: RouteCache) { this.cache = cache }

    @Get(':id') @Cached({ key: 'item:{id}', tags: ['items'], shared: true })
    item (@Param('id') id: string) { return { id, read: ++reads } }

    @Put(':id') @Invalidates('item:{id}') @UseGuards(ThrowingGuard)
    save (@Param('id', ParseIntPipe) id: number) {
      if (id === 8) throw new UnauthorizedException()
      if (id === 9) return throwError(() => new ForbiddenException())
      return { saved: id }
    }

    @Post(':id/strict') @Invalidates({ invalidates: [{ tags: ['items'] }], onError: 'fail' }) @UseGuards(ThrowingGuard)
    async strict (@Param('id') id: string) {
      if (id === '8') throw new ForbiddenException()
    }

    @Post(':id/made') @Invalidates((_request, _reply, payload: { made: string }) => `item:${payload.made}`)
    made (@Param('id') id: string) { return of({ made: id }) }

    @Post(':id/by-hand')
    async byHand (@Param('id') id: string) { await this.cache.invalidate(this.cache.key('item:{id}', { id })) }
  }
  const app = await open(t, { controllers: [Items] })
  const isKept = async (asked: Omit<Asked, 'url'> & { url: string }, status: number, id = 7): Promise<boolean> => {
    await ask(app, `/items/${id}`)
    t.equal((await ask(app, asked)).status, status)
    return (await ask(app, `/items/${id}`)).cache === 'hit'
  }
  const ada = { 'x-who': 'ada' }
  t.equal(await isKept({ url: '/items/7', method: 'PUT', headers: ada }, 200), false)
  t.equal(await isKept({ url: '/items/7', method: 'PUT' }, 302), true, 'refused by a guard, and sent to the login')
  t.equal(await isKept({ url: '/items/x', method: 'PUT', headers: ada }, 400), true, 'refused by a pipe')
  t.equal(await isKept({ url: '/items/8', method: 'PUT', headers: ada }, 302, 8), true, 'an error that a filter answers with 302')
  t.equal(await isKept({ url: '/items/9', method: 'PUT', headers: ada }, 403, 9), true)
  t.equal(await isKept({ url: '/items/7/strict', method: 'POST', headers: ada }, 201), false)
  t.equal(await isKept({ url: '/items/7/strict', method: 'POST' }, 302), true, 'no quarantine for who is refused')
  t.equal(await isKept({ url: '/items/8/strict', method: 'POST', headers: ada }, 403), false, 'it may have been written')
  t.equal(await isKept({ url: '/items/7/made', method: 'POST' }, 201), false)
  t.equal(await isKept({ url: '/items/7/by-hand', method: 'POST' }, 201), false)
})

// What does not start, and what starts.

@Injectable()
class CacheInterceptor implements NestInterceptor {
  intercept (_context: ExecutionContext, next: CallHandler) { return next.handle() }
}

t.test('a module that is imported twice, or without options, says so', async (t) => {
  const start = async (...imports: DynamicModule[]): Promise<unknown> => {
    class App {}
    Module({ imports })(App)
    return await NestFactory.create(App, new FastifyAdapter(), { logger: false, abortOnError: false })
  }
  await t.rejects(start(RouteCacheModule.forRoot({}), RouteCacheModule.forRootAsync({ useFactory: () => ({ prefix: 'b' }) })),
    { code: 'FRC_OPTION', message: /imported twice/ })
  await t.rejects(start(RouteCacheModule.forRootAsync({ useFactory: () => undefined as never })), { code: 'FRC_OPTION', message: /gave undefined/ })
  t.throws(() => RouteCacheModule.forRootAsync({ useClass: Service } as never), { code: 'FRC_OPTION', message: /useFactory/ })
  await t.rejects(start(RouteCacheModule as never), { code: 'FRC_OPTION', message: /RouteCacheModule\.forRoot/ })
  const nowhere = { code: 'FRC_OPTION', message: /^Service.*: @(Cached|Invalidates) stands on .*nowhere else/ }
  t.throws(() => { (Cached() as PropertyDecorator)(Service.prototype, 'property') }, nowhere)
  t.throws(() => { (Cached() as ParameterDecorator)(Service.prototype, 'item', 0) }, nowhere)
  t.throws(() => { (Invalidates('a') as unknown as ClassDecorator)(Service) }, nowhere)
  t.throws(() => { (Invalidates('a') as PropertyDecorator)(Service.prototype, 'property') }, nowhere)
  const own = (target: object, name: string): PropertyDescriptor => Object.getOwnPropertyDescriptor(target, name)!
  for (const decorate of [Cached(), Invalidates('a')]) {
    t.throws(() => { decorate(Service, 'all', own(Service, 'all')) }, { ...nowhere, message: /^Service\.all: @(Cached|Invalidates) stands on / }, 'static')
    t.throws(() => { decorate(Service.prototype, 'first', own(Service.prototype, 'first')) }, nowhere, 'an accessor')
  }
  t.throws(() => (Cached as unknown as ClassDecorator)(Service), { code: 'FRC_OPTION', message: /parentheses/ })
})

t.test('with Fastify\'s logger off, Nest\'s has the lines', async (t) => {
  const lines: string[] = []
  const write = (...words: unknown[]): void => { lines.push(words.join(' ')) }
  @Controller('lines')
  class Lines {
    @Get() @Cached({ key: 'lines' }) @UseGuards(ObservingGuard) get () { return 1 }
    @Post() @Invalidates(() => { throw new Error('no target') }) post () { return 1 }
    @Get('mine') @Cached({ key: 'mine', identity: () => undefined }) mine () { return 1 }
  }
  class App {}
  Module({ imports: [RouteCacheModule.forRoot({})], controllers: [Lines] })(App)
  const logger = { log: write, error: write, warn: write }
  const app = await NestFactory.create<NestFastifyApplication>(App, new FastifyAdapter(), { logger })
  t.teardown(async () => {
    await app.close()
    Logger.overrideLogger(['error'])
  })
  await app.init()
  t.equal((await app.inject({ method: 'POST', url: '/lines' })).statusCode, 201)
  t.equal((await app.inject({ url: '/lines/mine', headers: { authorization: 'Bearer ada' } })).statusCode, 200)
  for (const said of [/GET \/lines\/mine: requests with .*its identity gave undefined/, /no Redis client given.* RouteCache/, /not cached, as .*GET \/lines.* RouteCache/, /could not be told.*no target.* RouteCache/]) {
    t.ok(lines.some((line) => said.test(line)), String(said))
  }
})

t.test('warnings name method and decorator', async (t) => {
  @Controller('words')
  class Words {
    @Get(':id') @Cached({ key: 'word:{id}', ttl: '1m' }) word () { return 1 }
    @Get() @Cached({ key: 'words' }) list (@Query('page') _page: string) { return 1 }
    @Put(':id') @Invalidates({ tags: ['word:{id}'] }) tagged () { return 1 }
    @Post(':id') save () { return 1 }
  }
  const app = await open(t, { controllers: [Words] })
  for (let i = 0; i < 20; i++) await app.inject({ method: 'POST', url: '/words/7' })
  const messages = app.get(RouteCache).warnings.map(({ message }) => message)
  for (const said of [/route GET \/words \(Words\.list\): its key leaves out/, /route PUT \/words\/:id \(Words\.tagged\): the tag .* of GET \/words\/:id \(Words\.word\): write/,
    /route POST \/words\/:id: .* GET \/words\/:id \(Words\.word\) and .* are cached: .*Write @Invalidates\("word:\{id\}"\) in/]) {
    t.ok(messages.some((message) => said.test(message)), `${String(said)}\n${messages.join('\n')}`)
  }
})

@Injectable()
class Service {
  @Cached()
  item () { return 1 }

  static all (): number { return 1 }
  get first (): number { return 1 }
  set first (_value: number) {}
}

class OwnCacheInterceptor extends CacheInterceptor {}

t.test('what is written wrongly does not start, and says where', async (t) => {
  const controllerOf = (...decorators: MethodDecorator[]): Type<object> => {
    @Controller('items')
    class Items {
      item () { return 1 }
    }
    const { prototype } = Items
    for (const decorate of decorators) decorate(prototype, 'item', Object.getOwnPropertyDescriptor(prototype, 'item')!)
    return Items
  }
  const cases: Array<[name: string, site: Partial<Site> & Pick<Site, 'controllers'>, message: RegExp]> = [
    ['a raw route option', { controllers: [controllerOf(Get(), RouteConfig({ routeCache: true }))] },
      /route GET \/items: its cache option can't be used under Nest.*@Cached\(\).*RouteCacheModule.*guards: "skip"/],
    ['the same with a param', { controllers: [controllerOf(Get(':id'), RouteConfig({ routeCache: { ttl: 5 } }))] }, /route GET \/items\/:id: /],
    ['a rule for a path', { controllers: [controllerOf(Get())], options: { routes: [{ path: '/items', cache: true }] } }, /can't be used under Nest/],
    ['both', { controllers: [controllerOf(Get(), RouteConfig({ routeCache: true }), Cached())] }, /Items\.item: @RouteConfig is .*leave routeCache out/],
    ['an unknown option', { controllers: [controllerOf(Get(), Cached({ tll: 5 } as never))] }, /route GET \/items: cache\.tll is 5.*\(@Cached of Items\.item gives this route its options\)/],
    ['a place of its own', { controllers: [controllerOf(Get(), Cached({ hook: 'onRequest' } as never))] }, /Items\.item: @Cached\.hook is "onRequest"/],
    ['guards that are skipped', { controllers: [controllerOf(Get(), Cached({ guards: 'skip' } as never))] }, /@Cached\.guards/],
    ['no options', { controllers: [controllerOf(Get(), Cached('1m' as never))] }, /Items\.item: @Cached is "1m"; write @Cached\(\)/],
    ['a key with a param that is not there', { controllers: [controllerOf(Get(), Cached({ key: 'item:{params.id}' }))] }, /id/],
    ['one key for two versions', {
      controllers: [controllerOf(Get(), Version(['1', '2']), Cached({ key: 'item' }))],
      setUp: (app) => app.enableVersioning({ type: VersioningType.URI })
    }, /its key template makes the same keys/],
    ['many versions by a function', {
      controllers: [controllerOf(Get(), Version(['1', '2']), Cached())],
      setUp: (app) => app.enableVersioning({ type: VersioningType.CUSTOM, extractor: () => '1' })
    }, /Items\.item: @Version is \["1","2"\]/],
    ['a method that is no route', { controllers: [controllerOf(Cached())] }, /Items\.item: .*the method is no route/],
    ['a POST', { controllers: [controllerOf(Post(), Cached())] }, /Items\.item: @Cached stands beside @Post; only methods with @Get/],
    ['all methods', { controllers: [controllerOf(All(), Cached())] }, /only methods with @Get/],
    ['events', { controllers: [controllerOf(Sse(), Cached())] }, /Items\.item: .*a stream of events/],
    ['all verbs that invalidate', { controllers: [controllerOf(All(), Invalidates('item'))] }, /Items\.item: @Invalidates stands beside @All; .*a method for each/],
    ['many verbs', { controllers: [controllerOf(RequestMapping({ method: [RequestMethod.POST, RequestMethod.PUT] as never }), Invalidates('item'))] },
      /a method for each/],
    ['a name of the body', { controllers: [controllerOf(Post(), Invalidates('a:{id}'))] }, /route POST \/items: .*\{id\} is no param of its path/],
    ['a member of the body', { controllers: [controllerOf(Post(), Invalidates({ tags: ['a:{body.id}'] }))] }, /\{body\.id\} is no param/],
    ['another cache in front', { controllers: [controllerOf(Get(), Cached(), UseInterceptors(CacheInterceptor))] }, /Items\.item: .*CacheInterceptor/],
    ['one that extends it', { controllers: [controllerOf(Get(), Cached(), UseInterceptors(class extends CacheInterceptor {}))] }, /CacheInterceptor/],
    ['an instance that does, for all', {
      controllers: [controllerOf(Get(), Cached())], setUp: (app) => { app.useGlobalInterceptors(new OwnCacheInterceptor()) }
    }, /Items\.item: .*CacheInterceptor/],
    ['a provider that does', {
      controllers: [controllerOf(Get(), Cached())], providers: [{ provide: APP_INTERCEPTOR, useClass: OwnCacheInterceptor }]
    }, /Items\.item: .*CacheInterceptor/],
    ['one for each request', {
      controllers: [controllerOf(Get(), Cached())],
      providers: [{ provide: APP_INTERCEPTOR, useClass: OwnCacheInterceptor, scope: Scope.REQUEST }]
    }, /Items\.item: .*CacheInterceptor/],
    ['a HEAD', { controllers: [controllerOf(Head(), Cached())] }, /Items\.item: @Cached stands beside @Head; only methods with @Get/],
    ['many verbs that are cached', { controllers: [controllerOf(RequestMapping({ method: [RequestMethod.GET, RequestMethod.HEAD] as never }), Cached())] },
      /only methods with @Get/],
    ['a GET that invalidates', { controllers: [controllerOf(Get(), Invalidates('item'))] }, /only routes that change something have it/],
    ['a service', { controllers: [], providers: [Service] }, /Service\.item: .*inject RouteCache/]
  ]
  for (const [name, site, message] of cases) {
    const code = name.startsWith('one key') ? 'FRC_KEY_TAKEN' : 'FRC_OPTION'
    await t.rejects(open(t, site), { code, message }, name)
  }
})

t.test('without the module a raw route option does not start either, unless no guard matters', async (t) => {
  const start = async (option: object): Promise<NestFastifyApplication> => {
    @Controller('items')
    @UseGuards(Guard)
    class Items {
      @Get(':id') @RouteConfig({ routeCache: option })
      item () { return 'item' }
    }
    class App {}
    Module({ controllers: [Items] })(App)
    const quiet = { logger: false, abortOnError: false } as const
    const app = await NestFactory.create<NestFastifyApplication>(App, new FastifyAdapter(), quiet)
    t.teardown(async () => { await app.close() })
    await app.register(routeCache, { deadline: 30 })
    await app.init()
    await app.getHttpAdapter().getInstance().ready()
    return app
  }
  await t.rejects(start({ shared: true }), { code: 'FRC_OPTION', message: /can't be used under Nest/ })
  await t.rejects(start({ shared: true, guards: 'none' }), { code: 'FRC_OPTION', message: /cache\.guards is "none"; it is "skip"/ })
  const app = await start({ shared: true, guards: 'skip' })
  const headers = { 'x-who': 'ada' }
  t.equal((await app.inject({ url: '/items/7', headers })).statusCode, 200)
  await app.getHttpAdapter().getInstance().cache.settled()
  t.equal((await app.inject({ url: '/items/7' })).statusCode, 200, 'as it says')
})

t.test('routes that are not cached are as without the module; those that are keep what they had', async (t) => {
  const seen: string[] = []
  @Controller('plain')
  @Cached({ shared: true })
  class Plain {
    @Get('cached')
    cached () { return 'cached' }

    @Get('config') @RouteConfig({ mine: 1 }) @Cached({ ttl: 5 })
    config (@Req() { routeOptions: { config } }: FastifyRequest) { return { mine: (config as { mine?: number }).mine } }

    @Get('off') @Cached(false)
    off (...rest: unknown[]) { return rest.length }

    @Get('defaults')
    defaults (@Param('id') id = 'none', ...rest: unknown[]) { return { id, rest: rest.length } }

    @Post() post () { return 'posted' }

    @Sse('events') events () { return of({ data: 'event' }) }
  }
  const plain = new Plain()
  const app = await open(t, {
    controllers: [Plain],
    setUp: (app) => {
      app.setGlobalPrefix('api')
      app.enableCors({ origin: ['https://a.example', 'https://b.example'] })
      app.use((_request: unknown, _response: unknown, next: () => void) => {
        seen.push('middleware')
        next()
      })
    }
  })
  t.match(await ask(app, '/api/plain/off'), { body: '0', cache: null })
  t.match(await ask(app, { url: '/api/plain', method: 'POST' }), { status: 201, body: 'posted', cache: null })
  await app.listen(0, '127.0.0.1')
  const events = await fetch(`${await app.getUrl()}/api/plain/events`)
  t.match(await events.text(), /data: event/)
  t.equal(events.headers.get('cache-status'), null)
  for (const origin of ['https://a.example', 'https://b.example']) {
    const { headers, cache } = await ask(app, { url: '/api/plain/cached', headers: { origin } })
    t.equal(headers['access-control-allow-origin'], origin, 'the request\'s own')
    t.match(cache, /./)
  }
  t.match(await ask(app, '/api/plain/config'), { body: '{"mine":1}', headers: { 'cache-status': /fwd=miss/ } })
  t.match(await ask(app, '/api/plain/config'), { headers: { 'cache-status': /hit; ttl=5/ } })
  t.match(await ask(app, '/api/plain/defaults'), { body: '{"id":"none","rest":0}' })
  t.match(await ask(app, '/api/plain/nothing'), { status: 404 })
  t.equal(seen.length, 9, 'middleware runs for hits, too')
  t.strictSame(plain.defaults(), { id: 'none', rest: 0 }, 'called by a unit test')
})

t.test('what a method takes of a client selects the response, or does not start', async (t) => {
  @Controller('taken')
  class Taken {
    @Get('language') @Cached({ key: 'language' })
    language (@Headers('Accept-Language') language: string) { return String(language) }

    @Get('list') @Cached({ key: 'list:{query.page}' })
    list (@Query('page') page: string, @Query('filter') filter: string) { return `${page} ${filter}` }

    @Get('said') @Cached({ key: 'said', identity: ({ ip }) => ip })
    said (@Ip() ip: string, @Headers() headers: object) { return `${ip} ${Object.keys(headers).length}` }
  }
  const app = await open(t, { controllers: [Taken] })
  for (const cache of ['fwd=miss', 'hit']) {
    for (const language of ['de', 'en']) {
      t.match(await ask(app, { url: '/taken/language', headers: { 'accept-language': language } }), { body: language, cache })
    }
    t.match(await ask(app, '/taken/said'), { status: 200, cache })
  }
  const message = /its handler takes \(filter\).*\{query\.filter\}/
  t.match(app.get(RouteCache).warnings, [{ check: 'query-left-out', message }])
  @Controller('whole')
  class Whole {
    @Get('none') @Cached({ key: 'none' }) none (@Query() query: object) { return query }
    @Get('some') @Cached({ key: 'some:{query.page}' }) some (@Query() query: object) { return query }
    @Get('all') @Cached() all (@Query() query: object) { return query }
  }
  const whole = await open(t, { controllers: [Whole] })
  t.match(whole.get(RouteCache).warnings, [{ check: 'query-left-out', route: 'GET /whole/none', message: /takes the whole query/ }])
  t.equal(whole.get(RouteCache).warnings.length, 1)
  for (const [name, decorate] of [['@Ip', Ip()], ['@Headers', Headers()], ['@Session', Session()]] as const) {
    @Controller('client')
    class Client {
      @Get() @Cached()
      get (@decorate one: unknown) { return typeof one }
    }
    await t.rejects(open(t, { controllers: [Client] }), { code: 'FRC_OPTION', message: new RegExp(`Client\\.get: ${name} is .*identity`) })
  }
})

t.test('stale entries: refreshed through the guards, and served where the method fails', async (t) => {
  let now = 1_000_000
  let [runs, isDown, isOpen] = [0, false, true]
  const whys: unknown[] = []
  @Injectable()
  class Door implements CanActivate {
    canActivate (context: ExecutionContext) {
      whys.push(requestOf(context).cacheOutcome?.type ?? null)
      return isOpen
    }
  }
  @Controller('stale')
  @UseGuards(Door)
  class Stale {
    @Get() @Cached({ shared: true, ttl: 10, staleWhileRevalidate: 10, staleIfError: 100 })
    get () {
      if (isDown) throw new ServiceUnavailableException()
      return `run ${++runs}`
    }
  }
  // A clock of the test's own, so a store of this process.
  const options = { redis: undefined, now: () => now } as unknown as RouteCacheOptions
  const app = await open(t, { controllers: [Stale], options })
  t.match(await ask(app, '/stale'), { body: 'run 1', cache: 'fwd=miss' })
  now += 11_000
  t.match((await app.inject('/stale')).body, 'run 1')
  await app.get(RouteCache).settled()
  t.match(await ask(app, '/stale'), { body: 'run 2', cache: 'hit' })
  t.strictSame(whys, [null, null, 'own', null])
  now += 11_000
  isOpen = false
  t.match(await ask(app, '/stale'), { status: 403 }, 'a stale one neither')
  isOpen = true
  isDown = true
  now += 11_000
  t.match(await ask(app, '/stale'), { status: 200, body: 'run 2' }, 'stands in')
  isDown = false
})

t.test('interceptors that retry, answer by themselves, or wait', async (t) => {
  let runs = 0
  let others = 0
  @Injectable()
  class Retrying implements NestInterceptor {
    intercept (_context: ExecutionContext, next: CallHandler) { return next.handle().pipe(retry(2)) }
  }
  @Injectable()
  class Answering implements NestInterceptor {
    intercept () { return of('answered') }
  }
  @Injectable()
  class Late implements NestInterceptor {
    async intercept (_context: ExecutionContext, next: CallHandler) {
      const value: unknown = await lastValueFrom(next.handle())
      others++
      return of({ value })
    }
  }
  @Controller('ways')
  @Cached({ shared: true })
  class Ways {
    @Get('retrying') @UseInterceptors(Retrying)
    retrying () {
      if (++runs % 3 !== 0) throw new ForbiddenException()
      return `run ${runs}`
    }

    @Get('answering') @UseInterceptors(Answering)
    answering () { return 'never' }

    @Get('late') @UseInterceptors(Late)
    late () { return 1 }
  }
  const app = await open(t, { controllers: [Ways] })
  t.match(await ask(app, '/ways/retrying'), { body: 'run 3', cache: 'fwd=miss' })
  t.match(await ask(app, '/ways/retrying'), { body: 'run 3', cache: 'hit' })
  t.match(await ask(app, '/ways/answering'), { body: 'answered', cache: 'fwd=bypass' })
  t.match(await ask(app, '/ways/late'), { body: '{"value":1}', cache: 'fwd=miss' })
  t.match(await ask(app, '/ways/late'), { body: '{"value":1}', cache: 'hit' })
  t.equal(others, 2)
})

t.test('a value that is set through a route goes through guards and interceptors, as the method\'s does', async (t) => {
  @Injectable()
  class LettingOwn implements CanActivate {
    canActivate (context: ExecutionContext) {
      const request = requestOf(context)
      return mayPass(request) || request.cacheOutcome?.type === 'own'
    }
  }
  const values = (guard: Type<CanActivate>): Type<object> => {
    @Controller('set')
    @UseGuards(guard)
    class Values {
      @Get(':id') @Cached({ key: 'value:{id}', shared: true }) @UseInterceptors(Wrapping) @Header('x-kind', 'value')
      get (@Param('id') id: string) { return { id, by: 'method' } }
    }
    return Values
  }
  const headers = { 'x-who': 'ada' }
  for (const [guard, found] of [
    [LettingOwn, { cache: 'hit', body: '{"data":{"id":"7","by":"set"}}' }],
    [Guard, { cache: 'fwd=miss', body: '{"data":{"id":"7","by":"method"}}' }]
  ] as const) {
    const app = await open(t, { controllers: [values(guard)] })
    t.match(await ask(app, { url: '/set/7', headers }), { status: 200, cache: 'fwd=miss' })
    await app.get(RouteCache).set('value:7', async () => ({ id: '7', by: 'set' }), { route: '/set/7' })
    t.match(await ask(app, { url: '/set/7', headers }), { status: 200, headers: { 'x-kind': 'value' }, ...found }, guard.name)
  }
})

t.test('the same classes in two apps; an app that a test makes; one without HTTP', async (t) => {
  @Controller('shared')
  class Shared {
    runs = 0
    @Get() @Cached({ shared: true })
    get () { return ++this.runs }
  }
  for (let i = 0; i < 2; i++) {
    const app = await open(t, { controllers: [Shared] })
    t.match(await ask(app, '/shared'), { body: '1', cache: 'fwd=miss' })
    t.match(await ask(app, '/shared'), { body: '1', cache: 'hit' })
  }
  class Plain {}
  Module({ controllers: [Shared] })(Plain)
  const plain = await NestFactory.create<NestFastifyApplication>(Plain, new FastifyAdapter(), { logger: false })
  t.teardown(async () => { await plain.close() })
  await plain.init()
  t.strictSame([(await plain.inject('/shared')).body, (await plain.inject('/shared')).body], ['1', '2'], 'without the module')

  class Worker {}
  const useFactory = async (prefix: string): Promise<RouteCacheOptions> => ({ redis, prefix })
  Module({ imports: [RouteCacheModule.forRootAsync({ imports: [settings()], inject: ['SETTINGS'], useFactory })] })(Worker)
  const worker = await NestFactory.createApplicationContext(Worker, { logger: false })
  const cache = worker.get(RouteCache)
  t.ok(cache instanceof RouteCache)
  t.equal(await cache.getOrSet('a', { ttl: 60 }, async () => 1), 1)
  t.equal(await cache.getOrSet('a', { ttl: 60 }, async () => 2), 1)
  t.equal(await cache.invalidate('a'), 1)
  cache.enabled = false
  t.equal(cache.enabled, false)
  await worker.close()
})

/** A module that knows the prefix. */
function settings (): DynamicModule {
  class Settings {}
  Module({})(Settings)
  return { module: Settings, providers: [{ provide: 'SETTINGS', useValue: 'worker' }], exports: ['SETTINGS'] }
}
