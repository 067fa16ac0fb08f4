// What the house rules need to know of source files: their imports and where they read the wall clock. A tree is a map
// from path to text, so that a rule can be shown a made-up one that breaks it.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path/posix'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

export type Tree = ReadonlyMap<string, string>

export const root = fileURLToPath(new URL('../../', import.meta.url))

/** The TypeScript files below `folders`, by their paths from the repository's root; what npm installed there is not ours. */
export function readTree (...folders: string[]): Tree {
  const paths = folders.flatMap(pathsBelow)
  const sources = paths.filter((path) => /(?<!\.d)\.[cm]?ts$/.test(path))
  return new Map(sources.sort().map((path) => [path, readFileSync(root + path, 'utf8')]))
}

function pathsBelow (folder: string): string[] {
  return readdirSync(root + folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (!entry.isDirectory()) return [path]
    return entry.name === 'node_modules' ? [] : pathsBelow(path)
  })
}

/** What a file imports, types included: paths from the root for its neighbours, names for packages. */
export function importsOf (tree: Tree, path: string): string[] {
  const { importedFiles } = ts.preProcessFile(tree.get(path) ?? '', true, true)
  return importedFiles.map(({ fileName }) => fileName.startsWith('.') ? resolve(path, fileName) : fileName)
}

function resolve (from: string, specifier: string): string {
  return normalize(join(dirname(from), specifier)).replace(/\.([cm]?)js$/, '.$1ts')
}

/** One ring of files that import each other, first file again at the end; undefined where there is none. */
export function findCycle (tree: Tree): string[] | undefined {
  const done = new Set<string>()
  const visit = (path: string, above: string[]): string[] | undefined => {
    const start = above.indexOf(path)
    if (start >= 0) return [...above.slice(start), path]
    if (done.has(path)) return undefined
    for (const next of importsOf(tree, path)) {
      const cycle = tree.has(next) ? visit(next, [...above, path]) : undefined
      if (cycle !== undefined) return cycle
    }
    done.add(path)
    return undefined
  }
  for (const path of tree.keys()) {
    const cycle = visit(path, [])
    if (cycle !== undefined) return cycle
  }
  return undefined
}

/** The names that a file declares and exports, each once; neither the default one nor what it passes on from other files. */
export function exportedNames (tree: Tree, path: string): string[] {
  const { statements } = ts.createSourceFile(path, tree.get(path) ?? '', ts.ScriptTarget.Latest)
  return [...new Set(statements.flatMap(namesOf))]
}

function namesOf (statement: ts.Statement): string[] {
  if (ts.isExportDeclaration(statement)) return listedNames(statement)
  const modifiers = ts.canHaveModifiers(statement) ? ts.getModifiers(statement) ?? [] : []
  const kinds = modifiers.map(({ kind }) => kind)
  if (!kinds.includes(ts.SyntaxKind.ExportKeyword) || kinds.includes(ts.SyntaxKind.DefaultKeyword)) return []
  const list: readonly ts.NamedDeclaration[] = ts.isVariableStatement(statement)
    ? statement.declarationList.declarations
    : [statement as ts.DeclarationStatement]
  return list.flatMap(({ name }) => name !== undefined && ts.isIdentifier(name) ? [name.text] : [])
}

function listedNames ({ exportClause, moduleSpecifier }: ts.ExportDeclaration): string[] {
  if (moduleSpecifier !== undefined || exportClause === undefined || !ts.isNamedExports(exportClause)) return []
  return exportClause.elements.map(({ name }) => name.text)
}

/** How often a file reads the wall clock: `Date.now` or a `Date` of now. Comments don't count. */
export function clockReads (tree: Tree, path: string): number {
  let reads = 0
  const visit = (node: ts.Node): void => {
    if (isClockRead(node)) reads++
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(path, tree.get(path) ?? '', ts.ScriptTarget.Latest))
  return reads
}

function isClockRead (node: ts.Node): boolean {
  const isDate = (name: ts.Node) => ts.isIdentifier(name) && name.text === 'Date'
  if (ts.isPropertyAccessExpression(node)) return isDate(node.expression) && node.name.text === 'now'
  if (ts.isNewExpression(node)) return isDate(node.expression) && (node.arguments ?? []).length === 0
  return false
}
