import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import staticFiles, { type FastifyStaticOptions } from '@fastify/static'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  LogController,
} from 'fastify'
import helmet from 'helmet'
import { createExposition } from './exposition.ts'
import { createStreams } from './streams.ts'
import { targetsOf } from './targets.ts'
import type { Sources, Watch } from './watch.ts'

export interface AppDependencies {
  sources: Sources
  watch: Watch
  logger: FastifyBaseLogger
}

const page = join(import.meta.dirname, 'page')
/** The charts of the page: a library's own files, as they are. */
const charts = join(dirname(createRequire(import.meta.url).resolve('uplot/package.json')), 'dist')
const requestId = /^[0-9a-f]{32}$/

/**
 * What ops serves: below `/ops` the dashboard and its data, which Nginx passes on; `/metrics`, `/livez` and
 * `DELETE /streams` on its own port only.
 */
export async function buildApp({ sources, watch, logger }: AppDependencies): Promise<FastifyInstance> {
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: ({ headers }) =>
      typeof headers['x-request-id'] === 'string' && requestId.test(headers['x-request-id'])
        ? headers['x-request-id']
        : randomBytes(16).toString('hex'),
    // Longer than the 60 s of Nginx, which must be the one to close.
    keepAliveTimeout: 75_000,
    requestTimeout: 10_000,
    bodyLimit: 1_024,
    forceCloseConnections: true,
  })
  const registry = createExposition(sources, watch)
  const streams = createStreams(watch)

  app.addHook('onRequest', async (request, reply) => {
    reply.headers({ 'x-request-id': request.id, 'x-served-by': 'ops', 'cache-control': 'no-store' })
  })
  const secure = helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
        imgSrc: ["'self'"],
        connectSrc: ["'self'"],
        baseUri: ["'none'"],
        formAction: ["'none'"],
        frameAncestors: ["'none'"],
      },
    },
    crossOriginResourcePolicy: { policy: 'same-origin' },
  })
  app.addHook('onRequest', (request, reply, done) => secure(request.raw, reply.raw, () => done()))
  const files = {
    index: false,
    cacheControl: false,
    setHeaders: (response) => void response.header('cache-control', 'no-cache'),
    allowedPath: (path) => /\.(html|css|js|svg)$/.test(path),
  } satisfies Partial<FastifyStaticOptions>
  await app.register(staticFiles, { ...files, root: page, prefix: '/ops/assets/' })
  await app.register(staticFiles, { ...files, root: charts, prefix: '/ops/assets/uplot/', decorateReply: false })
  for (const path of ['/ops', '/ops/']) app.get(path, async (_request, reply) => reply.sendFile('index.html', page))
  app.get('/ops/snapshot', async () => watch.snapshot())
  app.get('/ops/targets', async ({ socket }) => targetsOf(sources, socket))
  app.get('/ops/stream', async (_request, reply) => {
    const stream = streams.open()
    if (!stream) {
      return refuse(reply.header('retry-after', 5), 503, 'unavailable', 'As many dashboards are open as there may be')
    }
    return reply.type('text/event-stream').header('x-accel-buffering', 'no').send(stream)
  })
  app.get('/metrics', async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()))
  app.get('/livez', async () => ({ status: 'ok' }))
  // Old workers of an Nginx that was reloaded stay for as long as a stream goes through them.
  app.delete('/streams', async (_request, reply) => {
    streams.end()
    return reply.status(204).send()
  })
  app.addHook('preClose', async () => streams.end())
  app.setNotFoundHandler(async (_request, reply) => refuse(reply, 404, 'not_found', 'Nothing is here'))
  app.setErrorHandler(async (error: FastifyError, request, reply) => {
    const status = error.statusCode ?? 500
    if (status < 500) return refuse(reply, status, 'invalid', 'The request is malformed')
    request.log.error({ err: error }, 'a request failed')
    return refuse(reply, 500, 'internal', 'Something went wrong')
  })
  await app.ready()
  return app
}

function refuse(reply: FastifyReply, status: number, code: string, title: string): FastifyReply {
  const problem = { type: `/problems/${code}`, title, status, code }
  return reply.status(status).type('application/problem+json').send(problem)
}
