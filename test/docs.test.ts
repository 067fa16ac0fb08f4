// What the guides say is so: a program in them that has `// →` is run, and prints what stands behind it; links lead
// somewhere.
import { execFile } from 'node:child_process'
import { access, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'

const root = new URL('../', import.meta.url)
// Inside the repository, so that the package's name resolves as it does for users: to what was built.
const folder = new URL(`.cache/docs-${process.pid}/`, root)
const top = (await readdir(root)).filter((name) => name.endsWith('.md'))
const guides = (await readdir(new URL('docs/', root))).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)
const texts = new Map(await Promise.all([...top, ...guides].map(async (name) => [name, await readFile(new URL(name, root), 'utf8')] as const)))

t.before(async () => { await mkdir(folder, { recursive: true }) })
t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })

t.test('programs print what they say', async (t) => {
  let programs = 0
  for (const [name, text] of texts) {
    for (const [, marker, code] of text.matchAll(/(<!-- run: \w+ -->\n)?```js\n([^]*?)```/g)) {
      const expected = Array.from(code!.matchAll(/\/\/ → (.*)$/gm), ([, line]) => line)
      if (marker !== undefined) continue
      t.not(expected.length, 0, `${name}: a program is run by a test of its own (<!-- run: name -->), or says what it prints`)
      const file = new URL(`${++programs}.mjs`, folder)
      await writeFile(file, code!)
      const { stdout } = await promisify(execFile)(process.execPath, [fileURLToPath(file)])
      t.strictSame(stdout.trim().split('\n'), expected, name)
    }
  }
  t.ok(programs > 3)
})

t.test('links within the repository lead somewhere', async (t) => {
  let links = 0
  for (const [name, text] of texts) {
    const prose = text.replaceAll(/```[^]*?```/g, '').replaceAll(/`[^`\n]*`/g, '')
    for (const [, target] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https:/.test(target!)) continue
      links++
      const { pathname, hash } = new URL(target!, new URL(name, root))
      const file = fileURLToPath(new URL(pathname, root))
      const isThere = await access(file).then(() => true, () => false)
      t.ok(isThere, `${name}: ${target}`)
      if (isThere && hash !== '') t.ok(anchorsOf(await readFile(file, 'utf8')).includes(decodeURIComponent(hash)), `${name}: ${target}`)
    }
  }
  t.ok(links > 5)
})

/** As GitHub makes them. */
function anchorsOf (text: string): string[] {
  return Array.from(text.replaceAll(/```[^]*?```/g, '').matchAll(/^#+ (.+)$/gm), ([, title]) =>
    `#${title!.toLowerCase().replaceAll(/[^\w\- ]/g, '').replaceAll(' ', '-')}`)
}
