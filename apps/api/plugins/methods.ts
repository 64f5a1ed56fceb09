import type { FastifyInstance } from 'fastify'
import { DomainError } from '../../domain/errors.ts'

/**
 * Answers 405 with `Allow` where a path of the scope exists and the method does not (RFC 9110, 15.5.6). Call the result
 * when all routes of the scope are registered.
 */
export function refuseOtherMethods(app: FastifyInstance): () => void {
  const methodsOf = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const methods = methodsOf.get(url) ?? new Set()
    for (const one of [method].flat()) methods.add(one)
    methodsOf.set(url, methods)
  })
  return () => {
    for (const [url, methods] of [...methodsOf]) {
      const missing = app.supportedMethods.filter((method) => !methods.has(method))
      if (url.includes('*') || missing.length === 0) continue
      const allow = [...methods].join(', ')
      app.route({
        method: missing,
        url: url.slice(app.prefix.length),
        schema: { hide: true },
        handler: async (request, reply) => {
          reply.header('allow', allow)
          throw new DomainError('method_not_allowed', `${request.method} is not possible here, only ${allow}`)
        },
      })
    }
  }
}
