// What a read is answered, and how long its handler takes: as long as the request says, so that all chance is the driver's.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { setTimeout as delay } from 'node:timers/promises'
import type { Database, Versions } from './database.js'
import { DELAYS } from './forms.js'

export interface Origin {
  app: FastifyInstance
  database: Database
  /** The number of this process. */
  process: number
}

/** What a read is answered. */
export interface ReadBody {
  process: number
  versions: Versions
  /** Of what is made of cached parts: the processes that made those, down to the one that read the row. */
  parts?: number[]
  /** Of a write: how often its invalidations had failed before they succeeded. */
  retries?: number
  /** The request headers that selected this response: nobody else's may be given out. */
  selected?: Record<string, string | undefined>
}

/** The row was read: what the handler does with it takes as long as the request says. */
export async function late<T> (request: FastifyRequest, body: T): Promise<T> {
  await pause(request, 'behind')
  return body
}

export async function pause ({ headers }: FastifyRequest, where: keyof typeof DELAYS): Promise<void> {
  const milliseconds = Number(headers[DELAYS[where]] ?? 0)
  if (milliseconds > 0) await delay(milliseconds)
}

export function numberOf (request: FastifyRequest, name: string): number {
  return Number((request.params as Record<string, string>)[name])
}

/** Has it vary. The fields that select change with the version, so markers are replaced while others fill under them. */
export function vary (request: FastifyRequest, reply: FastifyReply, version: number): Required<ReadBody>['selected'] {
  const fields = version % 3 === 0 ? ['accept-language', 'x-plan'] : ['accept-language']
  reply.header('vary', fields.join(', '))
  return Object.fromEntries(fields.map((name) => [name, String(request.headers[name])]))
}
