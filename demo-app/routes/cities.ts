// One city, and a country's list of them. Every change invalidates its keys and tags, after the database has committed it.
import type { FastifyInstance } from 'fastify'
import { cityBody, code, fields, id, page } from '../fields.js'
import { notFound } from '../problem.js'
import { schema } from '../schema.js'

interface CityBody {
  name: string
  lat: number
  lng: number
  country: string
  admin1: string
  admin2: string
}

interface Named { Params: { id: string } }

const pageSize = 50

const selectCity = `
select city.id, city.name, city.lat, city.lng, city.country, city.admin1, region.name as region, city.admin2,
  district.name as district
from ${schema}.cities as city
left join ${schema}.regions as region on region.code = city.country || '.' || city.admin1
left join ${schema}.regions as district on district.code = city.country || '.' || city.admin1 || '.' || city.admin2
where city.id = $1`

const selectPage = `
select id, name, lat, lng, admin1 from ${schema}.cities
where country = $1 order by name, lat, lng limit ${pageSize} offset ${pageSize} * ($2::integer - 1)`

export async function cities (app: FastifyInstance): Promise<void> {
  readCities(app)
  createCities(app)
  changeCities(app)
}

function readCities (app: FastifyInstance): void {
  const { pg } = app

  app.get<Named>('/cities/:id', {
    schema: { params: fields({ id }) }, cache: { key: 'city:{id}', ttl: '1h', revalidate: true }
  }, async (request, reply) => {
    const { id } = request.params
    // When its hour is over, one cheap query tells whether the row has changed; names of regions never do.
    const { rows: [row] } = await pg.query<{ version: string }>(
      `select updated_at::text as version from ${schema}.cities where id = $1`, [id])
    if (row === undefined) throw noCity(id)
    if (reply.notModified({ etag: row.version })) return reply
    return await city(app, id)
  })

  app.get<{ Params: { code: string }, Querystring: { page: string } }>('/countries/:code/cities', {
    schema: { params: fields({ code }), querystring: fields({ page: { ...page, default: '1' } }, []) },
    cache: { key: 'cities:{code}:page:{page}', tags: ['country:{code}'], ttl: '10m' }
  }, async (request) => {
    const { params: { code }, query: { page } } = request
    const total = await countCities(app, code)
    if (total === 0) throw notFound('code', `there are no cities in ${code}`)
    const { rows } = await pg.query(selectPage, [code, page])
    return { country: code, page: Number(page), pages: Math.ceil(total / pageSize), total, cities: rows }
  })
}

function createCities (app: FastifyInstance): void {
  const { cache, pg } = app

  app.post<{ Body: CityBody }>('/cities', { schema: { body: cityBody } }, async (request, reply) => {
    const { body } = request
    // Its id is needed ahead, as its key is.
    const { rows: [next] } = await pg.query<{ id: number }>(`select nextval(pg_get_serial_sequence('${schema}.cities', 'id')) as id`)
    const id = Number(next?.id)
    const created = await cache.set(cache.key('city:{id}', { id }), async () => {
      await pg.query(`
        insert into ${schema}.cities (name, lat, lng, country, admin1, admin2, id) values ($1, $2, $3, $4, $5, $6, $7)`,
      [...values(body), id])
      return await city(app, id)
    }, { route: `/cities/${id}` })
    await changed(app, [body.country])
    reply.code(201).header('location', `/cities/${id}`)
    return created
  })
}

function changeCities (app: FastifyInstance): void {
  const { cache, pg } = app

  app.put<Named & { Body: CityBody }>('/cities/:id', {
    schema: { params: fields({ id }), body: cityBody }
  }, async (request) => {
    const { params: { id }, body } = request
    const countries = [body.country]
    const changedCity = await cache.set(cache.key('city:{id}', { id }), async () => {
      const { rows: [row] } = await pg.query<{ before: string }>(`
        with old as (select id, country from ${schema}.cities where id = $7 for update)
        update ${schema}.cities as city
        set name = $1, lat = $2, lng = $3, country = $4, admin1 = $5, admin2 = $6, updated_at = clock_timestamp()
        from old where city.id = old.id returning old.country as before`, [...values(body), id])
      if (row === undefined) throw noCity(id)
      // A city that moves to another country leaves one country's lists and enters the other's.
      countries.push(row.before)
      return await city(app, id)
    }, { route: `/cities/${id}` })
    await changed(app, countries)
    return changedCity
  })

  app.delete<Named>('/cities/:id', { schema: { params: fields({ id }) } }, async (request, reply) => {
    const { id } = request.params
    const { country } = await city(app, id)
    // Whatever happens in between, also to this process: nothing of it is served when the row has gone.
    const targets = { keys: [cache.key('city:{id}', { id })], tags: ['cities', `country:${country}`] }
    const { rows: [row] } = await cache.mutate(targets, async () => await pg.query<{ country: string }>(
      `delete from ${schema}.cities where id = $1 returning country`, [id]))
    if (row === undefined) throw noCity(id)
    // It had moved meanwhile.
    if (row.country !== country) await cache.invalidate({ tags: [`country:${row.country}`] })
    await cache.invalidate('countries', { soft: true })
    return reply.code(204).send()
  })
}

async function city ({ pg }: FastifyInstance, id: number | string): Promise<{ country: string }> {
  const { rows } = await pg.query<{ country: string }>(selectCity, [id])
  if (rows[0] === undefined) throw noCity(id)
  return rows[0]
}

/** All pages of a country need it, and it is the slower half of their work: a value, no response. */
async function countCities ({ cache, pg }: FastifyInstance, code: string): Promise<number> {
  return await cache.getOrSet(cache.key('total:{code}', { code }), { tags: [`country:${code}`], ttl: '10m' }, async () => {
    const { rows } = await pg.query<{ total: number }>(
      `select count(*)::integer as total from ${schema}.cities where country = $1`, [code])
    return rows[0]?.total ?? 0
  })
}

// The lists of its countries, and what is computed from all cities. The overview of the countries may be a change behind for
// a moment: who asks for it next gets it at once, while it is computed anew.
async function changed ({ cache }: FastifyInstance, countries: string[]): Promise<void> {
  await cache.invalidate({ tags: ['cities', ...countries.map((code) => `country:${code}`)] })
  await cache.invalidate('countries', { soft: true })
}

function values ({ name, lat, lng, country, admin1, admin2 }: CityBody): unknown[] {
  return [name, lat, lng, country, admin1, admin2]
}

function noCity (id: number | string): Error {
  return notFound('id', `there is no city ${id}`)
}
