// An app in the layout of Fastify's generator, with @fastify/autoload for its plugins and its routes.
import fastify from 'fastify'
import app, { options } from './generator/app.mjs'
import { differences, visit } from '../twin.mjs'

const PUT = (url, name) => ({ url, method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name }) })
const REQUESTS = [
  {}, {}, { url: '/example' }, { url: '/example/7' }, { url: '/example/7' }, PUT('/example/7', 'Grace'), { url: '/example/7' },
  { url: '/example/7' }, PUT('/example/7', 'Ada'), { url: '/example/9' }, { url: '/example/9' }, { url: '/nowhere' }
]
const OUTCOMES = ['miss', 'hit', 'none', 'miss', 'hit', 'none', 'miss', 'hit', 'none', 'miss', 'miss', 'none']

async function run (isCached) {
  const server = fastify({ ...options, forceCloseConnections: true })
  try {
    await server.register(app, { isCached })
    await server.listen({ port: 0, host: '127.0.0.1' })
    // The plugin lies in a plugin of the app's: its decorator is there where the routes are.
    return await visit(server, REQUESTS, null)
  } finally {
    await server.close()
  }
}

export default [
  { name: "the generator's layout, with autoload", run: async () => differences(await run(true), await run(false), OUTCOMES) }
]
