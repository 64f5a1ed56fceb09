import { randomBytes } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Reader, readAs } from '../../data/reader.ts'
import { sealToken, type Tokens, unsealToken } from '../../data/tokens.ts'
import { traceIdOf } from '../trace.ts'
import type { Measurements } from './metrics.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who reads, what they must be shown, and where the data of the answer came from. */
    reader: Reader
    /** What the route's `ahead` gave. */
    ahead: unknown
  }
  interface FastifyContextConfig {
    /** Of a route that shows what anybody may see, so that it is answered also while Redis is away. */
    isPublic?: boolean
    /** Asks Redis for what the route will need, before anything about the request is known to be right. */
    ahead?: (request: FastifyRequest) => unknown
  }
}

// Not only zeros, since it is the id of a trace too where a request comes without one.
const requestId = /^(?!0{32})[0-9a-f]{32}$/

/** The id that Nginx gave to the request and keeps over its tries, or a new one. */
export function requestIdOf(headers: Record<string, string | string[] | undefined>): string {
  const given = headers['x-request-id']
  return typeof given === 'string' && requestId.test(given) ? given : randomBytes(16).toString('hex')
}

/**
 * Every answer says which request it belongs to, which replica made it, and where its data was read; one line of the
 * log says the same, with ids and patterns only, never what users typed.
 */
export function identifyRequests(app: FastifyInstance, name: string): void {
  app.decorateRequest('reader')
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id)
    reply.header('x-served-by', name)
    request.reader = new Reader()
    request.reader.traceId = traceIdOf(request.headers.traceparent) ?? request.id
    request.reader.isAbandoned = () => reply.raw.destroyed
    readAs(request.reader, done)
  })
  app.addHook('onSend', ({ reader }, reply, _payload, done) => {
    if (reader.sources.size > 0) reply.header('x-read-from', readFrom(reader))
    if (reader.waitMs > 0) reply.header('x-read-wait-ms', reader.waitMs.toFixed(1))
    done()
  })
  app.addHook('onResponse', (request, reply, done) => {
    logRequest(request, reply)
    done()
  })
}

/** The line of the log for a request; README.md of Nginx has its fields. */
export function logRequest(request: FastifyRequest, reply: FastifyReply): void {
  // There is none yet where a request was refused before anything else.
  const reader = request.reader as Reader | undefined
  request.log.info({
    method: request.method,
    route: request.routeOptions.url ?? 'unknown',
    status: reply.statusCode,
    durationMs: Math.round(reply.elapsedTime * 1000) / 1000,
    ...(reader?.userId === undefined ? {} : { userId: reader.userId }),
    ...(reader && reader.sources.size > 0 ? { readFrom: readFrom(reader) } : {}),
  })
}

function readFrom({ sources }: Reader): string {
  return [...sources].join(', ')
}

/**
 * Lets routes ask for what they need while limit and session are asked for, so that all of it is one round trip. To be
 * called between the two.
 */
export function lookAhead(app: FastifyInstance): void {
  app.decorateRequest('ahead')
  app.addHook('onRequest', (request, _reply, done) => {
    request.ahead = request.routeOptions.config.ahead?.(request)
    done()
  })
}

export interface CausalTokenOptions {
  tokens: Tokens
  /** The first signs, all verify. */
  secrets: string[]
  epoch: string
  measurements: Measurements
}

/**
 * What a request has written or seen is stored before its answer leaves. Whoever brings a `Causal-Token` is shown no
 * less than it says; one that was made up, or belongs to another database, is ignored and counted. Register it before
 * the session, whose user's stored token then comes on top.
 */
export function carryCausalTokens(
  app: FastifyInstance,
  { tokens, secrets, epoch, measurements }: CausalTokenOptions,
): void {
  const [secret = ''] = secrets
  app.addHook('onRequest', ({ headers, reader }, _reply, done) => {
    const sealed = headers['causal-token']
    if (typeof sealed === 'string') {
      const token = unsealToken(sealed, secrets)
      if (token?.epoch === epoch) reader.token = token
      else measurements.ignoredToken()
    }
    done()
  })
  app.addHook('onSend', ({ reader, routeOptions }, reply, _payload, done) => {
    const tell = () => {
      const shared = String(reply.getHeader('cache-control') ?? '').startsWith('public')
      if (reader.token && !shared) reply.header('causal-token', sealToken(reader.token, secret))
      done()
    }
    if (reader.moved) tokens.save(reader, routeOptions.config.isPublic).then(tell, done)
    else tell()
  })
}
