// The test files that need no server, found by what they import: no helper that starts one. For `npm run test:fast`.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Helpers that start or look for servers. */
const STARTS_SERVERS = /test\/helpers\/(?:redis|postgres|pgbouncer|suite)[a-z-]*\.m?[tj]s$/
/** They need no server, but a minute each: schedules without number, compilers, programs out of the docs. */
const SLOW = ['test/race/', 'test/types/', 'test/work.test.ts', 'test/docs.test.ts']

/** Of these files, given by their paths from `root`, those that can do without a server and are quick. */
export function serverless (root, files) {
  const isKnown = new Map()
  const needsServer = (path) => {
    if (isKnown.has(path)) return isKnown.get(path)
    isKnown.set(path, false)
    const needs = STARTS_SERVERS.test(path) || importsOf(root, path).some(needsServer)
    isKnown.set(path, needs)
    return needs
  }
  return files.filter((path) => !SLOW.some((slow) => path.startsWith(slow)) && !needsServer(path))
}

function importsOf (root, path) {
  if (!path.startsWith('test/')) return []
  const source = readFileSync(join(root, path), 'utf8')
  const specifiers = [...source.matchAll(/(?:from|import) ?\(?'(\.[^']+)'/g)].map(([, specifier]) => specifier)
  const paths = specifiers.map((specifier) => join(dirname(path), specifier).replace(/\.js$/, '.ts'))
  // Tests of the house's rules have imports in texts.
  return paths.filter((path) => existsSync(join(root, path)))
}
