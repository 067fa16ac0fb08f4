// Installs the peers where they are missing, and runs chaos-peers.ts as TypeScript outside tap, with the same loader, types
// not checked. Plain JavaScript: it runs before the loader is there.
import { installPeers } from '../install.mjs'

installPeers()
await import('../../test/helpers/typescript.mjs')
await import('./chaos-peers.ts')
