// All countries, each computed from its cities.
import type { FastifyInstance } from 'fastify'
import { schema } from '../schema.js'

// The centre is the mean of the cities' directions from the middle of the earth: degrees can't be averaged where a
// country lies on both sides of the 180th meridian.
const selectCountries = `
select country as code, count(*)::integer as cities, count(distinct admin1)::integer as regions,
  degrees(atan2(sum(z), sqrt(power(sum(x), 2) + power(sum(y), 2)))) as lat, degrees(atan2(sum(y), sum(x))) as lng,
  min(lat) as south, max(lat) as north, min(lng) as west, max(lng) as east
from ${schema}.cities
cross join lateral (values (cos(radians(lat)) * cos(radians(lng)), cos(radians(lat)) * sin(radians(lng)),
  sin(radians(lat)))) as direction (x, y, z)
group by country order by country`

interface Row {
  code: string
  cities: number
  regions: number
  lat: number
  lng: number
  south: number
  north: number
  west: number
  east: number
}

export async function countries (app: FastifyInstance): Promise<void> {
  const names = new Intl.DisplayNames(['en'], { type: 'region' })

  // Caches in front, browsers too, may keep it for two seconds: so long is what they have behind a change.
  app.get('/countries', {
    cache: { key: 'countries', ttl: '10m', staleWhileRevalidate: '1m', cacheControl: 'public, max-age=2' }
  }, async () => {
    const { rows } = await app.pg.query<Row>(selectCountries)
    return {
      countries: rows.map(({ code, cities, regions, lat, lng, south, north, west, east }) => ({
        code,
        name: names.of(code),
        cities,
        regions,
        centre: { lat: rounded(lat), lng: rounded(lng) },
        extent: { south, north, west, east }
      }))
    }
  })
}

// To a metre: the rest is rounding errors.
function rounded (degrees: number): number {
  return Number(degrees.toFixed(5))
}
