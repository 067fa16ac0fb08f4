// Errors as application/problem+json (RFC 9457), each naming the fields that are to blame.
import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

export interface FieldError {
  field: string
  message: string
}

/** An error whose message is meant for the client. */
export class Problem extends Error {
  readonly status: number
  readonly errors: FieldError[]

  constructor (status: number, detail: string, errors: FieldError[] = []) {
    super(detail)
    this.status = status
    this.errors = errors
  }
}

/** 404 because of a value in the URL. */
export function notFound (field: string, message: string): Problem {
  return new Problem(404, message, [{ field, message }])
}

/** From here on every error of the app, its unknown routes included, is answered as a problem. */
export function answerProblems (app: FastifyInstance): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const problem = toProblem(error)
    if (problem.status >= 500) request.log.error({ err: error }, 'request failed')
    return sendProblem(problem, reply)
  })
  app.setNotFoundHandler((request, reply) => {
    const detail = `there is no ${request.method} ${request.url.split('?')[0]}`
    return sendProblem(notFound('path', detail), reply)
  })
}

/** For errors before any route is found, such as a URL that can't be decoded: Fastify's `frameworkErrors`. */
export function answerFrameworkError (error: FastifyError, _request: FastifyRequest, reply: FastifyReply): void {
  sendProblem(toProblem(error), reply)
}

function sendProblem ({ status, message, errors }: Problem, reply: FastifyReply): FastifyReply {
  const body = { type: 'about:blank', title: STATUS_CODES[status], status, detail: message, errors }
  return reply.code(status).type('application/problem+json').send(body)
}

function toProblem (error: FastifyError): Problem {
  if (error instanceof Problem) return error
  if (error.validation !== undefined) return invalid(error)
  const status = error.statusCode ?? 500
  if (status < 500) return new Problem(status, error.message, [{ field: fieldOf(error), message: error.message }])
  return fromDatabase(error) ?? fromCache(error) ?? new Problem(500, 'something went wrong; the log says what')
}

function fieldOf (error: FastifyError): string {
  if (error.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') return 'content-type'
  return error.code?.startsWith('FST_ERR_CTP') || error.name === 'SyntaxError' ? 'body' : 'path'
}

// What Ajv reports with `verbose`: the schema that said no is there, and its description reads better than a pattern.
interface Violation {
  instancePath: string
  keyword: string
  message?: string
  params: Record<string, unknown>
  parentSchema?: { description?: string }
}

function invalid (error: FastifyError): Problem {
  const context = error.validationContext ?? 'body'
  const errors = (error.validation as unknown as Violation[]).map((violation) => describe(violation, context))
  return new Problem(400, errors.map(({ field, message }) => `${field} ${message}`).join('; '), errors)
}

function describe (violation: Violation, context: string): FieldError {
  const { instancePath, keyword, params, parentSchema, message = 'is not valid' } = violation
  if (keyword === 'required') return { field: String(params.missingProperty), message: 'is missing' }
  if (keyword === 'additionalProperties') return { field: String(params.additionalProperty), message: 'is not known here' }
  const field = instancePath.slice(1).replaceAll('/', '.') || context
  return { field, message: parentSchema?.description ? `must be ${parentSchema.description}` : message }
}

// Which field a unique constraint of schema.ts stands for.
const uniqueFields: Record<string, string> = { users_email: 'email', cities_place: 'name' }

function fromDatabase (error: FastifyError & { constraint?: string }): Problem | null {
  if (error.code === '23505') {
    const field = uniqueFields[error.constraint ?? ''] ?? 'body'
    return new Problem(409, `${field} is taken`, [{ field, message: 'belongs to another one already' }])
  }
  // Class 08: connection lost; 57P0x: the server shuts down; the rest is the socket's.
  const unreachable = /^(08...|57P0\d|ECONNREFUSED|ECONNRESET|ENOTFOUND|ETIMEDOUT|EPIPE)$/.test(error.code ?? '') ||
    /^Connection terminated|^timeout exceeded when trying to connect/.test(error.message)
  return unreachable ? new Problem(503, 'the database cannot be reached') : null
}

// Only a mutation waits for the cache, and it has written to the database by then.
function fromCache (error: FastifyError): Problem | null {
  if (!/^FRC_(STORE|DEADLINE)$/.test(error.code ?? '')) return null
  return new Problem(503, 'the change is made, but the cache could not be told: old answers may be served until they expire')
}
