// The stores of @fastify/rate-limit, which its own typings leave out.
declare module '@fastify/rate-limit/store/RedisStore.js' {
  import type { FastifyRateLimitStore } from '@fastify/rate-limit'

  const RedisStore: new (
    continueExceeding: boolean,
    exponentialBackoff: boolean,
    redis: unknown,
    namespace: string,
  ) => FastifyRateLimitStore
  export default RedisStore
}
declare module '@fastify/rate-limit/store/LocalStore.js' {
  import type { FastifyRateLimitStore } from '@fastify/rate-limit'

  const LocalStore: new (
    continueExceeding: boolean,
    exponentialBackoff: boolean,
    maxKeys: number,
  ) => FastifyRateLimitStore
  export default LocalStore
}
