import compress from '@fastify/compress'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyPluginAsync, LogController } from 'fastify'
import { createConsistency } from '../data/consistency.ts'
import { createFloor } from '../data/floor.ts'
import { createListCache } from '../data/list-cache.ts'
import type { Mongo } from '../data/mongo.ts'
import { createOrderListCache } from '../data/order-list-cache.ts'
import { createOrders } from '../data/orders.ts'
import { type RedisClient, watchRun } from '../data/redis.ts'
import { createRestaurantCache } from '../data/restaurant-cache.ts'
import { createRestaurants } from '../data/restaurants.ts'
import { createSessions } from '../data/sessions.ts'
import { createTokens } from '../data/tokens.ts'
import { createUsers } from '../data/users.ts'
import { DomainError } from '../domain/errors.ts'
import type { ApiConfig } from './config.ts'
import { describeError } from './logger.ts'
import { orderRoutes } from './orders/routes.ts'
import { renderOrders } from './orders/schema.ts'
import { describeRoutes, servePages } from './plugins/docs.ts'
import { type Health, reportHealth } from './plugins/health.ts'
import { shedLoad } from './plugins/load-shedding.ts'
import { refuseOtherMethods } from './plugins/methods.ts'
import { createMeasurements, serveMetrics } from './plugins/metrics.ts'
import { createLoginLimit, rateLimitPlugin, refuseBeyondLimit } from './plugins/rate-limit.ts'
import { carryCausalTokens, identifyRequests, logRequest, lookAhead, requestIdOf } from './plugins/request-context.ts'
import { secureBy } from './plugins/security-headers.ts'
import { refuseCrossSite, sessionPlugin } from './plugins/session.ts'
import { handleProblems, notFound, refuseBroken, refuseUnroutable } from './problem.ts'
import { restaurantRoutes } from './restaurants/routes.ts'
import { viewRestaurant, viewSlice } from './restaurants/schema.ts'
import { defaultLimit } from './schema.ts'
import { sessionRoutes } from './sessions/routes.ts'
import { traceIdOf } from './trace.ts'
import { userRoutes } from './users/routes.ts'
import { validateRequests } from './validation.ts'

export interface AppDependencies {
  mongo: Mongo
  redis: RedisClient
  config: ApiConfig
  /** The name in `X-Served-By`. */
  name: string
  version: string
  logger: FastifyBaseLogger
}

export interface App {
  server: FastifyInstance
  health: Health
}

// Only who reaches a replica without Nginx gets this; loadtest/compression.ts has the costs: gzip is the cheapest of
// all, and a higher level buys a tenth of the bytes for twice the time.
const gzipLevel = 2
const smallestCompressedBytes = 1024
// Node looks only every 30 s who has taken too long to send a request, unless it is told otherwise.
const slowRequestsCheckedEachMs = 1_000

