import fp from 'fastify-plugin'

export default fp(async (app) => { app.decorate('nameOf', (id) => `user ${id}`) })
