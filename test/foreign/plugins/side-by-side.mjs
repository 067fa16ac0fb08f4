// Each plugin in its own smallest use, with this one registered ahead of it and behind it, and without this one. The
// requests are made twice, so that the second round has hits.
import fastify from 'fastify'
import routeCache from 'fastify-route-cache'
import { differences, visit } from '../twin.mjs'

export const ORDERS = ['ours first', 'theirs first']

/** The differences of one use in one order: none, where all is as it should be. */
export async function compare (use, order) {
  const [seen, right] = [await run(use, order), await run(use, 'theirs alone')]
  const found = differences(seen.answers, right.answers, outcomesOf(use, order))
  if (JSON.stringify(seen.after) !== JSON.stringify(right.after)) {
    found.push(`afterwards: ${JSON.stringify(seen.after)} instead of ${JSON.stringify(right.after)}`)
  }
  return found
}

function outcomesOf ({ outcomes, requests }, order) {
  if (outcomes !== undefined) return Array.isArray(outcomes) ? outcomes : outcomes[order]
  return ['miss', 'hit'].flatMap((outcome) => requests.map(() => outcome))
}

async function run (use, order) {
  const app = fastify({ forceCloseConnections: true })
  try {
    await build(app, use, order)
    await app.listen({ port: 0, host: '127.0.0.1' })
    const cache = order === 'theirs alone' ? null : app[decoratorOf(use)]
    const answers = await visit(app, [...use.requests, ...use.requests], cache)
    return { answers, after: await use.after?.(app) }
  } finally {
    await app.close()
  }
}

async function build (app, use, order) {
  const cache = order === 'theirs alone' ? undefined : true
  const ours = async () => { await app.register(routeCache, { deadline: 30, decorator: decoratorOf(use) }) }
  // Ahead of our own onRoute hook: the routes that the plugin declares.
  if (use.declares) app.addHook('onRoute', (route) => { if ([route.method].flat().includes('GET')) route.cache ??= cache })
  if (order === 'ours first') await ours()
  await use.register(app)
  if (order === 'theirs first') await ours()
  await use.routes(app, cache)
}

function decoratorOf ({ decorator = 'cache' }) {
  return decorator
}
