import { createHash } from 'node:crypto'
import rateLimit, { type FastifyRateLimitOptions, type FastifyRateLimitStore } from '@fastify/rate-limit'
import LocalStore from '@fastify/rate-limit/store/LocalStore.js'
import RedisStore from '@fastify/rate-limit/store/RedisStore.js'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { RedisClient } from '../../data/redis.ts'
import { sessionsUnavailable } from '../../data/sessions.ts'
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

// How many addresses' worth of attempts one account has from where its user has never logged in. By default that makes 80
// guesses an hour; OWASP ASVS 4.0 (2.2.1) allows 100.
const strangersPerAccount = 2
const trustSeconds = 30 * 86_400

/** Counts in Redis over all replicas; while Redis does not answer, each replica counts for itself. */
function sharedStore(redis: RedisClient): new (options: FastifyRateLimitOptions) => FastifyRateLimitStore {
  return class SharedStore implements FastifyRateLimitStore {
    readonly #shared = new RedisStore(false, false, redis, 'rate-limit:')
    readonly #local = new LocalStore(false, false, maxLocalKeys)

    incr(...[key, callback, windowMs, max]: Parameters<FastifyRateLimitStore['incr']>): void {
      // The local store goes on counting in what it has given out, while who asked has yet to look at it.
      const copied: typeof callback = (error, result) => callback(error, result && { ...result })
      this.#shared.incr(
        key,
        (error, result) => (error ? this.#local.incr(key, copied, windowMs, max) : callback(null, result)),
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

declare module 'fastify' {
  interface FastifyRequest {
    withinLimit: Promise<void>
  }
}

/**
 * One limit per client address for all requests to the scope, with the headers of both drafts of the IETF. Here it is only
 * asked for, so that the session travels with it; {@link refuseBeyondLimit} refuses.
 */
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
  const limit = app.rateLimit() as (request: FastifyRequest, reply: FastifyReply) => Promise<void>
  app.decorateRequest('withinLimit')
  app.addHook('onRequest', (request, reply, done) => {
    request.withinLimit = limit(request, reply)
    // Looked at later; whoever has gone by then does not.
    request.withinLimit.catch(() => {})
    done()
  })
  app.addHook('onSend', (_request, reply, _payload, done) => {
    const remaining = reply.getHeader('ratelimit-remaining')
    if (remaining !== undefined) {
      reply.header('ratelimit-policy', `"default";q=${max};w=${windowSeconds}`)
      reply.header('ratelimit', `"default";r=${remaining};t=${reply.getHeader('ratelimit-reset')}`)
    }
    done()
  })
})

/** To be called before all that can refuse a request: what is refused counts too, and has the headers of the limit. */
export function refuseBeyondLimit(app: FastifyInstance): void {
  app.addHook('onRequest', ({ withinLimit }, _reply, done) => {
    withinLimit.then(() => done(), done)
  })
}

function exceeded(retryAfterSeconds: number): DomainError {
  return new DomainError('rate_limited', 'Too many requests', { retryAfterSeconds })
}

export interface LoginLimit {
  /**
   * Counts an attempt to log in. Call it before the password is looked at.
   * @throws DomainError `rate_limited`, or `unavailable` while Redis does not answer or takes no writes: no session could
   *   begin, and a hash takes longer than it may take to say so
   */
  count(request: FastifyRequest, email: string): Promise<void>
  /** Notes that the request comes from an address that its user logs in from. */
  trust(request: FastifyRequest, email: string): Promise<void>
}

/**
 * A stricter limit for log-ins. Guessing from one address locks out nobody who logs in from elsewhere. Guessing from many
 * addresses is bounded by the account, as the OWASP Authentication Cheat Sheet asks for; addresses that the user has
 * logged in from are left out of that, or whoever has many addresses could lock everybody out.
 */
export function createLoginLimit(
  app: FastifyInstance,
  { redis, measurements, max, windowSeconds }: RateLimitPluginOptions,
): LoginLimit {
  const addressOf = ({ ip }: FastifyRequest) => rateLimit.normalizeIP(ip)
  const accountOf = ({ body }: FastifyRequest) => normalizeEmail((body as { email: string }).email)
  const limitPer = (key: (request: FastifyRequest) => string, times: number) =>
    app.createRateLimit({
      max: max * times,
      timeWindow: windowSeconds * 1000,
      keyGenerator: (request) => `login:${key(request)}`,
    })
  // From the narrowest to the widest, so that what one refuses uses up nothing of the next.
  const limits = [
    ['logins_of_account', limitPer((request) => `${addressOf(request)}:${accountOf(request)}`, 1)],
    ['logins_of_address', limitPer(addressOf, accountsPerAddress)],
    ['logins_of_account', limitPer((request) => `of:${accountOf(request)}`, strangersPerAccount)],
  ] as const satisfies [Limit, unknown][]
  const [ofBoth, ofAddress, ofStrangers] = limits

  // Hashed: who logs in from where is nothing to keep for a month.
  const trustKey = (request: FastifyRequest, email: string) =>
    `login-from:${createHash('sha256')
      .update(`${addressOf(request)} ${normalizeEmail(email)}`)
      .digest('base64url')}`

  return {
    async count(request, email) {
      const check = async ([name, limit]: (typeof limits)[number]) => {
        const state = await limit(request)
        if (state.isAllowed || !state.isExceeded) return
        measurements.limited(name)
        throw exceeded(state.ttlInSeconds)
      }
      // A write that changes nothing, not EXISTS, which a Redis that is full or read-only answers, too.
      const asked = redis.set(trustKey(request, email), '', 'KEEPTTL', 'XX')
      const [lookup, within] = await Promise.allSettled([asked, check(ofBoth)])
      if (within.status === 'rejected') throw within.reason
      await check(ofAddress)
      if (lookup.status === 'rejected' || lookup.value === null) await check(ofStrangers)
      if (lookup.status === 'rejected') throw sessionsUnavailable(lookup.reason)
    },
    async trust(request, email) {
      // Without it a later log-in counts as one from a new address.
      await redis.set(trustKey(request, email), '', 'EX', trustSeconds).catch(() => {})
    },
  }
}
