import type { IncomingMessage, ServerResponse } from 'node:http'
import type { onRequestHookHandler } from 'fastify'
import helmet from 'helmet'

/**
 * A hook that sets helmet's headers, with what a page may load. They are worked out once: to have helmet, or
 * @fastify/helmet, do so for every request takes as long as routing it, and Node then sets all headers one by one.
 */
export function secureBy(directives: Record<string, string[]>): onRequestHookHandler {
  const headers: Record<string, string> = {}
  const taken = {
    setHeader: (name: string, value: string) => {
      headers[name.toLowerCase()] = value
    },
    removeHeader: () => {},
  } as unknown as ServerResponse
  const setHeaders = helmet({
    contentSecurityPolicy: { useDefaults: false, directives },
    crossOriginResourcePolicy: { policy: 'same-origin' },
  })
  // None of these depends on the request, and none is worked out later.
  setHeaders({} as IncomingMessage, taken, (error) => {
    if (error) throw error
  })
  return (_request, reply, done) => {
    reply.headers(headers)
    done()
  }
}
