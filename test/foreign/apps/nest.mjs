// Nest on its Fastify adapter. Its guards run inside the handler that Fastify gets: a cached route would pass them by, so
// such an app does not start. Node has no decorators yet: here they are called. test/extras/nest.test.ts has apps with the
// module.
import 'reflect-metadata'
import { Controller, Get, Injectable, Module, Param, UseGuards } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import fastify from 'fastify'
import routeCache from 'fastify-route-cache'

class Guard {
  canActivate (context) {
    return context.switchToHttp().getRequest().headers['x-who'] === 'ada'
  }
}
Injectable()(Guard)

class Items {
  list () { return ['a', 'b'] }
  item (id) { return { id } }
}
decorate('list', Get('items'))
decorate('item', Get('items/:id'), Param('id'))
UseGuards(Guard)(Items)
Controller()(Items)

class Shop {}
Module({ controllers: [Items] })(Shop)

class Parts {
  part (id) { return { id } }
}
decorate('part', Get('items/:id/parts'), Param('id'), Parts)
Controller()(Parts)

/** All its paths have parameters: Nest wraps these handlers. */
class Depot {}
Module({ controllers: [Parts] })(Depot)

function decorate (name, method, parameter, { prototype } = Items) {
  parameter?.(prototype, name, 0)
  method(prototype, name, Object.getOwnPropertyDescriptor(prototype, name))
}

/** The app, its GET routes cached by an onRoute hook, as nothing of Nest's can give a route options. */
async function create (adapter, isCached, module = Shop) {
  const server = adapter.getInstance()
  if (isCached) server.addHook('onRoute', (route) => { if (route.method === 'GET') route.cache = true })
  const app = await NestFactory.create(module, adapter, { logger: false })
  await app.register(routeCache, { deadline: 30 })
  return { app, server }
}

async function refused (adapter, module) {
  const { app, server } = await create(adapter, true, module)
  try {
    await app.init()
    await server.ready()
    return ['it started']
  } catch ({ code, message }) {
    return code === 'FRC_OPTION' && /^route GET \/items.*can't be used under Nest/.test(message) ? [] : [message]
  } finally {
    await app.close()
  }
}

/** Nothing is cached, and nothing else is changed. */
async function uncached () {
  const { app, server } = await create(new FastifyAdapter(), false)
  try {
    await app.init()
    await server.ready()
    const statuses = []
    for (const who of ['ada', 'bob', 'ada']) statuses.push((await server.inject({ url: '/items/7', headers: { 'x-who': who } })).statusCode)
    return String(statuses) === '200,403,200' ? [] : [`it answered ${statuses}`]
  } finally {
    await app.close()
  }
}

export default [
  { name: 'Nest: a cached route is refused at start', run: () => refused(new FastifyAdapter()) },
  { name: 'Nest, on an instance of the app\'s own: refused as well', run: () => refused(new FastifyAdapter(fastify())) },
  { name: 'Nest, on its own instance, with params in all paths: refused as well', run: () => refused(new FastifyAdapter(fastify()), Depot) },
  { name: 'Nest: without a cached route nothing changes', run: uncached }
]
