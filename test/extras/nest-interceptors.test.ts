// Interceptors of cached routes: all that they hold comes to its end on a hit, too, and what they make of it is not sent.
import 'reflect-metadata'
import {
  Controller, ForbiddenException, Get, Res, UseInterceptors, type CallHandler, type ExecutionContext, type NestInterceptor
} from '@nestjs/common'
import { APP_INTERCEPTOR } from '@nestjs/core'
import type { FastifyReply } from 'fastify'
import {
  catchError, defaultIfEmpty, finalize, firstValueFrom, from, lastValueFrom, map, mergeMap, of, retry, tap, throwError,
  timeout, toArray
} from 'rxjs'
import t from 'tap'
import { Cached, RouteCache } from '../../plugin/extras/nest/index.js'
import { ask, open, requestOf } from './nest-site.js'

/** What an interceptor holds from its beginning to its end. */
class Held {
  now = 0
  ended = 0
  begin (): void { this.now++ }
  end (): void {
    this.now--
    this.ended++
  }
}

type Way = (held: Held, next: CallHandler, context: ExecutionContext) => ReturnType<NestInterceptor['intercept']>

const failing = (error: unknown): never => { throw error }

const WAYS: Record<string, Way> = {
  'a transaction, by tap and catchError': async (held, next) => {
    await new Promise(setImmediate)
    held.begin()
    const rollBack = (error: unknown): never => {
      held.end()
      return failing(error)
    }
    return next.handle().pipe(tap(() => { held.end() }), catchError(rollBack))
  },
  'the same around a map that reads the value': (held, next) => {
    held.begin()
    const rollBack = (error: unknown): never => {
      held.end()
      return failing(error)
    }
    return next.handle().pipe(map(({ run }: { run: number }) => ({ run })), tap(() => { held.end() }), catchError(rollBack))
  },
  'lastValueFrom and finally': async (held, next) => {
    held.begin()
    try {
      return of(await lastValueFrom(next.handle()))
    } finally { held.end() }
  },
  'firstValueFrom and finally': async (held, next) => {
    held.begin()
    try {
      return of(await firstValueFrom(next.handle()))
    } finally { held.end() }
  },
  'from a promise': (held, next) => from((async () => {
    held.begin()
    const value: unknown = await lastValueFrom(next.handle())
    held.end()
    return value
  })()),
  'tap of complete and error': (held, next) => {
    held.begin()
    return next.handle().pipe(tap({ complete: () => { held.end() }, error: () => { held.end() } }))
  },
  finalize: (held, next) => {
    held.begin()
    return next.handle().pipe(finalize(() => { held.end() }))
  },
  'timeout, and all values at once': (held, next) => {
    held.begin()
    const first = mergeMap((values: unknown[]) => of(values[0]).pipe(defaultIfEmpty(0)))
    return next.handle().pipe(timeout(60_000), toArray(), first, finalize(() => { held.end() }))
  },
  'a promise of what comes behind': async (held, next) => {
    held.begin()
    return next.handle().pipe(mergeMap(async (value: unknown) => {
      await new Promise(setImmediate)
      held.end()
      return value
    }))
  },
  'an answer of its own, where there is no value': (held, next, context) => {
    held.begin()
    const reply = context.switchToHttp().getResponse<FastifyReply>()
    return next.handle().pipe(
      map((value: unknown) => value ?? 'nothing'), tap(() => { reply.header('x-kind', 'intercepted') }), finalize(() => { held.end() }))
  }
}

