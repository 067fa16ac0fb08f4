// A plugin with the decorators and hooks of this one (plugin/fastify/plugin.ts) that does nothing: where one of Fastify's
// own tests fails with any plugin, as it counts hooks or prints them, it fails with this one, too.
'use strict'

const FIELDS = ['exchange', 'outcome', 'marks', 'arrival', 'headers', 'source', 'ticket', 'change']

module.exports = async function twin (app) {
  app.decorate(Symbol('twin'), {})
  app.decorate('cache', {})
  for (const field of FIELDS) app.decorateRequest(Symbol(field), null)
  app.decorateRequest('cacheOutcome', { getter () { return null } })
  app.decorateReply('noCache', function () { return this })
  app.decorateReply('cacheTags', function () { return this })
  app.addHook('onRoute', () => {})
  app.addHook('onRequest', (request, reply, done) => { done() })
  app.addHook('onError', async () => {})
  app.addHook('onSend', (request, reply, payload, done) => { done(null, payload) })
  app.addHook('onReady', async () => {})
  app.addHook('onClose', async () => {})
}
