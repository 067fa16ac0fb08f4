// A user's ES module: the dashboard, with all that its page loads.
import assert from 'node:assert/strict'
import Fastify from 'fastify'
import routeCache from 'fastify-route-cache'
import dashboard, { dashboard as named } from 'fastify-route-cache/dashboard'

assert.equal(dashboard, named)
const app = Fastify()
await app.register(routeCache)
await assert.rejects(async () => await app.register(dashboard, { prefix: '/open' }), { code: 'FRC_OPTION', message: /guard/ })

const other = Fastify()
await other.register(routeCache)
await other.register(dashboard, { prefix: '/cache', public: true })
const { body } = await other.inject('/cache/')
const files = Array.from(body.matchAll(/(?:src|href)="([^"]+)"/g), ([, file]) => file)
assert.ok(files.includes('uPlot.js'))
for (const file of [...files, 'elements.js']) assert.equal((await other.inject(`/cache/${file}`)).statusCode, 200, file)
assert.equal((await other.inject('/cache/api/overview')).json().name, 'cache')
await other.close()
console.log('used')
