import { randomBytes } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { DomainError, type ErrorCode, type FieldError } from '../domain/errors.ts'
import { describeError } from './logger.ts'
import { wordsOf } from './patterns.ts'

/** The one table of codes and statuses. */
export const statusOf = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  precondition_failed: 412,
  too_large: 413,
  unsupported_media_type: 415,
  unprocessable: 422,
  rate_limited: 429,
  unavailable: 503,
  timeout: 504,
  internal: 500,
} as const satisfies Record<ErrorCode, number>

/** RFC 9457, with a stable `code`. */
export const Problem = Type.Object(
  {
    type: Type.String({ description: '`/problems/` and the code' }),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.Enum(Object.keys(statusOf) as ErrorCode[]),
    instance: Type.String({ description: 'The request id as `urn:uuid:…`' }),
    errors: Type.Optional(
      Type.Array(Type.Object({ pointer: Type.String(), detail: Type.String() }), {
        description:
          'What is wrong where: a JSON pointer into the body, `?name` of the query, `{name}` of the path, or a header',
      }),
    ),
  },
  { $id: 'Problem' },
)

/** Sends every error as `application/problem+json`; also unknown paths. */
export function handleProblems(app: FastifyInstance): void {
  app.setErrorHandler((error: FastifyError | DomainError, request, reply) => {
    const problem = toDomainError(error)
    request.reader.refused = true
    if (statusOf[problem.code] >= 500) {
      logFailure(request, error, problem)
      // What failed would fail again at the end of the answer, where the session is saved, and no handler is left then.
      request.session = null as unknown as FastifyRequest['session']
    }
    if (problem.isLocal) passOn(request, reply)
    return sendProblem(request, reply, problem)
  })
  app.setNotFoundHandler(notFound)
}

/** What was foreseen is told in a line: a member that is down gives thousands. */
function logFailure({ log }: FastifyRequest, error: Error, problem: DomainError): void {
  if (error instanceof DomainError && error.code === 'unavailable') {
    const { cause } = error
    log.warn(cause === undefined ? {} : { cause: describeError(cause, false) }, problem.message)
  } else {
    log.error({ err: error }, problem.message)
  }
}

export function notFound(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  return sendProblem(request, reply, nothingHere())
}

function nothingHere(): DomainError {
  return new DomainError('not_found', 'Nothing is here')
}

// As helmet has them, whose hook what gets no further does not reach.
const securityHeaders = {
  'content-security-policy': "default-src 'none';frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}

/** For a path that cannot be decoded or is longer than any that leads somewhere: it gets no further, to no hook either. */
export function refuseUnroutable(
  error: FastifyError,
  request: FastifyRequest,
  reply: FastifyReply,
  name: string,
): void {
  reply.headers({ ...securityHeaders, 'x-request-id': request.id, 'x-served-by': name })
  const known = error.code === 'FST_ERR_BAD_URL'
  const problem = known ? new DomainError('invalid', 'The path cannot be decoded') : nothingHere()
  sendProblem(request, reply, problem)
}

/** Where Nginx lets replicas pass requests on, there is this place in its configuration. */
const elsewhere = '@elsewhere'

/**
 * Asks Nginx to try another replica; the answer itself is for who cannot. Not to be done twice for a request, so that
 * Nginx says whether it may be.
 *
 * @returns whether it will
 */
export function passOn(request: FastifyRequest, reply: FastifyReply): boolean {
  if (request.headers['x-pass-on'] === undefined) return false
  reply.header('x-accel-redirect', elsewhere)
  return true
}

/** Refuses a request with the least work, past all hooks but those that count and log what was answered. */
export function refuseAtOnce(reply: FastifyReply, { code, message: title, retryAfterSeconds = 1 }: DomainError): void {
  const status = statusOf[code]
  const body = problemBody({ status, code, title, id: reply.request.id })
  reply.code(status).headers({
    'content-type': 'application/problem+json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'retry-after': retryAfterSeconds,
  })
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) reply.raw.setHeader(name, value)
  reply.hijack()
  reply.raw.end(body)
}

