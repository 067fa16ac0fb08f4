// A tRPC router with a check in a procedure. Its adapter declares one route for all methods, which the plugin does not
// cache; procedures keep values, behind the check.
import { TRPCError, initTRPC } from '@trpc/server'
import { fastifyTRPCPlugin } from '@trpc/server/adapters/fastify'
import fastify from 'fastify'
import routeCache from 'fastify-route-cache'
import { differences, visit } from '../twin.mjs'

const call = (name, user) => ({ url: `/trpc/${name}`, headers: user === undefined ? {} : { 'x-who': user } })
const REQUESTS = [
  call('hello'), call('hello'), call('secret', 'ada'), call('secret', 'ada'), call('secret', 'bob'), call('secret'), call('secret', 'ada')
]
const OUTCOMES = REQUESTS.map(() => 'none')

function routerOf (keep) {
  const trpc = initTRPC.context().create()
  const known = trpc.procedure.use(({ ctx, next }) => {
    if (ctx.user === undefined) throw new TRPCError({ code: 'UNAUTHORIZED' })
    return next()
  })
  return trpc.router({
    hello: trpc.procedure.query(() => keep('hello', () => 'hello')),
    secret: known.query(({ ctx }) => keep(`secret:${ctx.user}`, () => `of ${ctx.user}`))
  })
}

async function run (isCached) {
  const app = fastify({ forceCloseConnections: true })
  let runs = 0
  const counted = (load) => () => {
    runs++
    return load()
  }
  try {
    if (isCached) await app.register(routeCache, { deadline: 30 })
    const keep = isCached ? (key, load) => app.cache.getOrSet(key, { ttl: '1m' }, counted(load)) : (key, load) => load()
    const createContext = ({ req }) => ({ user: req.headers['x-who'] })
    await app.register(fastifyTRPCPlugin, { prefix: '/trpc', trpcOptions: { router: routerOf(keep), createContext } })
    await app.listen({ port: 0, host: '127.0.0.1' })
    return { answers: await visit(app, REQUESTS, app.cache), runs }
  } finally {
    await app.close()
  }
}

async function compare () {
  const { answers, runs } = await run(true)
  const found = differences(answers, (await run(false)).answers, OUTCOMES)
  // hello, ada's and bob's.
  return runs === 3 ? found : [...found, `the procedures' work was done ${runs} times instead of 3`]
}

/** An app that has every route cached, that of the adapter's too, does not start. */
async function refuse () {
  const app = fastify()
  try {
    app.addHook('onRoute', (route) => { route.cache = true })
    await app.register(routeCache)
    const options = { prefix: '/trpc', trpcOptions: { router: routerOf((key, load) => load()) } }
    // The adapter takes a callback, and Fastify has what throws in such a plugin end the process.
    await app.register(async (child) => { fastifyTRPCPlugin(child, options, () => {}) })
    await app.ready()
    return ['the route of tRPC was cached']
  } catch (error) {
    return /only GET and HEAD routes can be cached/.test(error.message) ? [] : [error.message]
  } finally {
    await app.close()
  }
}

export default [
  { name: 'tRPC: a check in a procedure', run: compare },
  { name: "tRPC: its adapter's route is refused", run: refuse }
]
