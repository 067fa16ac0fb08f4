// The ten cities nearest to a place: the great-circle distance to every city there is, no index helps.
import type { FastifyInstance } from 'fastify'
import { fields, latText, lngText } from '../fields.js'
import { schema } from '../schema.js'

// The haversine formula; 6371.0088 km is the earth's mean radius. `least` guards asin against a rounding error.
const selectNearest = `
select id, name, country, lat, lng, 6371.0088 * 2 * asin(least(1, sqrt(
  power(sin(radians(lat - $1::float8) / 2), 2) +
  cos(radians($1)) * cos(radians(lat)) * power(sin(radians(lng - $2::float8) / 2), 2)))) as km
from ${schema}.cities order by km, id limit 10`

// What no index helps with is not done again where no city has changed: one that was deleted is missing in the count.
const selectVersion = `select max(updated_at)::text || ':' || count(*) as version from ${schema}.cities`

export async function nearest (app: FastifyInstance): Promise<void> {
  app.get<{ Querystring: { lat: string, lng: string } }>('/nearest', {
    schema: { querystring: fields({ lat: latText, lng: lngText }) },
    cache: { key: 'nearest:{lat}:{lng}', tags: ['cities'], ttl: '10m', revalidate: true }
  }, async (request, reply) => {
    const { lat, lng } = request.query
    const { rows: [all] } = await app.pg.query<{ version: string }>(selectVersion)
    if (reply.notModified({ etag: all?.version ?? '' })) return reply
    const { rows } = await app.pg.query<{ km: number }>(selectNearest, [lat, lng])
    const cities = rows.map((row) => ({ ...row, km: Number(row.km.toFixed(3)) }))
    return { from: { lat: Number(lat), lng: Number(lng) }, cities }
  })
}
