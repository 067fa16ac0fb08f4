// The hooks that typescript.mjs registers.
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { compiled } from './compiled.mjs'

/** An import names the file that a build makes, `./entry.js`; the source is `./entry.ts`. */
export async function resolve (specifier, context, next) {
  const { parentURL = '' } = context
  if (/^\.\.?\//.test(specifier) && isOurs(parentURL)) {
    const url = new URL(specifier, parentURL)
    url.pathname = url.pathname.replace(/\.js$/, '.ts')
    if (isTypeScript(url.href) && existsSync(fileURLToPath(url))) return { url: url.href, format: 'module', shortCircuit: true }
  }
  return await next(specifier, context)
}

export async function load (url, context, next) {
  if (!isOurs(url) || !isTypeScript(url)) return await next(url, context)
  const path = fileURLToPath(url)
  return { format: 'module', source: compiled(path, readFileSync(path, 'utf8')), shortCircuit: true }
}

function isOurs (url) {
  return url.startsWith('file:') && !url.includes('/node_modules/')
}

function isTypeScript (url) {
  return /\.ts(?:$|[?#])/.test(url)
}
