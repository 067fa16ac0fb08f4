// Invalidation by hand, for the page's buttons and for curl. Changes of cities invalidate by themselves.
import type { FastifyInstance } from 'fastify'
import { code, fields, id } from '../fields.js'

export async function invalidations (app: FastifyInstance): Promise<void> {
  const { cache } = app

  for (const [path, template] of [['/cache/users/:id', 'user:{id}'], ['/cache/cities/:id', 'city:{id}']] as const) {
    app.delete<{ Params: { id: string } }>(path, { schema: { params: fields({ id }) } }, async (request) => {
      return { removed: await cache.invalidate(cache.key(template, { id: request.params.id })) }
    })
  }

  app.delete<{ Params: { code: string } }>('/cache/countries/:code/cities', {
    schema: { params: fields({ code }) }
  }, async (request) => {
    return { removed: await cache.invalidate({ prefix: `cities:${request.params.code}:` }) }
  })

  app.delete('/cache/countries', async () => ({ removed: await cache.invalidate('countries') }))

  app.delete('/cache/nearest', async () => ({ removed: await cache.invalidate({ prefix: 'nearest:' }) }))
}
