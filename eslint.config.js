import neostandard from 'neostandard'
import regexp from 'eslint-plugin-regexp'

/** Held to time that grows with the length of the text: what they read comes from clients, origins and Redis. */
const linear = { 'regexp/no-super-linear-backtracking': ['error', { report: 'potential' }], 'regexp/no-super-linear-move': ['error', { report: 'potential' }] }

/**
 * Each request goes through these. Node 20 takes a slow path for the forms below: up to 270 times what names take. Rooms are
 * listed as a whole where they can be, as a file that is moved or named anew within one stays in.
 */
const hotRooms = [
  'cache', 'entry', 'http', 'request', 'response', 'send', 'store', 'store/redis', 'store/memory', 'store/server', 'store/tier',
  'store/wait', 'telling', 'users'
]
const hot = [
  ...hotRooms.map((room) => `plugin/${room}/*.ts`),
  'plugin/fastify/hooks.ts',
  'plugin/key/key.ts'
]
const quick = {
  'no-restricted-syntax': ['error', {
    selector: 'ObjectPattern > RestElement', message: 'Name the members: a rest is slow in Node 20, and this file is in the way of each request.'
  }, {
    selector: 'ObjectExpression > SpreadElement:not(:first-child)', message: 'Name the members: a spread that is not the first member is slow in Node 20, and this file is in the way of each request.'
  }]
}

export default [
  ...neostandard({ ts: true, ignores: [...neostandard.resolveIgnoresFromGitignore(), 'demo-app/public/vendor'] }),
  { rules: { '@stylistic/max-len': ['error', { code: 125, ignoreUrls: true, ignoreTemplateLiterals: true, ignoreStrings: true, ignoreRegExpLiterals: true }] } },
  { files: ['plugin/**', 'demo-app/**'], plugins: { regexp }, rules: linear },
  { files: hot, rules: quick }
]
