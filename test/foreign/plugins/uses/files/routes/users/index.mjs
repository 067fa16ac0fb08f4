export default async function users (app, { cache }) {
  app.get('/:id', { cache }, async (request) => ({ name: app.nameOf(request.params.id) }))
}
