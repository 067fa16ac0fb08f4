// What the pages say is so: each block of code is run by a test, or has a reason why none can; a program that has `// →` is
// run here, and prints what stands behind it; links, paths and commands lead somewhere; tables name all that there is.
import { execFile } from 'node:child_process'
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { CHECKS } from '../plugin/options/checks.js'
import { BYPASS_WORDS, REFUSAL_WORDS } from '../plugin/telling/reasons.js'

const root = new URL('../', import.meta.url)
// Inside the repository, so that the package's name resolves as it does for users: to what was built.
const folder = new URL(`.cache/docs-${process.pid}/`, root)
const read = async (name: string): Promise<string> => await readFile(new URL(name, root), 'utf8')
const run = promisify(execFile)
const pages = (await run('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], { cwd: fileURLToPath(root) }))
  .stdout.trim().split('\n')
const texts = new Map(await Promise.all(pages.map(async (name) => [name, await read(name)] as const)))

/** By page and test: the blocks behind `<!-- run: name -->` that it runs. */
const RUN: Record<string, Record<string, string[]>> = {
  'README.md': {
    'test/readme.test.ts': ['server', 'requests', 'redis', 'names', 'invalidation'],
    'test/package/check.mjs': ['install']
  },
  'docs/routes.md': { 'test/readme.test.ts': ['routes', 'tags', 'revalidate'] },
  'docs/invalidating.md': { 'test/readme.test.ts': ['writers'] },
  'docs/client.md': { 'test/extras/client-graph.test.ts': ['worker', 'signals'] },
  'docs/from-any-language.md': {
    'test/extras/command.test.ts': ['command'], 'test/extras/outside-script.test.ts': ['cli', 'python', 'http']
  },
  'docs/in-front.md': { 'test/in-front/page.test.ts': ['front', 'again'] },
  'docs/tier.md': { 'test/readme.test.ts': ['tier'] },
  'docs/options.md': { 'test/readme.test.ts': ['commonjs'] },
  'docs/authenticated.md': { 'test/readme.test.ts': ['user'] },
  'docs/migrating.md': { 'test/types/decorators.test.ts': ['declared'] },
  'docs/nest.md': { 'test/extras/nest-guide.test.ts': ['program', 'values', 'identity'] },
  'docs/dashboard.md': { 'test/readme.test.ts': ['curl'] },
  'docs/metrics.md': { 'test/extras/metrics-guide.test.ts': ['prometheus', 'opentelemetry', 'rate', 'events'] },
  'docs/operating.md': {
    'test/store/redis/acl.test.ts': ['acl', 'more'],
    'test/cache/serverless.test.ts': ['serverless'],
    'test/readme.test.ts': ['nodeRedis']
  },
  'docs/postgres.md': { 'test/extras/postgres-docs.test.ts': ['app', 'psql', 'whole', 'migration', 'grants', 'skip'] },
  'docs/testing.md': { 'test/extras/guide.test.ts': ['app', 'outcomes', 'clock', 'outage', 'worker', 'explain'] }
}

const SUITE = 'npm ci && npm test\n'
/** By page: what no test can run. */
const NOT_RUN: Record<string, string[]> = {
  // The one starts what test/demo starts, the other starts this: `.ci/run` does both steps of it from a clean clone.
  'README.md': ['npm ci && npm run demo\n', SUITE],
  'CONTRIBUTING.md': [SUITE],
  // Drawings. test/extras/outside-script.test.ts has these interleavings; go-redis is none of our packages.
  'docs/from-any-language.md': ['   reader R', '   reader R', '//go:embed'],
  // Drawings. test/race has the interleavings.
  'docs/how-it-works.md': ['arrival ─ onRequest hooks', '   reader R', '   reader R', '   reader R', '   old primary A', '   writer W']
}

interface Block { marker: string | undefined, language: string, code: string }

function blocksOf (text: string): Block[] {
  return Array.from(text.matchAll(/(?:<!-- run: (\w+) -->\n)?^```(.*)\n([^]*?)^```$/gm), ([, marker, language, code]) =>
    ({ marker, language: language!, code: code! }))
}

const isSaying = ({ marker, language }: Block): boolean => marker === undefined && language === 'js'

t.before(async () => { await mkdir(folder, { recursive: true }) })
t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })

