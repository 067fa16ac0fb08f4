// The plugin as a build with the next layout of entries would be: `node --import=./test/helpers/next-layout.mjs FILE` reads
// plugin/ with its LAYOUT_VERSION raised by one, and nothing else changed.
import { readFileSync } from 'node:fs'
import { register } from 'node:module'
import './typescript.mjs'

const LAYOUT = new URL('../../plugin/store/layout.ts', import.meta.url)
const [line, version] = /^export const LAYOUT_VERSION: number = (\d+)$/m.exec(readFileSync(LAYOUT, 'utf8')) ?? []
if (line === undefined) throw new Error('plugin/store/layout.ts has no line with its LAYOUT_VERSION')

const hook = `
const path = ${JSON.stringify(LAYOUT.pathname)}
export async function load (url, context, next) {
  const loaded = await next(url, context)
  if (!url.startsWith('file:') || new URL(url).pathname !== path) return loaded
  const source = String(loaded.source).replace(/\\bLAYOUT_VERSION\\s*=\\s*${version}\\b/, 'LAYOUT_VERSION = ${Number(version) + 1}')
  return { ...loaded, source }
}`
register(`data:text/javascript,${encodeURIComponent(hook)}`)
