// Runs command.ts as TypeScript outside tap, with the same loader, types not checked. Plain JavaScript: it runs before the
// loader is there.
await import('../../helpers/typescript.mjs')
await import('./command.ts')
