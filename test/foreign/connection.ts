// What comes over a connection of its own, byte for byte: what a client library would correct, or wait for, is seen.
import type { FastifyInstance } from 'fastify'
import { connect, type AddressInfo } from 'node:net'

export interface Answer {
  status: string
  /** In the order of their names, which are in lower case. */
  fields: string[]
  /** As it came, in Latin-1: chunks with their sizes. */
  body: string
}

interface Asking { method?: string, fields?: readonly string[] }

/** How long an answer may take that is said to come: a test must fail, and not hang. */
const LIMIT = 20_000

/** All that comes until the server closes the connection. */
export async function bytesOf (app: FastifyInstance, path: string, { method = 'GET', fields = [] }: Asking = {}): Promise<string> {
  const { port } = app.server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => { answer += chunk })
  socket.write([`${method} ${path} HTTP/1.1`, 'Host: h', 'Connection: close', ...fields, '', ''].join('\r\n'))
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => {
      socket.destroy()
      reject(new Error(`${method} ${path}: no end after ${LIMIT} ms, only ${JSON.stringify(answer)}`))
    }, LIMIT)
    socket.on('error', () => {}).on('close', () => {
      clearTimeout(late)
      resolve()
    })
  })
  return answer
}

export async function answerOf (app: FastifyInstance, path: string, asking: Asking = {}): Promise<Answer> {
  const answer = await bytesOf(app, path, asking)
  const end = answer.indexOf('\r\n\r\n')
  const [status = '', ...fields] = answer.slice(0, end).split('\r\n')
  const named = fields.map((field) => field.replace(/^[^:]*/, (name) => name.toLowerCase()))
  return { status, fields: named.sort(), body: answer.slice(end + 4) }
}
