export default async function (fastify) {
  fastify.get('/', { cache: true }, async function () {
    return { root: true }
  })
}
