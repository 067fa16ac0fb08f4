import neostandard from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: [...neostandard.resolveIgnoresFromGitignore(), 'demo-app/public/vendor'] }),
  { rules: { '@stylistic/max-len': ['error', { code: 125, ignoreUrls: true, ignoreTemplateLiterals: true, ignoreStrings: true, ignoreRegExpLiterals: true }] } }
]