const brokenRequests: Record<string, { status: number; code: ErrorCode; title: string }> = {
  HPE_HEADER_OVERFLOW: { status: 431, code: 'too_large', title: 'The headers are too large' },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, code: 'timeout', title: 'The request did not arrive in time' },
}
const malformed = { status: 400, code: 'invalid', title: 'The request is no HTTP' } as const

/** For what does not become a request at all, so that there is only the connection to answer on. */
export function refuseBroken(error: NodeJS.ErrnoException, socket: Socket, name: string): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  const { status, code, title } = brokenRequests[error.code ?? ''] ?? malformed
  const id = randomBytes(16).toString('hex')
  const body = problemBody({ status, code, title, id })
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/problem+json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    'cache-control: no-store',
    `x-request-id: ${id}`,
    `x-served-by: ${name}`,
    ...Object.entries(securityHeaders).map(([header, value]) => `${header}: ${value}`),
    'connection: close',
  ]
  if (socket.writable) socket.write(`${head.join('\r\n')}\r\n\r\n${body}`)
  socket.destroy()
}

function sendProblem(request: FastifyRequest, reply: FastifyReply, problem: DomainError): FastifyReply {
  const status = statusOf[problem.code]
  if (problem.retryAfterSeconds !== undefined) reply.header('retry-after', problem.retryAfterSeconds)
  else if (status === 503) reply.header('retry-after', 1)
  reply.removeHeader('etag')
  return reply
    .status(status)
    .header('cache-control', 'no-store')
    .type('application/problem+json')
    .send(problemBody({ status, code: problem.code, title: problem.message, id: request.id, errors: problem.errors }))
}

interface ProblemFacts {
  status: number
  code: ErrorCode
  title: string
  /** Of the request. */
  id: string
  errors?: FieldError[]
}

function problemBody({ status, code, title, id, errors = [] }: ProblemFacts): string {
  return JSON.stringify({
    type: `/problems/${code}`,
    title,
    status,
    code,
    instance: `urn:uuid:${asUuid(id)}`,
    ...(errors.length > 0 ? { errors } : {}),
  })
}

function asUuid(hex: string): string {
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

// Fastify's own refusals of a request that never reached a handler.
const codeOfStatus: Record<number, ErrorCode> = {
  400: 'invalid',
  404: 'not_found',
  405: 'method_not_allowed',
  408: 'timeout',
  413: 'too_large',
  415: 'unsupported_media_type',
  503: 'unavailable',
}

// Nobody reads more, and a body of 180 KB can have faults for an answer of 7 MB.
const maxNamedErrors = 100

function toDomainError(error: FastifyError | DomainError): DomainError {
  if (error instanceof DomainError) return error
  if (error.validation) {
    return new DomainError('invalid', 'The request does not match the schema', {
      errors: error.validation
        .slice(0, maxNamedErrors)
        .map((failure) => fieldError(failure, error.validationContext ?? 'body')),
    })
  }
  const code = codeOfStatus[error.statusCode ?? 500]
  // Messages of Fastify's 4xx are written for clients; anything else may hold internals.
  return code && code !== 'unavailable'
    ? new DomainError(code, error.message, { cause: error })
    : new DomainError(code ?? 'internal', code ? 'Not available right now' : 'Something went wrong', { cause: error })
}

type Failure = NonNullable<FastifyError['validation']>[number]

const prefixes: Record<string, (path: string) => string> = {
  body: (path) => `#${path}`,
  querystring: (path) => `?${path.slice(1)}`,
  params: (path) => `{${path.slice(1)}}`,
  headers: (path) => path.slice(1),
}

function fieldError(failure: Failure, context: string): FieldError {
  const { additionalProperty, missingProperty, allowedValues, pattern } = failure.params as Record<string, unknown>
  const extra = additionalProperty ?? missingProperty
  const path =
    failure.instancePath + (extra === undefined ? '' : `/${String(extra).replace(/~/g, '~0').replace(/\//g, '~1')}`)
  const detail =
    additionalProperty !== undefined
      ? 'is not a known field'
      : missingProperty !== undefined
        ? 'is required'
        : Array.isArray(allowedValues)
          ? `must be one of ${allowedValues.join(', ')}`
          : (wordsOf(pattern) ?? failure.message ?? 'is invalid')
  return { pointer: (prefixes[context] ?? prefixes.body)?.(path) ?? path, detail }
}
