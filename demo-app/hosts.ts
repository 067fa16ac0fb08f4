// Who reaches the demo may use it, but no page of another site whose name is made to lead here (DNS rebinding): requests
// name this machine, an address, or one of the hosts that are said to be ours.
import type { FastifyInstance } from 'fastify'
import { isIP } from 'node:net'
import { Problem } from './problem.js'

export function refuseOtherHosts (app: FastifyInstance, hosts: readonly string[]): void {
  app.addHook('onRequest', async (request) => {
    const name = request.hostname.toLowerCase().replace(/^\[|\]$/g, '')
    if (isIP(name) > 0 || name === 'localhost' || name.endsWith('.localhost') || hosts.includes(name)) return
    throw new Problem(403, 'the demo is not served under this name; HOSTS says under which', [{ field: 'host', message: 'is not ours' }])
  })
}
