// Loads TypeScript without checking types: `node --import=./test/helpers/typescript.mjs FILE`. Without tsconfig.json, which
// has the package's name stand for its source: what was built is to be tested, too.
import { register } from 'tsx/esm/api'

register({ tsconfig: false })
