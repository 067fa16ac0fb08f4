// What a client gets, by inject and over a socket, in one form: status, fields as they came, bytes.
import type { FastifyInstance } from 'fastify'
import { once } from 'node:events'
import { Agent, request, type ClientRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Received {
  status: number
  /** In their order, names in lower case; a field that came more than once is there more than once. */
  fields: [name: string, value: string][]
  body: Buffer
}

/** The value of a field; undefined where it did not come. */
export function fieldOf ({ fields }: Received, name: string): string | undefined {
  return fields.find(([field]) => field === name)?.[1]
}

export async function injected (app: FastifyInstance, url: string): Promise<Received> {
  const response = await app.inject(url)
  const fields = Object.entries(response.headers)
    .flatMap(([name, value]) => [value].flat().map((one): [string, string] => [name, String(one)]))
  return { status: response.statusCode, fields, body: response.rawPayload }
}

interface Opened { sent: ClientRequest, response: IncomingMessage }

/** Sends a GET and gives its request and its response, of which nothing has been read. */
export async function opened (app: FastifyInstance, path: string, agent = new Agent()): Promise<Opened> {
  const { port } = app.server.address() as AddressInfo
  const sent = request({ host: '127.0.0.1', port, path, agent })
  sent.end()
  const [response] = await once(sent, 'response') as [IncomingMessage]
  // A client that leaves, or a response that ends early, is looked at where it matters.
  sent.on('error', () => {})
  response.on('error', () => {})
  return { sent, response }
}

/** What has come until the response ended or broke off. */
export async function read (response: IncomingMessage): Promise<Received & { isWhole: boolean }> {
  const chunks: Buffer[] = []
  response.on('data', (chunk: Buffer) => { chunks.push(chunk) })
  if (!response.closed) await once(response, 'close')
  const { rawHeaders } = response
  const fields: Received['fields'] = []
  for (let i = 0; i < rawHeaders.length; i += 2) fields.push([rawHeaders[i]!.toLowerCase(), rawHeaders[i + 1]!])
  return { status: response.statusCode!, fields, body: Buffer.concat(chunks), isWhole: response.complete }
}

export async function fetched (app: FastifyInstance, path: string, agent: Agent): Promise<Received> {
  const { response } = await opened(app, path, agent)
  const { isWhole: _, ...received } = await read(response)
  return received
}