t.test('on a hit nothing is held for ever, whichever way it is let go', async (t) => {
  for (const [name, way] of Object.entries(WAYS)) {
    for (const place of ['method', 'controller', 'app'] as const) {
      await t.test(`${name}: ${place}`, async (t) => {
        let runs = 0
        const held = new Held()
        const interceptor: NestInterceptor = { intercept: (context, next) => way(held, next, context) }
        @Controller('held')
        @Cached({ shared: true })
        class Holding {
          @Get() get () { return { run: ++runs } }
          @Get('sent') sent (@Res() reply: FastifyReply) { reply.send({ run: ++runs }) }
        }
        if (place === 'controller') UseInterceptors(interceptor)(Holding)
        if (place === 'method') {
          for (const method of ['get', 'sent']) {
            const descriptor = Object.getOwnPropertyDescriptor(Holding.prototype, method)!
            UseInterceptors(interceptor)(Holding.prototype, method, descriptor)
          }
        }
        const providers = place === 'app' ? [{ provide: APP_INTERCEPTOR, useValue: interceptor }] : []
        const app = await open(t, { controllers: [Holding], providers })
        const miss = await ask(app, '/held')
        t.match(miss, { body: '{"run":1}', cache: 'fwd=miss' })
        for (let i = 2; i < 7; i++) {
          const hit = await ask(app, '/held')
          t.match(hit, { status: 200, body: miss.body, cache: 'hit' })
          for (let turns = 0; held.now > 0 && turns < 100; turns++) await new Promise(setImmediate)
          t.strictSame([held.now, held.ended], [0, i])
        }
        // A client that has something already, and one that asks for the header only.
        await ask(app, { url: '/held', headers: { 'if-none-match': String((await ask(app, '/held')).headers['etag']) } })
        await ask(app, { url: '/held', method: 'HEAD' })
        await app.get(RouteCache).explain('/held')
        await app.get(RouteCache).warm(['/held'])
        for (let turns = 0; held.now > 0 && turns < 100; turns++) await new Promise(setImmediate)
        t.equal(held.now, 0)
      })
    }
  }
})

t.test('an interceptor that fails on a hit, and tries again: the method does not run, and the entry is what is sent', async (t) => {
  let [runs, tries] = [0, 0]
  const seen: unknown[] = []
  const trying: NestInterceptor = {
    intercept: (context, next) => next.handle().pipe(
      tap((value) => {
        tries++
        seen.push([requestOf(context).cacheOutcome?.type, value])
        if (value === undefined) throw new ForbiddenException()
      }), retry(2), catchError(() => throwError(() => new ForbiddenException())))
  }
  @Controller('trying')
  class Trying {
    @Get() @Cached({ shared: true }) @UseInterceptors(trying)
    get () { return `run ${++runs}` }
  }
  const app = await open(t, { controllers: [Trying] })
  t.match(await ask(app, '/trying'), { body: 'run 1', cache: 'fwd=miss' })
  t.match(await ask(app, '/trying'), { status: 200, body: 'run 1', cache: 'hit' })
  t.match(await ask(app, '/trying'), { status: 200, body: 'run 1', cache: 'hit' })
  t.strictSame([runs, tries], [1, 7])
  t.strictSame(seen.slice(0, 2), [['miss', 'run 1'], ['hit', undefined]])
})

t.test('a hit that a hook refuses on its way out ends them, too', async (t) => {
  const held = new Held()
  let isRefusing = false
  @Controller('refused')
  class Refused {
    @Get() @Cached({ shared: true })
    @UseInterceptors({ intercept: (_: unknown, next: CallHandler) => WAYS['lastValueFrom and finally']!(held, next, _ as never) })
    get () { return 'got' }
  }
  const app = await open(t, {
    controllers: [Refused],
    setUp: (app) => {
      app.getHttpAdapter().getInstance().addHook('onSend', async () => {
        if (isRefusing) throw new Error('refused')
      })
    }
  })
  await ask(app, '/refused')
  isRefusing = true
  t.match(await ask(app, '/refused'), { status: 500 })
  for (let turns = 0; held.now > 0 && turns < 100; turns++) await new Promise(setImmediate)
  t.strictSame([held.now, held.ended], [0, 2])
})

t.test('in a second app of the same classes, with an interceptor of the app, too', async (t) => {
  @Controller('twice')
  class Twice {
    @Get() @Cached({ shared: true }) @UseInterceptors({ intercept: (_: unknown, next: CallHandler) => next.handle() })
    get () { return 'got' }
  }
  const first = await open(t, { controllers: [Twice] })
  await ask(first, '/twice')
  for (const name of ['finalize', 'a transaction, by tap and catchError']) {
    const held = new Held()
    const interceptor: NestInterceptor = { intercept: (context, next) => WAYS[name]!(held, next, context) }
    const app = await open(t, { controllers: [Twice], providers: [{ provide: APP_INTERCEPTOR, useValue: interceptor }] })
    t.match(await ask(app, '/twice'), { cache: 'fwd=miss' })
    t.match(await ask(app, '/twice'), { cache: 'hit' })
    for (let turns = 0; held.now > 0 && turns < 100; turns++) await new Promise(setImmediate)
    t.strictSame([held.now, held.ended], [0, 2], name)
  }
  t.match(await ask(first, '/twice'), { body: 'got', cache: 'hit' })
})
