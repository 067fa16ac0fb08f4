// Holds the house: which rooms there are, and which may import which (CONTRIBUTING.md says what each is for). Every rule is
// also shown a made-up tree that breaks it, since a rule that can't fail holds nothing.
import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname } from 'node:path/posix'
import t from 'tap'
import { clockReads, exportedNames, findCycle, importsOf, readTree, root, type Tree } from './source-tree.js'

/** A rule gives one line for each place that breaks it. */
type Rule = (tree: Tree) => string[]

/** The rooms of plugin/, lowest first: each may import those before it, and none after it. Types count. */
const rooms = [
  'http', 'store/wait', 'store', 'store/server', 'store/tier', 'store/redis', 'store/memory', 'key', 'options', 'telling', 'entry',
  'cache', 'response', 'users', 'route', 'checks', 'send', 'request', 'calls', 'assembly', 'writing', 'fastify', 'extras'
]
/** What of the rest sees Fastify's types. All of fastify/ and of extras/ may. */
const fastifyFiles = ['index', 'options/route-options', 'request/hit', 'request/miss', 'send/reply'].map((name) => `plugin/${name}.ts`)
// What every room may use: the codes and messages, and the units. They import no room themselves (a rule of its own).
const foundations = ['plugin/errors.ts', 'plugin/duration.ts']
const face = 'plugin/index.ts'
/** Where Fastify calls the plugin. */
const wiring = 'plugin/fastify/'
/** Where the parts of a cache are put together. */
const assembly = 'plugin/assembly/'
/** What only some need, each an export of its own: may know Fastify. */
const extras = 'plugin/extras/'
/** Folders of test/ that are no room of the plugin; CONTRIBUTING.md says of each what it holds. */
const beside = [
  'outage', 'race', 'chaos', 'transparency', 'side-by-side', 'foreign', 'in-front', 'types', 'package', 'matrix', 'browser', 'demo', 'bench',
  'house', 'harness', 'helpers'
]
const vagueNames = /(?:^|-)(?:utils?|helpers?|managers?|types)$/

const noCycles: Rule = (tree) => {
  const cycle = findCycle(tree)
  return cycle === undefined ? [] : [cycle.join(' -> ')]
}

const eachHasItsRoom: Rule = (tree) => [...tree.keys()]
  .filter((path) => path.startsWith('plugin/') && path !== face && !foundations.includes(path) && roomOf(path) === undefined)

const testsHaveTheSameRooms: Rule = (tree) => [...tree.keys()].filter((path) => {
  const folder = dirname(path).slice('test/'.length)
  return path.startsWith('test/') && folder !== '' && !beside.includes(folder.split('/')[0]!) && testRoomOf(folder) === undefined
})

const roomsLookDown: Rule = (tree) => importsWhere(tree, 'plugin/', (target, path) => {
  const [from, to] = [roomOf(path), roomOf(target)]
  return from !== undefined && to !== undefined && rooms.indexOf(to) > rooms.indexOf(from)
})

const faceIsForUsers: Rule = (tree) => importsWhere(tree, 'plugin/', (target, path) =>
  target === face && !path.startsWith(extras))

