// `npm run demo`: reads the environment, starts the servers that are missing, prints one line with the address.
import { once } from 'node:events'
import { createServer } from 'node:net'
import { buildApp } from './app.js'
import { prepareDatabase } from './database.js'
import { startPostgres } from './embedded-postgres.js'
import { connectRedis, disconnectRedis } from './redis.js'
import { readSettings, type Settings } from './settings.js'
import { StartError, reasonOf } from './start-error.js'

// Everything that must be ended, the latest first.
const endings: (() => Promise<void>)[] = []
let stopping = false

async function start (settings: Settings): Promise<void> {
  await checkPort(settings)
  const { hosts, redisUrls, databaseUrl, dataFolder, logLevel, deadline } = settings
  const redis = redisUrls.length > 0 ? await connectRedis(redisUrls) : undefined
  if (redis !== undefined) endings.push(async () => await disconnectRedis(redis))
  const postgres = databaseUrl === undefined ? await startPostgres(dataFolder) : undefined
  if (postgres !== undefined) endings.push(postgres.stop)
  const url = postgres?.url ?? databaseUrl ?? ''
  await prepareDatabase(url)
  const databaseName = postgres === undefined ? 'the Postgres of DATABASE_URL' : 'an embedded Postgres'
  const app = await buildApp({ databaseUrl: url, databaseName, redis, hosts, logLevel, deadline })
  endings.push(async () => await app.close())
  const address = await listen(app, settings)
  const store = redis === undefined ? 'an in-process store' : 'Redis'
  console.log(`The demo is ready at ${address} (${databaseName}, ${store})`)
}

async function listen (app: Awaited<ReturnType<typeof buildApp>>, { host, port }: Settings): Promise<string> {
  try {
    return await app.listen({ host, port })
  } catch (error) {
    throw cannotListen({ host, port }, error)
  }
}

// Before anything else: the first start takes seconds, and a taken port is the likeliest mistake.
async function checkPort (address: { host: string, port: number }): Promise<void> {
  const probe = createServer()
  try {
    await once(probe.listen(address), 'listening')
  } catch (error) {
    throw cannotListen(address, error)
  }
  await new Promise((resolve) => probe.close(resolve))
}

function cannotListen ({ host, port }: { host: string, port: number }, error: unknown): StartError {
  return new StartError(`HOST and PORT: cannot listen on ${host}:${port}: ${reasonOf(error)}`)
}

async function stop (code: number): Promise<void> {
  if (stopping) return
  stopping = true
  for (const end of endings.reverse()) await end().catch((error: unknown) => console.error(error))
  process.exit(code)
}

// npm hands a signal on to the shell that it started, and not every shell hands it on to us: so the shell's end, which
// gives us another parent, counts as well.
function stopWithParent (): void {
  const parent = process.ppid
  setInterval(() => { if (process.ppid !== parent) stop(0) }, 500).unref()
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => { stop(0) })
if (process.env.npm_lifecycle_event !== undefined) stopWithParent()

try {
  await start(readSettings(process.env))
} catch (error) {
  if (!stopping) console.error(error instanceof StartError ? `demo: ${error.message}` : error)
  await stop(1)
}
