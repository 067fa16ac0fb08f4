// Loaded ahead of each of Fastify's own test files (`node --require`): every `fastify()` that they call registers this
// plugin first, or, to compare with, a plugin that has the same hooks and does nothing. The test files stay as they are.
//
// The plugin's function is called at once, and not handed to `register`: this would run it when the app loads, and all
// routes that a test declares on the root would have stayed uncached by then. Entries live in the process' own store:
// thousands of apps would be as many connections to a Redis, and the tests are about Fastify's hooks, which lie in front of
// any store.
'use strict'

const { appendFileSync } = require('node:fs')
const { ServerResponse } = require('node:http')
const Module = require('node:module')
const { join, sep } = require('node:path')

const { FOREIGN_SUBJECT: subject, FOREIGN_COUNTS: counts } = process.env
const entry = join('node_modules', 'fastify', 'fastify.js')
const isCached = subject === 'cached'
const routeCache = subject === 'twin' ? require('./twin.cjs') : require('../../../dist/cjs/index.js').default

const seen = { apps: 0, answers: 0, marked: 0, hits: 0 }

const loadFile = Module._extensions['.js']
Module._extensions['.js'] = function (module, filename) {
  loadFile.call(this, module, filename)
  if (filename.endsWith(sep + entry)) module.exports = withPlugin(module.exports)
}

/** What fastify.js exports, its function wrapped. */
function withPlugin (exported) {
  const wrapped = function fastify (options) {
    const app = exported(options)
    seen.apps++
    registerFirst(app)
    return app
  }
  return Object.assign(wrapped, exported, { fastify: wrapped, default: wrapped })
}

function registerFirst (app) {
  if (isCached) app.addHook('onRoute', cacheGet)
  // Without a Redis client the plugin says at once, in one line of level info, where its entries live. Tests count lines.
  const { log } = app
  const info = Object.getOwnPropertyDescriptor(log, 'info')
  log.info = () => {}
  try {
    routeCache(app, {})
  } finally {
    if (info === undefined) delete log.info
    else Object.defineProperty(log, 'info', info)
  }
}

/** A route for other methods, too, can't be cached: the plugin refuses the option. */
function cacheGet (route) {
  if ([route.method].flat().every((method) => method === 'GET' || method === 'HEAD')) route.cache ??= true
}

// Each response ends in this, inject's as well; HTTP/2's do not, and are not counted.
const { writeHead } = ServerResponse.prototype
ServerResponse.prototype.writeHead = function (...args) {
  const result = writeHead.apply(this, args)
  seen.answers++
  const [, said] = /\r\ncache-status: ([^\r]*)/i.exec(this._header) ?? []
  if (said !== undefined) seen.marked++
  if (said?.includes('; hit')) seen.hits++
  return result
}

process.on('exit', () => {
  if (seen.apps > 0) appendFileSync(counts, `${JSON.stringify(seen)}\n`)
})
