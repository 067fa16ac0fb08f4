// What all subjects serve: an array of records as JSON, of about 1, 16 or 256 kB, made alike in every process, so that the
// load can tell each answer. An id says all: `h16-3` is of the kind h, has 16 kB, and is the fourth of its kind.
//
//   h  hit: the same few, over and over        s  stampede: the handler takes 200 ms
//   m  miss: each asked for once               v  versioned: what is invalidated, the handler takes 5 ms
//   b  what counts the bytes of an entry
const SIZES = [1, 16, 256]
const CITIES = ['Reykjavik', 'Porto', 'Tampere', 'Ghent', 'Brno', 'Cork', 'Graz', 'Malmo']
export const DELAYS = { s: 200, v: 5 }

function record (i) {
  return {
    id: i * 7919 % 100_003,
    name: `Record ${i}`,
    email: `someone.${i}@example.com`,
    city: CITIES[i % CITIES.length],
    balance: i * 137 % 10_000 / 100,
    active: i % 3 !== 0,
    labels: ['alpha', 'beta', 'gamma'].slice(0, 1 + i % 3)
  }
}

function recordsOf (size) {
  const records = []
  let length = 0
  while (length < size * 1024 - 100) {
    records.push(record(records.length))
    length += JSON.stringify(records.at(-1)).length + 1
  }
  return records
}

const RECORDS = new Map(SIZES.map((size) => [size, recordsOf(size)]))
const TEXTS = new Map(SIZES.map((size) => [size, JSON.stringify(RECORDS.get(size))]))

function sizeOf (id) {
  return Number(id.slice(1, id.indexOf('-')))
}

/** What a handler gives for this id. */
export function objectOf (id, version = 0) {
  return { id, version, records: RECORDS.get(sizeOf(id)) }
}

/** The same as JSON: the body that a client must get. */
export function textOf (id, version = 0) {
  return `{"id":"${id}","version":${version},"records":${TEXTS.get(sizeOf(id))}}`
}

/** For Fastify's serialiser. */
export const SCHEMA = {
  type: 'object',
  properties: {
    id: { type: 'string' },
    version: { type: 'integer' },
    records: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          id: { type: 'integer' },
          name: { type: 'string' },
          email: { type: 'string' },
          city: { type: 'string' },
          balance: { type: 'number' },
          active: { type: 'boolean' },
          labels: { type: 'array', items: { type: 'string' } }
        }
      }
    }
  }
}