t.test('each block is run by a test, or has a reason why not', async (t) => {
  const used = ({ marker }: Block): boolean => marker !== undefined
  for (const [name, text] of texts) {
    const blocks = blocksOf(text)
    t.equal(text.match(/^ *(```|~~~)/gm)?.length ?? 0, 2 * blocks.length, `${name}: no block that is not seen here`)
    const tests = Object.entries(RUN[name] ?? {})
    t.strictSame(blocks.filter(used).map(({ marker }) => marker!).sort(), tests.flatMap(([, names]) => names).sort(), name)
    for (const [file, names] of tests) {
      const code = await read(file)
      for (const one of names) t.ok(code.includes(`'${one}'`), `${file} runs "${one}" of ${name}`)
    }
    const others = blocks.filter((block) => !used(block) && !isSaying(block))
    const known = NOT_RUN[name] ?? []
    t.equal(others.length, known.length, `${name}: blocks that are not run`)
    for (const [i, { code }] of others.entries()) t.ok(known[i] !== undefined && code.startsWith(known[i]), `${name}: ${code}`)
  }
  for (const name of [...Object.keys(RUN), ...Object.keys(NOT_RUN)]) t.ok(texts.has(name), name)
})

t.test('programs print what they say', async (t) => {
  let programs = 0
  for (const [name, text] of texts) {
    for (const { code } of blocksOf(text).filter(isSaying)) {
      const expected = Array.from(code.matchAll(/\/\/ → (.*)$/gm), ([, line]) => line)
      t.not(expected.length, 0, `${name}: a program is run by a test of its own (<!-- run: name -->), or says what it prints`)
      const file = new URL(`${++programs}.mjs`, folder)
      await writeFile(file, code)
      const { stdout } = await run(process.execPath, [fileURLToPath(file)])
      t.strictSame(stdout.trim().split('\n'), expected, name)
    }
  }
  t.ok(programs > 3)
})

t.test('links within the repository lead somewhere', async (t) => {
  let links = 0
  for (const [name, text] of texts) {
    const prose = proseOf(text)
    t.equal((text.match(/`/g)?.length ?? 0) % 2, 0, `${name}: a code span that is not closed hides what is behind it`)
    t.notMatch(prose, /^\[[^\]]+\]: |<a |<img |\]\[/m, `${name}: links are written so that they are seen here`)
    for (const [, target] of prose.matchAll(/\]\(([^)]*)\)/g)) {
      if (/^https:\/\//.test(target!)) continue
      links++
      const { href, hash } = new URL(target!, new URL(name, root))
      const file = new URL(href.slice(0, href.length - hash.length))
      t.ok(file.href.startsWith(root.href) && await isThere(file), `${name}: ${target}`)
      if (hash !== '') t.ok(anchorsOf(await readFile(file, 'utf8').catch(() => '')).includes(decodeURIComponent(hash)), `${name}: ${target}`)
    }
  }
  t.ok(links > 50, `${links} links`)
})

t.test('the README is short', async (t) => {
  const words = texts.get('README.md')!.split(/\s+/).filter((word) => word !== '').length
  t.ok(words <= 2_500, `${words} words`)
  t.ok((await stat(new URL('docs/dashboard.png', root))).size < 120_000, 'and its picture small')
})

t.test('paths and commands that are named are there', async (t) => {
  const { scripts } = JSON.parse(await read('package.json'))
  let paths = 0
  for (const [name, text] of texts) {
    for (const [path] of text.replaceAll(/\]\([^)]*\)/g, '').matchAll(/(?<![\w./-])(?:plugin|test|docs|bench|examples|demo-app|\.ci)\/[\w./-]*\w/g)) {
      paths++
      t.ok(await isThere(new URL(path, root)), `${name}: ${path}`)
    }
    for (const [, script] of text.matchAll(/\bnpm run ([\w:-]*\w)/g)) t.ok(script! in scripts, `${name}: npm run ${script}`)
  }
  t.ok(paths > 10)
})

