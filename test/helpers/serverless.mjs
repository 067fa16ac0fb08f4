// Which test files need no server, and which have a longer form: found by what they import. For `test:fast` and `test:long`.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Helpers that start or look for servers. */
const STARTS_SERVERS = /test\/helpers\/(?:redis|postgres|pgbouncer|varnish|suite)[a-z-]*\.m?[tj]s$/
/** They need no server, but a minute each: schedules without number, compilers, programs out of the docs. */
const SLOW = ['test/race/', 'test/types/', 'test/work.test.ts', 'test/docs.test.ts']

/** Of these files, given by their paths from `root`, those that can do without a server and are quick. */
export function serverless (root, files) {
  const needsServer = reaching(root, STARTS_SERVERS)
  return files.filter((path) => !SLOW.some((slow) => path.startsWith(slow)) && !needsServer(path))
}

/** Of these files, those that do more of what they do in `npm run test:long`. */
export function extensible (root, files) {
  return files.filter(reaching(root, /^test\/helpers\/extent\.ts$/))
}

/** Whether a file is such a one, or imports one, over however many others. */
function reaching (root, pattern) {
  const isKnown = new Map()
  return function reaches (path) {
    if (isKnown.has(path)) return isKnown.get(path)
    isKnown.set(path, false)
    const does = pattern.test(path) || importsOf(root, path).some(reaches)
    isKnown.set(path, does)
    return does
  }
}

function importsOf (root, path) {
  if (!path.startsWith('test/')) return []
  const source = readFileSync(join(root, path), 'utf8')
  const specifiers = [...source.matchAll(/(?:from|import) ?\(?'(\.[^']+)'/g)].map(([, specifier]) => specifier)
  const paths = specifiers.map((specifier) => join(dirname(path), specifier).replace(/\.js$/, '.ts'))
  // Tests of the house's rules have imports in texts.
  return paths.filter((path) => existsSync(join(root, path)))
}
