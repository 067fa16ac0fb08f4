// Loads TypeScript without checking types: `node --import=./test/helpers/typescript.mjs FILE`. Without tsconfig.json, which
// has the package's name stand for its source: what was built is to be tested, too.
import { register } from 'node:module'

register('./typescript-hooks.mjs', import.meta.url)
// An error's stack then names the lines of the source.
process.setSourceMapsEnabled(true)
