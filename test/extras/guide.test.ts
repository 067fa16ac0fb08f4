// Every example of docs/testing.md is run, as its reader would: against what was built, with Node's own test runner.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import t from 'tap'

const folder = new URL(`../../.cache/guide-${process.pid}/`, import.meta.url)
const guide = await readFile(new URL('../../docs/testing.md', import.meta.url), 'utf8')
const blocks = new Map(Array.from(guide.matchAll(/<!-- run: (\w+) -->\n```js\n([^]*?)```/g), ([, name, code]) => [name!, code!]))

t.before(async () => { await mkdir(folder, { recursive: true }) })
t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })

t.test('each block is run by a case here', async (t) => {
  t.equal(guide.match(/```js\n/g)?.length, blocks.size)
  t.strictSame([...blocks.keys()], ['app', 'outcomes', 'clock', 'outage', 'worker', 'explain'])
})

for (const [name, code] of blocks) {
  if (name === 'app') continue
  t.test(name, async (t) => {
    const file = new URL(`${name}.mjs`, folder)
    await writeFile(file, blocks.get('app')! + code)
    const child = spawn(process.execPath, ['--test-reporter=tap', file.pathname], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => child.kill('SIGKILL'))
    let printed = ''
    child.stdout.on('data', (chunk) => { printed += chunk })
    const [exit] = await once(child, 'close')
    t.equal(exit, 0, printed)
    t.match(printed, name === 'worker' ? /^# pass 2$/m : /^# pass 1$/m)
  })
}
