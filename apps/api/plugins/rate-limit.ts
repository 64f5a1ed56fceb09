import rateLimit, { type FastifyRateLimitOptions, type FastifyRateLimitStore } from '@fastify/rate-limit'
import LocalStore from '@fastify/rate-limit/store/LocalStore.js'
import RedisStore from '@fastify/rate-limit/store/RedisStore.js'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { RedisClient } from '../../data/redis.ts'
import { DomainError } from '../../domain/errors.ts'
import { normalizeEmail } from '../../domain/user.ts'
import type { Limit, Measurements } from './metrics.ts'

export interface RateLimitPluginOptions {
  redis: RedisClient
  measurements: Pick<Measurements, 'limited'>
  max: number
  windowSeconds: number
}

// Clients remembered by one replica while Redis is away; beyond this the least recent are forgotten.
const maxLocalKeys = 10_000

// How many accounts' worth of attempts one address has: offices share an address.
const accountsPerAddress = 5

/** Counts in Redis over all replicas; while Redis does not answer, each replica counts for itself. */
function sharedStore(redis: RedisClient): new (options: FastifyRateLimitOptions) => FastifyRateLimitStore {
  return class SharedStore implements FastifyRateLimitStore {
    readonly #shared = new RedisStore(false, false, redis, 'rate-limit:')
    readonly #local = new LocalStore(false, false, maxLocalKeys)

    incr(...[key, callback, windowMs, max]: Parameters<FastifyRateLimitStore['incr']>): void {
      this.#shared.incr(
        key,
        (error, result) => (error ? this.#local.incr(key, callback, windowMs, max) : callback(null, result)),
        windowMs,
        max,
      )
    }

    // Keys carry the name of their limit, so all limits share one store.
    child(): FastifyRateLimitStore {
      return new SharedStore()
    }
  }
}

/** One limit per client address for all requests to the scope, with the headers of both drafts of the IETF. */
export const rateLimitPlugin = fp<RateLimitPluginOptions>(async (app, { redis, measurements, max, windowSeconds }) => {
  await app.register(rateLimit, {
    global: false,
    max,
    timeWindow: windowSeconds * 1000,
    store: sharedStore(redis),
    enableDraftSpec: true,
    onExceeded: () => measurements.limited('requests'),
    errorResponseBuilder: (_request, { ttl }) => exceeded(Math.ceil(ttl / 1000)),
  })
  // Before all that can refuse a request: what is refused counts too, and what exceeds the limit costs nothing more.
  app.addHook('onRequest', app.rateLimit())
  app.addHook('onSend', async (_request, reply) => {
    const remaining = reply.getHeader('ratelimit-remaining')
    if (remaining === undefined) return
    reply.header('ratelimit-policy', `"default";q=${max};w=${windowSeconds}`)
    reply.header('ratelimit', `"default";r=${remaining};t=${reply.getHeader('ratelimit-reset')}`)
  })
})

function exceeded(retryAfterSeconds: number): DomainError {
  return new DomainError('rate_limited', 'Too many requests', { retryAfterSeconds })
}

/**
 * A stricter limit for log-ins, per account and address and per address, so that guessing at one account locks out
 * nobody who logs in from elsewhere. Call it before the password is looked at.
 * @throws DomainError `rate_limited`
 */
export function createLoginLimit(app: FastifyInstance, options: Omit<RateLimitPluginOptions, 'redis'>) {
  const timeWindow = options.windowSeconds * 1000
  const perAddress = app.createRateLimit({
    max: options.max * accountsPerAddress,
    timeWindow,
    keyGenerator: (request) => `login:${rateLimit.normalizeIP(request.ip)}`,
  })
  const perAccount = app.createRateLimit({
    max: options.max,
    timeWindow,
    keyGenerator: (request) => {
      const { email } = request.body as { email: string }
      return `login:${rateLimit.normalizeIP(request.ip)}:${normalizeEmail(email)}`
    },
  })
  const limits = [
    ['logins_of_address', perAddress],
    ['logins_of_account', perAccount],
  ] as const satisfies [Limit, unknown][]
  return async (request: FastifyRequest): Promise<void> => {
    for (const [name, limit] of limits) {
      const state = await limit(request)
      if (state.isAllowed || !state.isExceeded) continue
      options.measurements.limited(name)
      throw exceeded(state.ttlInSeconds)
    }
  }
}
