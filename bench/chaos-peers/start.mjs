// Installs the peers where they are missing, and runs chaos-peers.ts as TypeScript outside tap, with tap's own loader, types
// not checked. Plain JavaScript: it runs before the loader is there.
import { installPeers } from '../install.mjs'

installPeers()
process.env.TS_NODE_TRANSPILE_ONLY = '1'
await import('@tapjs/typescript/import')
await import('./chaos-peers.ts')
