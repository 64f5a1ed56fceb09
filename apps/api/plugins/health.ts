import type { FastifyInstance } from 'fastify'
import type { Mongo } from '../../data/mongo.ts'
import type { RedisClient } from '../../data/redis.ts'

export interface Health {
  /** From now on /readyz fails and every answer asks the client to close its connection. */
  drain(): void
}

/**
 * `/livez`: the process answers. `/readyz`: it may be sent requests: it is not draining and reads from MongoDB. Redis is
 * reported only: without it public reads go on, and taking every replica out would end those too.
 */
export function reportHealth(app: FastifyInstance, { mongo, redis }: { mongo: Mongo; redis: RedisClient }): Health {
  let draining = false
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (draining) reply.header('connection', 'close')
    done()
  })
  const hidden = { schema: { hide: true }, logLevel: 'silent', config: { isVital: true } } as const
  app.get('/livez', hidden, async () => ({ status: 'ok' }))
  app.get('/readyz', hidden, async (_request, reply) => {
    const database = await mongo.ping().then(
      () => 'ok',
      () => 'unreachable',
    )
    const ready = !draining && database === 'ok'
    return reply
      .status(ready ? 200 : 503)
      .headers({ 'cache-control': 'no-store', ...(ready ? {} : { 'retry-after': 1 }) })
      .send({
        status: draining ? 'draining' : ready ? 'ok' : 'unavailable',
        mongo: database,
        redis: redis.status === 'ready' ? 'ok' : 'unreachable',
      })
  })
  return {
    drain() {
      draining = true
    },
  }
}