const storesAreWired: Rule = (tree) => importsWhere(tree, 'plugin/', (target, path) =>
  /^plugin\/store\/(?:redis|memory)\//.test(target) && ![wiring, assembly, extras, 'plugin/store/'].some((room) => path.startsWith(room)))

const httpStandsAlone: Rule = (tree) => importsWhere(tree, 'plugin/http/', (target) =>
  !target.startsWith('plugin/http/') && !target.startsWith('node:'))

const storeLooksDown: Rule = (tree) => importsWhere(tree, 'plugin/store/', (target) =>
  !target.startsWith('plugin/store/') && !target.startsWith('node:') && !foundations.includes(target))

const foundationsStandAlone: Rule = (tree) => foundations.flatMap((path) => importsWhere(tree, path, (target) =>
  target.startsWith('plugin/') && !foundations.includes(target)))

const fastifyIsKnownToFew: Rule = (tree) => importsWhere(tree, 'plugin/', (target, path) =>
  /^fastify(?:$|\/)/.test(target) && !fastifyFiles.includes(path) && !path.startsWith(wiring) && !path.startsWith(extras))

const coreStandsAlone: Rule = (tree) => importsWhere(tree, 'plugin/', (target, path) =>
  target.startsWith(extras) && !path.startsWith(extras))

const onlyWhatIsInstalled: Rule = (tree) => importsWhere(tree, 'plugin/', (target) =>
  !target.startsWith('plugin/') && !target.startsWith('node:') && !published().includes(target))

const oneClock: Rule = (tree) => {
  const places = [...tree.keys()].filter((path) => path.startsWith('plugin/') && clockReads(tree, path) > 0)
  const reads = places.reduce((sum, path) => sum + clockReads(tree, path), 0)
  return reads === 1 ? [] : [`the wall clock is read in ${reads} places: ${places.join(', ')}`]
}

/** What is decided in one place, by words that nothing else says. */
const PLACES: ReadonlyArray<[words: RegExp, path: string]> = [
  [/there is no such option;/, 'plugin/options/reader.ts'],
  [/redis\.p?call\('(?:GET|SET)RANGE/, 'plugin/store/layout.ts'],
  [/'FRC_DEADLINE', `the store did not answer/, 'plugin/store/wait/deadline.ts']
]

const decidedOnce: Rule = (tree) => [...tree].flatMap(([path, text]) => PLACES
  .filter(([words, place]) => path.startsWith('plugin/') && path !== place && words.test(text))
  .map(([words]) => `${path} says ${words.source}`))

const demoIsAUser: Rule = (tree) => importsWhere(tree, 'demo-app/', (target) =>
  !target.startsWith('demo-app/') && isPath(target))

const oneNameOneThing: Rule = (tree) => {
  const places = new Map<string, string[]>()
  for (const path of [...tree.keys()].filter((path) => path.startsWith('plugin/'))) {
    for (const name of exportedNames(tree, path)) places.set(name, [...places.get(name) ?? [], path])
  }
  return [...places].filter(([, paths]) => paths.length > 1).map(([name, paths]) => `${name}: ${paths.join(', ')}`)
}

const filesAreNouns: Rule = (tree) => [...tree.keys()]
  .filter((path) => vagueNames.test(basename(path).replace(/(?:\.test)?\.[cm]?ts$/, '')))

const rules: Array<{ name: string, rule: Rule, broken: Array<Record<string, string>> }> = [
  {
    name: 'nothing imports in a circle, types included',
    rule: noCycles,
    broken: [
      { 'plugin/a.ts': "import { b } from './b.js'", 'plugin/b.ts': "import type { A } from './a.js'" },
      { 'plugin/a.ts': "export * from './http/b.js'", 'plugin/http/b.ts': "const c = await import('../a.js')" },
      { 'plugin/a.ts': "import './a.js'" }
    ]
  },
  {
    name: 'each file of the plugin is in a room that this test knows',
    rule: eachHasItsRoom,
    broken: [{ 'plugin/cache.ts': '' }, { 'plugin/misc/cache.ts': '' }, { 'plugin/store/sql/sql.ts': '' }, { 'plugin/cache/wait/wait.ts': '' }]
  },
  {
    name: 'each folder of test/ is a room of the plugin, or one that CONTRIBUTING.md lists beside them',
    rule: testsHaveTheSameRooms,
    broken: [{ 'test/plugin/hit.test.ts': '' }, { 'test/store/sql/sql.test.ts': '' }, { 'test/cache/wait/wait.test.ts': '' }]
  },
  {
    name: `rooms import one way: ${rooms.join(', ')}`,
    rule: roomsLookDown,
    broken: [
      { 'plugin/cache/lookup.ts': "import type { Exchange } from '../request/exchange.js'" },
      { 'plugin/key/key.ts': "export { x } from '../route/policy.js'" },
      { 'plugin/request/miss.ts': "const x = await import('../fastify/hooks.js')" },
      { 'plugin/store/wait/deadline.ts': "import type { Store } from '../store.js'" },
      { 'plugin/store/store.ts': "import type { Tier } from './tier/tier.js'" },
      { 'plugin/store/tier/tier.ts': "import type { RedisStore } from '../redis/redis.js'" }
    ]
  },
  {
    name: 'nothing but extras imports the face of the package',
    rule: faceIsForUsers,
    broken: [{ 'plugin/cache/cache.ts': "import type { RouteCacheOptions } from '../index.js'" }]
  },
  {
    name: 'which stores there are is known only where the plugin is put together',
    rule: storesAreWired,
    broken: [
      { 'plugin/cache/cache.ts': "import { RedisStore } from '../store/redis/redis.js'" },
      { 'plugin/calls/route-cache.ts': "import type { MemoryStore } from '../store/memory/memory.js'" }
    ]
  },
  {
    name: 'http/ imports only http/ and Node',
    rule: httpStandsAlone,
    broken: [
      { 'plugin/http/headers.ts': "import { Entry } from '../entry/entry.js'" },
      { 'plugin/http/headers.ts': "import type { Entry } from '../errors.js'" },
      { 'plugin/http/headers.ts': "import ms from 'ms'" }
    ]
  },
  {
    name: 'store/ imports nothing above it',
    rule: storeLooksDown,
    broken: [
      { 'plugin/store/redis/redis.ts': "import type { Entry } from '../../entry/entry.js'" },
      { 'plugin/store/store.ts': "export { x } from '../http/headers.js'" },
      { 'plugin/store/redis/redis.ts': "import { Redis } from 'ioredis'" }
    ]
  },
  {
    name: 'what every room may use imports no room',
    rule: foundationsStandAlone,
    broken: [{ 'plugin/errors.ts': "import type { Store } from './store/store.js'" }]
  },
  {
    name: `Fastify is known only in ${wiring}, ${fastifyFiles.join(', ')}, and extras`,
    rule: fastifyIsKnownToFew,
    broken: [
      { 'plugin/cache/cache.ts': "import type { FastifyRequest } from 'fastify'" },
      { 'plugin/request/exchange.ts': "type Request = import('fastify').FastifyRequest" },
      { 'plugin/store/hooks.ts': "import { x } from 'fastify/lib/hooks.js'" }
    ]
  },
  {
    name: 'nothing but extras imports extras',
    rule: coreStandsAlone,
    broken: [{ 'plugin/fastify/plugin.ts': "import { x } from '../extras/prometheus/index.js'" }, { 'plugin/index.ts': "export * from './extras/testing/index.js'" }]
  },
  {
    name: 'the plugin imports only what its package declares for its users',
    rule: onlyWhatIsInstalled,
    broken: [{ 'plugin/cache/cache.ts': "import { request } from 'undici'" }, { 'plugin/cache/cache.ts': "import '../../demo-app/app.js'" }]
  },
  {
    name: 'the wall clock is read in one place',
    rule: oneClock,
    broken: [
      { 'plugin/a.ts': 'const now = Date.now', 'plugin/b.ts': 'export const at = Date.now()' },
      { 'plugin/a.ts': 'const now = Date.now()\nconst then = new Date()' },
      { 'plugin/a.ts': '// Date.now() is only spoken of\nconst then = new Date(5)' }
    ]
  },
  {
    name: `decided in one place: ${PLACES.map(([, path]) => path).join(', ')}`,
    rule: decidedOnce,
    broken: [
      { 'plugin/calls/warm.ts': "throw optionError(WHERE, name, value, 'there is no such option; there is: a')" },
      { 'plugin/store/redis/scripts.ts': "redis.pcall('GETRANGE', name, 1, 4)" },
      { 'plugin/cache/fill.ts': "new RouteCacheError('FRC_DEADLINE', `the store did not answer`)" }
    ]
  },
  {
    name: 'demo-app reaches the plugin by its package name only',
    rule: demoIsAUser,
    broken: [
      { 'demo-app/app.ts': "import routeCache from '../plugin/index.js'" },
      { 'demo-app/routes/users.ts': "import routeCache from '../../dist/esm/index.js'" },
      { 'demo-app/app.ts': "import { x } from '../test/helpers/redis.js'" }
    ]
  },
  {
    name: 'no two files of the plugin export a declaration of the same name, types included',
    rule: oneNameOneThing,
    broken: [
      { 'plugin/cache/a.ts': 'export interface Answer {}', 'plugin/store/b.ts': 'export type Answer = string' },
      { 'plugin/cache/a.ts': 'export const sizeOf = 1', 'plugin/extras/b.ts': 'export async function sizeOf () {}' },
      { 'plugin/cache/a.ts': 'class A {}\nexport { A as B }', 'plugin/send/b.ts': 'export abstract class B {}' }
    ]
  },
  {
    name: 'files are nouns',
    rule: filesAreNouns,
    broken: [{ 'plugin/utils.ts': '' }, { 'plugin/store/redis-helpers.ts': '' }, { 'test/types.test.ts': '' }]
  }
]

const house = readTree('plugin', 'demo-app', 'test')

t.ok([...house.keys()].filter((path) => path.startsWith('plugin/')).length > 10, 'the plugin was found')
t.ok([...house.keys()].some((path) => path.startsWith('demo-app/')), 'the demo app was found')

t.test('CONTRIBUTING.md says of each room what it holds, in this order', async (t) => {
  t.strictSame(namesInTable('Rooms'), rooms)
})

t.test('CONTRIBUTING.md says of each other folder of test/ what it holds, and there is none that is gone', async (t) => {
  t.strictSame(namesInTable('Tests'), beside)
  const folders = readdirSync(`${root}test`, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => name)
  t.strictSame(beside.filter((name) => !folders.includes(name)), [])
})

for (const { name, rule, broken } of rules) {
  t.test(name, async (t) => {
    t.same(rule(house), [])
    for (const sources of broken) {
      const tree = new Map(Object.entries(sources))
      t.equal(rule(tree).length, 1, `noticed: ${[...tree].map(([path, text]) => `${path}: ${text.slice(0, 60)}`).join('; ')}`)
    }
  })
}

function importsWhere (tree: Tree, below: string, isWrong: (target: string, path: string) => boolean): string[] {
  const paths = [...tree.keys()].filter((path) => path.startsWith(below))
  return paths.flatMap((path) => importsOf(tree, path)
    .filter((target) => isWrong(target, path))
    .map((target) => `${path} imports ${target}`))
}

/** Undefined: none that is known, or the face and the foundations, which are in none. */
function roomOf (path: string): string | undefined {
  if (path.startsWith(extras)) return 'extras'
  const folder = dirname(path).slice('plugin/'.length)
  return path.startsWith('plugin/') && rooms.includes(folder) ? folder : undefined
}

/** `extras` is one room, however many folders it has. */
function testRoomOf (folder: string): string | undefined {
  return rooms.find((room) => room === folder || (room === 'extras' && folder.startsWith('extras/')))
}

/** The names in the first column of a section's table. */
function namesInTable (heading: string): string[] {
  const [, behind = ''] = readFileSync(`${root}CONTRIBUTING.md`, 'utf8').split(`\n## ${heading}\n`)
  const [section = ''] = behind.split('\n## ')
  return Array.from(section.matchAll(/^\| `([\w/-]+)` \|/gm), ([, name]) => name!)
}

function isPath (target: string): boolean {
  return /^(?:\.|\/|file:)|^(?:plugin|dist|build|test|bench)\//.test(target)
}

function published (): string[] {
  const { dependencies, peerDependencies } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))
  return Object.keys({ ...dependencies, ...peerDependencies })
}
