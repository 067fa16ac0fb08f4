import fp from 'fastify-plugin'
import ms from 'ms'
export const x: unknown = fp
export const y: unknown = ms
export default x
