// koa-cash on a server of Koa, its store ioredis.
import { Redis } from 'ioredis'
import Koa from 'koa'
import koaCash from 'koa-cash'
import { load, probe, PROBE, serve, TTL } from './subject.js'

await serve(async ({ redisUrl }) => {
  const redis = new Redis(redisUrl)
  redis.on('error', () => {})
  const app = new Koa()
  app.use(koaCash({
    maxAge: TTL * 1000,
    get: async (key) => JSON.parse(await redis.get(key)),
    set: async (key, value, maxAge) => {
      if (value) await redis.set(key, JSON.stringify(value), 'PX', maxAge)
      else await redis.del(key)
    }
  }))
  app.use(async (ctx) => {
    if (await ctx.cashed()) return
    if (ctx.path !== '/probe') ctx.body = await load(ctx.path.slice('/item/'.length))
    else {
      ctx.status = PROBE.status
      ctx.set(PROBE.header, PROBE.made)
      ctx.type = PROBE.type
      ctx.body = probe()
    }
  })
  const server = app.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  return { url: `http://127.0.0.1:${server.address().port}`, invalidate: async (id) => await redis.del(`/item/${id}`) }
})
