// What the API's inputs look like, as JSON schemas; the descriptions become the words of error messages. All that comes
// in a URL is text and is checked as text, in exactly one spelling: `/cities/7` and `/cities/007` would be two keys for
// one city, and only one of them would be invalidated.

// Nine digits: always within Postgres' integer.
export const id = { type: 'string', pattern: '^[1-9]\\d{0,8}$', description: 'a whole number from 1 to 999999999' }
export const page = { type: 'string', pattern: '^[1-9]\\d{0,3}$', description: 'a whole number from 1 to 9999' }
export const code = { type: 'string', pattern: '^[A-Z]{2}$', description: 'an ISO 3166-1 country code, such as DE' }
export const latText = {
  type: 'string', pattern: '^-?(90(\\.0+)?|[1-8]?\\d(\\.\\d+)?)$', maxLength: 30, description: 'a number from -90 to 90'
}
export const lngText = {
  type: 'string', pattern: '^-?(180(\\.0+)?|(1[0-7]\\d|[1-9]?\\d)(\\.\\d+)?)$', maxLength: 30, description: 'a number from -180 to 180'
}

const name = { type: 'string', pattern: '^\\P{Cc}{1,200}$', description: '1 to 200 printable characters' }
const region = { type: 'string', maxLength: 20, pattern: '^[A-Za-z0-9_-]*$', description: 'a code of GeoNames, such as 16', default: '' }

export const cityBody = {
  type: 'object',
  additionalProperties: false,
  required: ['name', 'lat', 'lng', 'country'],
  properties: {
    name,
    lat: { type: 'number', minimum: -90, maximum: 90, description: 'a number from -90 to 90' },
    lng: { type: 'number', minimum: -180, maximum: 180, description: 'a number from -180 to 180' },
    country: code,
    admin1: region,
    admin2: region
  }
}

export const userBody = {
  type: 'object',
  additionalProperties: false,
  required: ['name', 'email'],
  properties: {
    name,
    email: { type: 'string', maxLength: 200, pattern: '^[^@\\s\\p{Cc}]+@[^@\\s\\p{Cc}]+$', description: 'an e-mail address' }
  }
}

/** A schema for params or query. */
export function fields (properties: Record<string, object>, required = Object.keys(properties)): object {
  return { type: 'object', properties, required }
}
