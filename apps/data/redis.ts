import { Redis } from 'ioredis'

export interface RedisOptions {
  url: string
  password?: string | undefined
  /** After this a command fails, so that a frozen Redis never holds a request. */
  commandTimeoutMs: number
  onError?: (error: Error) => void
}

/**
 * One client for all that a replica asks of Redis. Commands sent in the same tick travel together; a command fails at
 * once while there is no connection and after `commandTimeoutMs` while there is no answer. Reconnects for as long as
 * it is not closed.
 */
export function connectRedis(options: RedisOptions): Redis {
  const redis = new Redis(options.url, {
    ...(options.password === undefined ? {} : { password: options.password }),
    enableAutoPipelining: true,
    enableOfflineQueue: false,
    commandTimeout: options.commandTimeoutMs,
    connectTimeout: 2_000,
    maxRetriesPerRequest: 1,
    // Jitter keeps a fleet from returning in one instant to a Redis that has just come back.
    retryStrategy: (attempt) => Math.min(50 * 2 ** Math.min(attempt, 5), 1_000) * (0.5 + Math.random() / 2),
  })
  redis.on('error', (error) => options.onError?.(error))
  return redis
}

/** Resolves when the first connection is usable, rejects after `timeoutMs`. */
export async function redisReady(redis: Redis, timeoutMs: number): Promise<void> {
  if (redis.status === 'ready') return
  await new Promise<void>((resolve, reject) => {
    const ready = () => {
      clearTimeout(timer)
      resolve()
    }
    const timer = setTimeout(() => {
      redis.off('ready', ready)
      reject(new Error(`Redis was not ready after ${timeoutMs} ms`))
    }, timeoutMs)
    redis.once('ready', ready)
  })
}

/** What other folders may know of the client: that there is one to hand on. */
export type RedisClient = Redis

/** Which run of the Redis server a client talks to: another one may have lost the latest writes. */
export interface RedisRun {
  /** Its id, and since when it has been known; undefined from the moment the connection is lost until it is asked. */
  current(): { id: string; sinceMs: number } | undefined
}

export function watchRun(redis: Redis): RedisRun {
  let run: { id: string; sinceMs: number } | undefined
  let last: { id: string; sinceMs: number } | undefined

  async function ask(): Promise<void> {
    const askedMs = performance.now()
    try {
      const id = /^run_id:(\w+)/m.exec(await redis.info('server'))?.[1]
      // The same server after a hiccup of the line has lost nothing.
      if (id !== undefined) run = last = last?.id === id ? last : { id, sinceMs: askedMs }
    } catch {
      // The connection is gone again, or stuck; what comes next asks again.
      if (redis.status === 'ready') setTimeout(() => void ask(), 500).unref()
    }
  }
  redis.on('close', () => {
    run = undefined
  })
  redis.on('ready', () => void ask())
  if (redis.status === 'ready') void ask()
  return { current: () => run }
}
