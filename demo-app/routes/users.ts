// The classic exercise: a user by id, cached for ten minutes.
import type { FastifyInstance } from 'fastify'
import { fields, id, userBody } from '../fields.js'
import { notFound } from '../problem.js'
import { schema } from '../schema.js'

interface Named { Params: { id: string } }

export async function users (app: FastifyInstance): Promise<void> {
  app.get<Named>('/users/:id', {
    schema: { params: fields({ id }) }, cache: { key: 'user:{id}', ttl: 600 }
  }, async (request) => {
    const { rows } = await app.pg.query(`select id, name, email from ${schema}.users where id = $1`, [request.params.id])
    return existing(rows, request.params.id)
  })

  app.put<Named & { Body: { name: string, email: string } }>('/users/:id', {
    schema: { params: fields({ id }), body: userBody }, cache: { invalidates: ['user:{id}'], onError: 'fail' }
  }, async (request) => {
    const { params, body } = request
    const { rows } = await app.pg.query(
      `update ${schema}.users set name = $1, email = $2 where id = $3 returning id, name, email`,
      [body.name, body.email, params.id])
    return existing(rows, params.id)
  })
}

function existing (rows: unknown[], id: string): unknown {
  if (rows[0] === undefined) throw notFound('id', `there is no user ${id}`)
  return rows[0]
}
