// TypeScript, compiled without checking types. The result is kept in .cache/typescript, one file for each source, with a
// digest of the source in front: nearly every process finds all of it there, and does not load the compiler.
//
// Two processes may compile the same source at once. Each writes a file of its own and renames it, so a reader finds a whole
// one, whoever was last.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('../../.cache/typescript/', import.meta.url))
const require = createRequire(import.meta.url)
const compilerOptions = {
  target: 'es2023',
  module: 'esnext',
  verbatimModuleSyntax: true,
  inlineSourceMap: true,
  // Nest's.
  experimentalDecorators: true,
  emitDecoratorMetadata: true
}
const conditions = JSON.stringify([require('typescript/package.json').version, compilerOptions])

/** The JavaScript of the source at `path`, whose text is given. */
export function compiled (path, text) {
  const file = `${folder}${digestOf(path)}.js`
  const head = `// ${digestOf(conditions + text)}\n`
  const kept = textOf(file)
  if (kept.startsWith(head)) return kept.slice(head.length)
  const source = require('typescript').transpileModule(text, { fileName: path, compilerOptions }).outputText
  keep(file, head + source)
  return source
}

function textOf (file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function keep (file, text) {
  const draft = `${file}.${process.pid}`
  try {
    mkdirSync(folder, { recursive: true })
    writeFileSync(draft, text)
    renameSync(draft, file)
  } catch {
    // A folder that can't be written to costs time, nothing else.
  }
}

function digestOf (text) {
  return createHash('sha256').update(text).digest('base64url')
}
