// The programs of docs/nest.md, against what was built: the compiler takes them as a Nest project's, and they print what
// they say.
import { execFile } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import ts from 'typescript'

// Inside the repository, so that the package's name resolves as it does for users.
const folder = new URL(`../../.cache/nest-guide-${process.pid}/`, import.meta.url)
const guide = await readFile(new URL('../../docs/nest.md', import.meta.url), 'utf8')
const blocks = new Map([...guide.matchAll(/<!-- run: (\w+) -->\n```\w+\n([^]*?)```/g)].map(([, name, code]) => [name!, code!]))

/** As a new Nest project has it. */
const OPTIONS: ts.CompilerOptions = {
  module: ts.ModuleKind.NodeNext,
  target: ts.ScriptTarget.ES2023,
  lib: ['lib.es2023.d.ts'],
  strict: true,
  skipLibCheck: true,
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
  types: ['node']
}

const AROUND_VALUES = ['', `
  @Module({ imports: [RouteCacheModule.forRoot()], providers: [Prices] })
  class Shop {}
  let loads = 0
  async function load (id: string) { return \`\${id} \${++loads}\` }
  const context = await NestFactory.createApplicationContext(Shop, { logger: false })
  console.log(await context.get(Prices).of('7')) // → 7 1
  console.log(await context.get(Prices).of('7')) // → 7 1
  await context.get(RouteCache).invalidate('price:7')
  console.log(await context.get(Prices).of('7')) // → 7 2
  await context.close()
`] as const

const IMPORTS = `
  import 'reflect-metadata'
  import { Injectable, Module } from '@nestjs/common'
  import { NestFactory } from '@nestjs/core'
  import { RouteCache, RouteCacheModule } from 'fastify-route-cache/nest'
`

const programs: Record<string, string> = {
  program: blocks.get('program')!,
  values: IMPORTS + blocks.get('values')! + AROUND_VALUES.join(''),
  identity: `
    import { Controller, Get, Req } from '@nestjs/common'
    import type { FastifyRequest } from 'fastify'
    import { Cached } from 'fastify-route-cache/nest'
    ${blocks.get('identity')!}
    export { Orders }
  `,
  // Types: what a method's request is, and what is refused.
  types: `
    import { Controller, Get, Put } from '@nestjs/common'
    import type { FastifyRequest } from 'fastify'
    import { Cached, Invalidates, RouteCache, RouteCacheModule, type RouteCacheModuleAsyncOptions } from 'fastify-route-cache/nest'
    @Cached({ ttl: 60 })
    @Controller()
    class Items {
      constructor (private readonly cache: RouteCache) {}
      @Cached<FastifyRequest & { user: { id: number } }>({ identity: ({ user }) => user.id }) @Get('a') a () { return 1 }
      @Cached() @Get('b') b () { return this.cache.stats() }
      @Cached(false) @Get('c') async c () {}
      @Invalidates('a', { tags: ['b'] }, { all: true }) @Put('a') d () {}
      @Invalidates(['a:{id}', { prefix: 'b' }]) @Put('b') e () {}
      @Invalidates((request, reply, payload) => [request.url, payload.id]) @Put('c') f () {}
      @Invalidates({ invalidates: ['a'], onError: 'fail' }) @Put('d') g () {}
      // @ts-expect-error an option that there is not
      @Cached({ tttl: 5 }) @Get('h') h () {}
      // @ts-expect-error the lookup has its place
      @Cached({ hook: 'onRequest' }) @Get('i') i () {}
      // @ts-expect-error a target that there is not
      @Invalidates({ tag: 'a' }) @Put('j') j () {}
    }
    const options: RouteCacheModuleAsyncOptions = { inject: [Items], useFactory: async (items: Items) => ({ prefix: items.constructor.name }) }
    RouteCacheModule.forRootAsync(options)
    // @ts-expect-error an option that there is not
    RouteCacheModule.forRoot({ prefx: 'a' })
  `
}

t.before(async () => {
  await mkdir(folder, { recursive: true })
  for (const [name, code] of Object.entries(programs)) await writeFile(new URL(`${name}.mts`, folder), code)
})
t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })

t.test('they compile, and print what they say', async (t) => {
  const files = Object.keys(programs).map((name) => fileURLToPath(new URL(`${name}.mts`, folder)))
  const program = ts.createProgram(files, OPTIONS)
  const said = ts.formatDiagnostics(ts.getPreEmitDiagnostics(program), ts.createCompilerHost(OPTIONS))
  t.equal(said, '')
  program.emit()
  for (const [name, code] of Object.entries(programs).filter(([name]) => !['types', 'identity'].includes(name))) {
    const { stdout } = await promisify(execFile)(process.execPath, [fileURLToPath(new URL(`${name}.mjs`, folder))], { timeout: 60_000 })
    const expected = Array.from(code.matchAll(/\/\/ → (.*)$/gm), ([, line]) => line)
    t.ok(expected.length > 0)
    t.strictSame(stdout.trim().split('\n').map((line) => line.trim()), expected, name)
  }
})
