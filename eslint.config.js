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

/**
 * Each hit or miss runs most of what is in these. To add a member to a spread takes a microsecond in Node 20, as the object
 * gets a class of its own each time; and all that reads it is slow, too. ESLint can't tell that from replacing a member,
 * which is quick, so here neither is written.
 */
const hottest = [
  'plugin/cache/fill.ts', 'plugin/cache/flight.ts', 'plugin/cache/lookup.ts', 'plugin/http/*.ts', 'plugin/request/capture.ts',
  'plugin/request/hit.ts', 'plugin/request/selecting.ts', 'plugin/response/*.ts', 'plugin/store/*.ts', 'plugin/store/memory/*.ts',
  'plugin/store/redis/generations.ts', 'plugin/store/redis/redis.ts', 'plugin/store/redis/script.ts', 'plugin/store/wait/*.ts'
]
const quickest = {
  'no-restricted-syntax': [...quick['no-restricted-syntax'], {
    selector: 'ObjectExpression > SpreadElement ~ Property', message: 'Name the members: to add one to a spread is slow in Node 20, and each hit or miss runs this file.'
  }]
}

export default [
  ...neostandard({ ts: true, ignores: [...neostandard.resolveIgnoresFromGitignore(), 'demo-app/public/vendor'] }),
  { rules: { '@stylistic/max-len': ['error', { code: 125, ignoreUrls: true, ignoreTemplateLiterals: true, ignoreStrings: true, ignoreRegExpLiterals: true }] } },
  { files: ['plugin/**', 'demo-app/**'], plugins: { regexp }, rules: linear },
  { files: hot, rules: quick },
  { files: hottest, rules: quickest }
]
