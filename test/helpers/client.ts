// Requests over the network as different clients send them: HTTP/1, HTTP/2, with TLS or without.
import type { FastifyInstance } from 'fastify'
import { request as plain, type IncomingHttpHeaders } from 'node:http'
import { connect, type OutgoingHttpHeaders } from 'node:http2'
import { request as secure } from 'node:https'
import type { Pair } from './certificate.js'

export interface Call {
  method?: string
  path?: string
  headers?: Record<string, string | string[]>
  /** The client's. */
  certificate?: Pair
}

export interface Answer { status: number, headers: IncomingHttpHeaders, body: string }

export async function call1 (app: FastifyInstance, { method = 'GET', path = '/', headers = {}, certificate }: Call): Promise<Answer> {
  const request = app.listeningOrigin.startsWith('https') ? secure : plain
  return await new Promise((resolve, reject) => {
    const options = { method, headers, agent: false as const, rejectUnauthorized: false, ...certificate }
    request(app.listeningOrigin + path, options, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (part: string) => { body += part }).on('error', reject)
      response.on('end', () => { resolve({ status: response.statusCode!, headers: response.headers, body }) })
    }).on('error', reject).end()
  })
}

/** `host` becomes `:authority`; a list of cookies goes as that many fields (RFC 9113 §8.2.3). */
export async function call2 (app: FastifyInstance, { method = 'GET', path = '/', headers = {}, certificate }: Call): Promise<Answer> {
  const { host, ...others } = headers
  const session = connect(app.listeningOrigin, { rejectUnauthorized: false, ...certificate })
  try {
    return await new Promise((resolve, reject) => {
      const fields: OutgoingHttpHeaders = { ...others, ':method': method, ':path': path, ...host !== undefined && { ':authority': String(host) } }
      const stream = session.on('error', reject).request(fields)
      let head: IncomingHttpHeaders & { ':status'?: number | undefined } = {}
      let body = ''
      stream.on('response', (fields) => { head = fields })
      stream.setEncoding('utf8').on('data', (part: string) => { body += part }).on('error', reject)
      stream.on('end', () => { resolve({ status: head[':status']!, headers: head, body }) }).end()
    })
  } finally {
    session.close()
  }
}
