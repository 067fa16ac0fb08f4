// Postgres invalidates: a changed row ends its entries, whoever changes it, in psql or elsewhere; the routes do nothing for
// it. This program needs an empty database, in which it makes its table, and `npm install @fastify/postgres pg`.
//
//   DATABASE_URL=postgres://localhost/example node examples/cities.mjs
//
//   curl -i localhost:3000/cities/1                                     # {"id":1,"name":"Cordoba","country":"AR"}
//   curl -i localhost:3000/cities/1                                     # Cache-Status: fastify-route-cache; hit; ttl=3600
//   curl -i localhost:3000/countries/AR                                 # ["Cordoba","Rosario"]
//   curl -i localhost:3000/countries/ES                                 # ["Sevilla"]
//   curl -i localhost:3000/countries/FR                                 # ["Lyon"]
//   psql example -c "UPDATE cities SET name = 'Córdoba' WHERE id = 1"   # UPDATE 1
//   curl -i localhost:3000/cities/1                                     # {"id":1,"name":"Córdoba","country":"AR"}
//   curl -i localhost:3000/countries/AR                                 # ["Córdoba","Rosario"]
//   curl -i localhost:3000/countries/ES                                 # Cache-Status: fastify-route-cache; hit; ttl=3600
//   psql example -c "UPDATE cities SET country = 'ES' WHERE id = 1"     # UPDATE 1
//   curl -i localhost:3000/countries/AR                                 # ["Rosario"]
//   curl -i localhost:3000/countries/ES                                 # ["Córdoba","Sevilla"]
//   curl -i localhost:3000/countries/FR                                 # Cache-Status: fastify-route-cache; hit; ttl=3600
import fastify from 'fastify'
import fastifyPostgres from '@fastify/postgres'
import routeCache from 'fastify-route-cache'
import postgresInvalidation from 'fastify-route-cache/postgres'

const app = fastify()
await app.register(fastifyPostgres, { connectionString: process.env.DATABASE_URL })
await app.pg.query(`
  CREATE TABLE IF NOT EXISTS cities (id integer PRIMARY KEY, name text NOT NULL, country text NOT NULL);
  INSERT INTO cities VALUES (1, 'Cordoba', 'AR'), (2, 'Rosario', 'AR'), (3, 'Sevilla', 'ES'), (4, 'Lyon', 'FR')
  ON CONFLICT DO NOTHING`)

await app.register(routeCache, { prefix: 'atlas', ttl: '1h' })
await app.register(postgresInvalidation, {
  // Of an UPDATE the old row counts and the new one: a city that moves concerns the lists of both countries.
  watch: [{ table: 'cities', keys: 'city:{id}', tags: ['cities', 'country:{country}'] }],
  install: true // the triggers; docs/postgres.md says how a migration does it instead
})

app.get('/cities/:id', { cache: { key: 'city:{id}' } }, async (request) => {
  const { rows } = await app.pg.query('SELECT id, name, country FROM cities WHERE id = $1', [request.params.id])
  return rows[0]
})

app.get('/countries/:country', { cache: { tags: ['country:{country}'] } }, async (request) => {
  const { rows } = await app.pg.query('SELECT name FROM cities WHERE country = $1 ORDER BY name', [request.params.country])
  return rows.map(({ name }) => name)
})

await app.listen({ port: Number(process.env.PORT ?? 3000) })
