// `fastify-route-cache/dashboard`: a page that shows the caches of all processes, looks keys up and invalidates, for
// everybody whom the guard lets pass. This file wires: options -> guard -> recorder and reports -> pages and api.
import type { FastifyInstance } from 'fastify'
import { readDashboardSettings, type DashboardOptions, type Guard, type DashboardSettings } from './settings.js'
import { withoutSecrets } from '../../errors.js'
import { api } from './api.js'
import { healthOf } from './health.js'
import { isOurHost } from './hosts.js'
import { overviewOf, type Overview } from './overview.js'
import { pages, protect } from './pages.js'
import { Recorder } from './recorder.js'
import { Reports, type Heard } from './reports.js'
import { HarmlessLog } from '../../telling/events.js'

export type { DashboardOptions, Guard } from './settings.js'

/**
 * The dashboard: `await app.register(dashboard, { prefix: '/cache', guard: (request) => request.user?.isAdmin === true })`,
 * behind the cache itself.
 * @throws RouteCacheError FRC_OPTION where neither `guard` nor `public: true` says who may see it, or an option is wrong
 */
export async function dashboard (app: FastifyInstance, options: DashboardOptions): Promise<void> {
  const settings = readDashboardSettings(app, options)
  const { cache, guard, hosts } = settings
  const recorder = new Recorder(cache, settings.now)
  const reports = cache.redis === null ? null : new Reports({ ...settings, redis: cache.redis, prefix: cache.prefix })
  const log = new HarmlessLog(app.log)
  const timer = setInterval(() => {
    recorder.look()
    if (reports !== null) tell(reports, recorder).catch((error: unknown) => { log.debug({ err: error }, 'the dashboard could not tell Redis') })
  }, settings.interval)
  // Nobody is kept alive by being counted.
  timer.unref()
  app.addHook('onClose', async () => {
    clearInterval(timer)
    recorder.end()
  })
  if (hosts !== null) checkHosts(app, hosts)
  if (guard !== null) guardAll(app, guard)
  await app.register(pages)
  await app.register(api, { prefix: '/api', cache, overview: async (only, route) => await look(settings, { recorder, reports, only, route }) })
}
export default dashboard

/** Nothing is told to a page whose name was made to lead here. */
function checkHosts (app: FastifyInstance, hosts: readonly string[]): void {
  let isWarned = false
  app.addHook('onRequest', async (request, reply) => {
    if (isOurHost(request, hosts)) return
    if (!isWarned) {
      isWarned = true
      app.log.warn({ host: request.headers.host, forwarded: request.host }, 'the dashboard was asked for under a name that is not ' +
        'among its hosts; where it is yours, say so: hosts: [\'ops.example.com\']')
    }
    return protect(reply).code(403).type('text/plain; charset=utf-8').header('cache-control', 'no-store').send(OTHER_HOST)
  })
}

/** In onRequest: nothing is read of a request that is not let through. */
function guardAll (app: FastifyInstance, guard: Guard): void {
  let isWarned = false
  app.addHook('onRequest', async (request, reply) => {
    const answer = await guard(request, reply)
    if (reply.sent) return reply
    if (answer === true) return
    if (answer === undefined && !isWarned) {
      isWarned = true
      app.log.warn('the guard of the dashboard gave undefined, which lets nobody through; it lets through by returning true')
    }
    // RFC 9110 §11.6.1: a 401 says how to do better. The guard may have said so itself.
    if (!reply.hasHeader('www-authenticate')) reply.header('www-authenticate', 'Guard realm="cache dashboard"')
    return protect(reply).code(401).type('text/plain; charset=utf-8').header('cache-control', 'no-store').send(REFUSED)
  })
}

/** As bytes, as hooks of the app may have given the reply a serializer. */
const OTHER_HOST = Buffer.from('The dashboard is not served under this name; the app says under which: hosts: [\'ops.example.com\'].\n')
const REFUSED = Buffer.from('The guard of this dashboard did not let you through.\n')

async function tell (reports: Reports, recorder: Recorder): Promise<void> {
  if (await reports.isWatched()) await reports.put(recorder.report)
}

interface Looked { recorder: Recorder, reports: Reports | null, only: string | null, route: string | null }

async function look (
  { cache, name, now }: DashboardSettings, { recorder, reports, only, route }: Looked
): Promise<Overview> {
  const { redis, prefix } = cache
  let alone: string | null = null
  const [others, health] = await Promise.all([
    reports === null ? [] : reports.read().catch((error: unknown) => { alone = reasonOf(error); return [] }),
    redis === null ? null : healthOf(redis)
  ])
  const heard: Heard[] = [{ age: 0, report: recorder.report }, ...others.filter(({ report }) => report.id !== recorder.id)]
  const { warnings } = cache
  return overviewOf({ name, prefix, heard, own: recorder.id, alone, redis: health, warnings, now: now(), only, route })
}

function reasonOf (error: unknown): string {
  return String((withoutSecrets(error) as Partial<Error> | undefined)?.message ?? error)
}
