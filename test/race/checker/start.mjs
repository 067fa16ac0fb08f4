// Runs a module of this folder as TypeScript, outside tap but with tap's own loader, types not checked:
// `node start.mjs command.ts --seconds 5`. Plain JavaScript: it runs before a loader is there.
process.env.TS_NODE_TRANSPILE_ONLY = '1'
await import('@tapjs/typescript/import')
await import(new URL(process.argv[2], import.meta.url).href)
