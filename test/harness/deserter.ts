// Run by redis.test.ts as a process of its own: starts two servers and ends without stopping them.
import { startRedis } from '../helpers/redis.js'
import { processFolder } from '../helpers/watchdog.js'

const servers = await Promise.all([startRedis(), startRedis()])
await servers[1]?.pause()
console.log(JSON.stringify({ folder: processFolder(), pids: servers.map((server) => server.pid) }))

const how = process.argv[2]
if (how === 'throw') throw new Error('on purpose')
// Waits for the signal; for 'end' there is nothing to wait for: forgotten servers don't hold a process back.
if (how !== 'end') setInterval(() => {}, 1000)
