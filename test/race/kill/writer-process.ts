// A process that writes one row, and is killed meanwhile: it says at which step it is, and goes on only when it is told to.
import { once } from 'node:events'
import { openApp, type AppConfig } from './app.js'
import type { Step } from './step.js'

const { app, pool, config: { row } } = await openApp<AppConfig & { row: number }>()

async function at (step: Step | 'ready'): Promise<void> {
  process.send?.(step)
  await once(process, 'message')
}

await app.ready()
await at('ready')
await app.cache.mutate({ keys: [`row:${row}`], tags: [`group:${row}`] }, async () => {
  await at('before work')
  const client = await pool.connect()
  await client.query('begin')
  await client.query('update rows set version = version + 1 where id = $1 returning version', [row])
  await at('in the transaction')
  await client.query('commit')
  await at('after commit')
})
