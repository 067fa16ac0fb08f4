// One of the processes that read, forked by fleet.ts. It also has the write that somebody tries again elsewhere.
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyRequest } from 'fastify'
import { openApp, type AppConfig } from './app.js'

/** What a read is answered. */
export interface ReadBody { process: number, version: number }

const { app, pool, config } = await openApp<AppConfig & { process: number }>()

/** The version that there is now; then it takes as long as the request says. */
async function late ({ params, headers }: FastifyRequest): Promise<ReadBody> {
  const { id } = params as { id: string }
  const { rows: [row] } = await pool.query<{ version: number }>({
    name: 'row', text: 'select version from rows where id = $1', values: [id]
  })
  await delay(Number(headers['x-delay'] ?? 0))
  return { process: config.process, version: row!.version }
}

app.get('/row/:id', { cache: { key: 'row:{id}' } }, late)
app.get('/tagged/:id', { cache: { key: 'tagged:{id}', tags: ['group:{id}'] } }, late)
app.post<{ Params: { id: string } }>('/write/:id', async ({ params: { id } }) => {
  await app.cache.mutate({ keys: [`row:${id}`], tags: [`group:${id}`] }, async () => {
    await pool.query('update rows set version = version + 1 where id = $1', [id])
  })
  return {}
})
process.send?.(await app.listen({ host: '127.0.0.1', port: 0 }))