/** One replica, ready to listen. It keeps nothing that another replica would need. */
export async function buildApp({ mongo, redis, config, name, version, logger }: AppDependencies): Promise<App> {
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    genReqId: (request) => requestIdOf(request.headers),
    trustProxy: config.TRUSTED_PROXIES.split(',').map((part) => part.trim()),
    bodyLimit: config.BODY_LIMIT_BYTES,
    // Schemas refuse `__proto__` as any other unknown field, and name it; Fastify would only say that there is one.
    onProtoPoisoning: 'ignore',
    onConstructorPoisoning: 'ignore',
    requestTimeout: config.REQUEST_TIMEOUT_MS,
    // From the start, too: set later, it would leave Node's own minute for the headers, and bodies would have as long.
    http: { requestTimeout: config.REQUEST_TIMEOUT_MS, connectionsCheckingInterval: slowRequestsCheckedEachMs },
    connectionTimeout: config.CONNECTION_TIMEOUT_MS,
    keepAliveTimeout: config.KEEP_ALIVE_TIMEOUT_MS,
    // While it closes, what is still sent on open connections is answered, not refused: readiness failed long before.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    childLoggerFactory: (parent, bindings, options, { headers }) =>
      parent.child({ ...bindings, traceId: traceIdOf(headers.traceparent) ?? bindings.requestId }, options),
    frameworkErrors: (error, request, reply) => {
      refuseUnroutable(error, request, reply, name)
      measurements.answered(request, reply)
      logRequest(request, reply)
    },
    clientErrorHandler: (error, socket) => refuseBroken(error, socket, name),
  }).withTypeProvider<TypeBoxTypeProvider>()

  const secrets = config.SESSION_SECRET.split(',')
  const measurements = createMeasurements(mongo)
  const run = watchRun(redis)
  const fenced = { redis, run, floor: createFloor(run, mongo.members) }
  const tokens = createTokens(redis, fenced.floor, mongo)
  const consistency = createConsistency(mongo, {
    routing: config.READ_ROUTING,
    readWaitMs: config.READ_WAIT_MS,
    maxStalenessMs: config.READ_MAX_STALENESS_MS,
    observer: measurements.reads,
  })
  const users = createUsers(mongo.connection, consistency)
  const cache = createRestaurantCache({
    ...fenced,
    restaurants: createRestaurants(mongo.connection, consistency),
    consistency,
    render: (restaurant) => JSON.stringify(viewRestaurant(restaurant)),
    observer: measurements.cache,
  })
  const { restaurants } = cache
  const lists = createListCache({
    restaurants,
    consistency,
    render: (slice) => JSON.stringify(viewSlice(slice)),
    observer: measurements.lists,
  })
  const orderLists = createOrderListCache({
    ...fenced,
    tokens,
    orders: createOrders(mongo.connection, consistency),
    consistency,
    limit: defaultLimit,
    render: renderOrders,
    observer: measurements.orderLists,
  })
  const sessions = createSessions(
    redis,
    tokens,
    config.SESSION_TTL_SECONDS,
    (error) => app.log.warn({ cause: describeError(error, false) }, 'a session could not be read'),
    measurements.sessions,
  )

  validateRequests(app)
  handleProblems(app)
  identifyRequests(app, name)
  shedLoad(app, {
    measurements,
    maxInFlight: config.MAX_REQUESTS_IN_FLIGHT,
    busyInFlight: config.BUSY_REQUESTS_IN_FLIGHT,
    busyDelayMs: config.BUSY_EVENT_LOOP_DELAY_MS,
    busyResponseMs: config.BUSY_RESPONSE_MS,
  })
  refuseEncodedBodies(app)
  app.removeContentTypeParser('text/plain')
  const finishMethods = refuseOtherMethods(app)
  app.addHook('onRequest', secureBy({ defaultSrc: ["'none'"], frameAncestors: ["'none'"] }))
  await app.register(compress, {
    threshold: smallestCompressedBytes,
    encodings: ['gzip', 'identity'],
    globalDecompression: false,
    zlibOptions: { level: gzipLevel },
  })
  serveMetrics(app, measurements)
  const health = reportHealth(app, { mongo, redis })
  await describeRoutes(app, version)
  await servePages(app)

  const resources: FastifyPluginAsync = async (api) => {
    await api.register(rateLimitPlugin, {
      redis,
      measurements,
      max: config.RATE_LIMIT_MAX,
      windowSeconds: config.RATE_LIMIT_WINDOW_SECONDS,
    })
    lookAhead(api)
    carryCausalTokens(api, { tokens, secrets, epoch: mongo.epoch, measurements })
    await api.register(sessionPlugin, {
      sessions,
      secrets,
      ttlSeconds: config.SESSION_TTL_SECONDS,
    })
    refuseBeyondLimit(api)
    refuseCrossSite(api)
    const finishApiMethods = refuseOtherMethods(api)
    api.setNotFoundHandler(notFound)
    api.addHook('onSend', (_request, reply, _payload, done) => {
      if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
      done()
    })
    await api.register(restaurantRoutes, { restaurants, cache, lists })
    await api.register(orderRoutes, { lists: orderLists, cache })
    const loginLimit = createLoginLimit(api, {
      redis,
      measurements,
      max: config.LOGIN_LIMIT_MAX,
      windowSeconds: config.RATE_LIMIT_WINDOW_SECONDS,
    })
    await api.register(userRoutes, { users, sessions, loginLimit })
    await api.register(sessionRoutes, { users, sessions, measurements, loginLimit })
    finishApiMethods()
  }
  await app.register(resources, { prefix: '/api' })
  finishMethods()
  await app.ready()
  return { server: app, health }
}

/** Refuses compressed bodies: a few bytes of them may stand for gigabytes, and nobody needs them here. */
function refuseEncodedBodies(app: FastifyInstance): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const encoding = request.headers['content-encoding']
    const isPlain = encoding === undefined || encoding === 'identity'
    done(isPlain ? undefined : new DomainError('unsupported_media_type', 'Bodies are taken uncompressed only'))
  })
}
