import { randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { type ReadTrace, traceReads } from '../../data/consistency.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Where the data of the answer came from. */
    reads: ReadTrace
  }
}

const requestId = /^[0-9a-f]{32}$/

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
  app.decorateRequest('reads')
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id)
    reply.header('x-served-by', name)
    request.reads = { sources: new Set() }
    traceReads(request.reads, done)
  })
  app.addHook('onSend', async (request, reply) => {
    if (request.reads.sources.size > 0) reply.header('x-read-from', readFrom(request.reads))
  })
  app.addHook('onResponse', async (request, reply) => {
    request.log.info({
      method: request.method,
      route: request.routeOptions.url ?? 'unknown',
      status: reply.statusCode,
      durationMs: Math.round(reply.elapsedTime * 1000) / 1000,
      ...(request.reads.sources.size > 0 ? { readFrom: readFrom(request.reads) } : {}),
    })
  })
}

function readFrom(reads: ReadTrace): string {
  return [...reads.sources].join(', ')
}
