import neostandard from 'neostandard'
import regexp from 'eslint-plugin-regexp'

/** Held to time that grows with the length of the text: what they read comes from clients, origins and Redis. */
const linear = { 'regexp/no-super-linear-backtracking': ['error', { report: 'potential' }], 'regexp/no-super-linear-move': ['error', { report: 'potential' }] }

export default [
  ...neostandard({ ts: true, ignores: [...neostandard.resolveIgnoresFromGitignore(), 'demo-app/public/vendor'] }),
  { rules: { '@stylistic/max-len': ['error', { code: 125, ignoreUrls: true, ignoreTemplateLiterals: true, ignoreStrings: true, ignoreRegExpLiterals: true }] } },
  { files: ['plugin/**', 'demo-app/**'], plugins: { regexp }, rules: linear }
]
