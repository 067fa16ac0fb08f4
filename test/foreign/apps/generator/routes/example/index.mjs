const names = new Map([['7', 'Ada']])

export default async function (fastify) {
  fastify.get('/', async function () {
    return 'this is an example'
  })

  fastify.get('/:id', { cache: { key: 'example:{id}', ttl: '10m' } }, async function (request) {
    const name = names.get(request.params.id)
    if (name === undefined) throw fastify.httpErrors.notFound()
    return { name, support: fastify.someSupport() }
  })

  fastify.put('/:id', { cache: { invalidates: ['example:{id}'] } }, async function (request, reply) {
    names.set(request.params.id, request.body.name)
    return reply.code(204).send()
  })
}