t.test('each step of a request is a function that its file exports', async (t) => {
  const rows = Array.from(texts.get('docs/how-it-works.md')!.matchAll(/^\| .* \| (`.*) \| (`.*) \|$/gm), ([, files, names]) =>
    [files!, names!].map((cell) => Array.from(cell.matchAll(/`([^`]+)`/g), ([, text]) => text!)))
  t.ok(rows.length > 20, `${rows.length} steps`)
  for (const [files, names] of rows) {
    const sources = await Promise.all(files!.map(async (file) => await read(`plugin/${file}`)))
    for (const name of names!) {
      const declared = new RegExp(`^export (?:async )?(?:function|class|const) ${name}\\b`, 'm')
      t.ok(sources.some((source) => declared.test(source)), `${files!.join(', ')}: ${name}`)
    }
  }
})

t.test('tables name all that there is', async (t) => {
  const options = texts.get('docs/options.md')!
  const whole = (name: string): string => `\`${name}\``
  const membersOf = async (file: string, name: string): Promise<string[]> => {
    const [, body] = new RegExp(`^export interface ${name}\\b[^{]*\\{\\n([^]*?)^\\}`, 'm').exec(await read(file))!
    return Array.from(body!.matchAll(/^ {2}(\w+)\??:/gm), ([, member]) => member!)
  }
  const rowsOf = (text: string): string => (text.match(/^\|.*$/gm) ?? []).join('\n')
  const lack = (names: string[], text: string): string[] => names.filter((name) => !text.includes(whole(name)))

  const ofPlugin = await membersOf('plugin/options/options.ts', 'RouteCacheOptions')
  t.ok(ofPlugin.length > 20)
  t.strictSame(lack(ofPlugin, rowsOf(options)), [], 'options of the plugin')
  const ofRoutes = [...await membersOf('plugin/options/route-options.ts', 'CacheOptions'), ...await membersOf('plugin/options/route-options.ts', 'InvalidationOptions')]
  t.ok(ofRoutes.length > 15)
  t.strictSame(lack(ofRoutes, texts.get('docs/routes.md')!), [], 'options of routes')
  const [, calls] = /^export class RouteCache \{\n([^]*?)^\}/m.exec(await read('plugin/calls/route-cache.ts'))!
  const members = Array.from(calls!.matchAll(/^ {2}(?:async |get |readonly )?([a-z]\w*)(?:<\w>)? ?[(:]/gm), ([, member]) => member!)
  t.ok(members.length > 12, members.join())
  const rows = sectionOf(texts.get('docs/api.md')!, '| `fastify.cache` |')
  t.strictSame(members.filter((name) => name !== 'constructor' && !new RegExp(`\`${name}[(\`]`).test(rows)), [], 'fastify.cache')
  t.strictSame(lack(Object.keys(BYPASS_WORDS), sectionOf(options, '| bypass |')), [], 'bypasses')
  t.strictSame(lack(Object.keys(REFUSAL_WORDS), sectionOf(options, '| refusal |')), [], 'refusals')
  t.strictSame(lack([...CHECKS], sectionOf(options, '| check |')), [], 'checks')
  const ofStats = [...await membersOf('plugin/telling/stats.ts', 'CacheStats'), ...await membersOf('plugin/telling/stats.ts', 'RouteStats')]
  t.ok(ofStats.length > 20)
  t.strictSame(lack(ofStats, sectionOf(options, '| `cache.stats()` |') + sectionOf(options, '| counter |')), [], 'stats')
  const [, ofTier] = /^\| `tier` \| .*`\{ (.+) \}` \|$/m.exec(options)!
  t.strictSame(ofTier!.split(', ').sort(), (await membersOf('plugin/store/store.ts', 'TierStats')).sort(), 'stats of the tier')
  const codes = Array.from((await read('plugin/errors.ts')).matchAll(/^ {2}\| '(FRC_\w+)'$/gm), ([, code]) => code!)
  t.ok(codes.length > 8)
  t.strictSame(lack(codes, sectionOf(options, '| code |')), [], 'codes of errors')
  const entries = Object.keys((JSON.parse(await read('package.json')) as { exports: object }).exports)
    .filter((name) => name !== '.' && name !== './package.json').map((name) => name.replace('./', 'fastify-route-cache/'))
  t.ok(entries.length > 4)
  t.strictSame(lack(entries, sectionOf(texts.get('docs/api.md')!, '| export |')), [], 'exports')
  t.strictSame(lack(await membersOf('plugin/extras/dashboard/settings.ts', 'DashboardOptions'), rowsOf(texts.get('docs/dashboard.md')!)), [], 'options of the dashboard')
})

async function isThere (file: URL): Promise<boolean> {
  return await stat(file).then(() => true, () => false)
}

function proseOf (text: string): string {
  return text.replaceAll(/^```[^]*?^```$/gm, '').replaceAll(/`[^`]*`/g, '')
}

/** The table that begins so. */
function sectionOf (text: string, head: string): string {
  const begin = text.indexOf(head)
  if (begin === -1) throw new Error(`no table begins with ${head}`)
  return text.slice(begin, text.indexOf('\n\n', begin))
}

/** As GitHub makes them: a title that comes again gets a number. */
function anchorsOf (text: string): string[] {
  const seen = new Map<string, number>()
  return Array.from(text.replaceAll(/^```[^]*?^```$/gm, '').matchAll(/^#+ (.+)$/gm), ([, title]) => {
    const anchor = `#${title!.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase().replaceAll(/[^\p{L}\p{N}_\- ]/gu, '').replaceAll(' ', '-')}`
    const times = seen.get(anchor) ?? 0
    seen.set(anchor, times + 1)
    return times === 0 ? anchor : `${anchor}-${times}`
  })
}
