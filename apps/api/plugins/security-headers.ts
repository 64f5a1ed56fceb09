import type { onRequestHookHandler } from 'fastify'
import helmet from 'helmet'

/**
 * A hook that sets helmet's headers, with what a page may load. They are worked out once: @fastify/helmet does so for every
 * request, which takes as long as routing it.
 */
export function secureBy(directives: Record<string, string[]>): onRequestHookHandler {
  const setHeaders = helmet({
    contentSecurityPolicy: { useDefaults: false, directives },
    crossOriginResourcePolicy: { policy: 'same-origin' },
  })
  return (request, reply, done) => setHeaders(request.raw, reply.raw, (error) => done(error as Error | undefined))
}
