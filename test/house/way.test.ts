// Holds the length of a request's way, which `npm run way` measures by the coverage of one request. Each file more is one
// more to read for whoever follows a request.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { root } from './source-tree.js'

const MOST_FILES = { hit: 15, miss: 25 }

t.test('a hit runs few files, and a miss with its fill', async (t) => {
  // A coverage of the caller's own would be in the way of this one.
  const { NODE_V8_COVERAGE: _, ...env } = process.env
  const { stdout } = await promisify(execFile)(process.execPath, ['--import=./test/helpers/typescript.mjs', 'test/house/way.ts'], { cwd: root, env })
  for (const [name, most] of Object.entries(MOST_FILES)) {
    const [, files] = new RegExp(`^${name}.*: (\\d+) files`, 'm').exec(stdout) ?? []
    t.ok(Number(files) > 5, `a ${name} was measured: ${files} files`)
    t.ok(Number(files) <= most, `at most ${most}`)
  }
})
