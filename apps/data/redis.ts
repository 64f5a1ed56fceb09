import { readFileSync } from 'node:fs'
import { Redis } from 'ioredis'

export interface RedisOptions {
  url: string
  password?: string | undefined
  /** Silence after which Redis counts as frozen: so long it may hold a request, and not again before it answers. */
  commandTimeoutMs: number
  onError?: (error: Error) => void
}

/**
 * One client for all that a replica asks of Redis. Commands sent in the same tick travel together. A command fails at
 * once while there is no connection; when Redis is silent for `commandTimeoutMs`, the connection is given up, and with it
 * everything that waits. Reconnects for as long as it is not closed.
 */
export function connectRedis(options: RedisOptions): Redis {
  const redis = new Redis(options.url, {
    ...(options.password === undefined ? {} : { password: options.password }),
    enableOfflineQueue: false,
    connectTimeout: 2_000,
    // A Redis that loads its file says how long that may take, and is asked again when it has, or ten seconds later.
    maxLoadingRetryTime: 200,
    // A command that may have been done is not sent again: counters would count twice.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    // Jitter keeps a fleet from returning in one instant to a Redis that has just come back.
    retryStrategy: (attempt) => Math.min(50 * 2 ** Math.min(attempt, 5), 1_000) * (0.5 + Math.random() / 2),
  })
  redis.on('error', (error) => options.onError?.(error))
  watchSilence(redis, options.commandTimeoutMs)
  gatherWrites(redis)
  return redis
}

/**
 * Sends what is asked in one turn of the event loop in one write. So does ioredis with `enableAutoPipelining`, which wraps
 * each command into several promises, and holds all back while others are under way.
 */
function gatherWrites(redis: Redis): void {
  let isGathering = false
  const send = redis.sendCommand.bind(redis)
  redis.sendCommand = (command, stream) => {
    if (!isGathering && redis.status === 'ready') {
      isGathering = true
      const socket = redis.stream
      socket.cork()
      setImmediate(() => {
        isGathering = false
        socket.uncork()
      })
    }
    return send(command, stream)
  }
}

/** Makes `scripts/<file>.lua` a command of the client; its types are declared where it is used. */
export function defineScript(redis: Redis, command: string, file: string, numberOfKeys: number): void {
  const lua = readFileSync(new URL(`scripts/${file}.lua`, import.meta.url), 'utf8')
  redis.defineCommand(command, { numberOfKeys, lua })
}

const ticksOfSilence = 5

/**
 * Asks again and again for as long as something is asked of Redis, and gives the connection up when there is no answer.
 * Time is counted in ticks, not by the clock as ioredis's `commandTimeout` does: when this process itself is held up, the
 * answers are there already and have just not been read, and its timers would fail them all.
 */
function watchSilence(redis: Redis, silenceMs: number): void {
  let silentTicks: number | undefined
  let isUsed = false
  let timer: NodeJS.Timeout | undefined
  const answered = () => {
    silentTicks = undefined
  }
  const ask = () => {
    isUsed = false
    silentTicks = 0
    redis.ping().then(answered, answered)
  }
  // Nobody waits for a Redis that nothing is asked of, and each question wakes two processes up.
  const stop = () => {
    clearInterval(timer)
    timer = undefined
    answered()
  }
  const tick = () => {
    // Until it is ready, commands fail anyhow; a frozen one lets nobody get so far.
    if (redis.status !== 'ready') stop()
    else if (silentTicks === undefined) {
      if (isUsed) ask()
      else stop()
    } else if (++silentTicks >= ticksOfSilence) {
      stop()
      redis.stream.destroy()
    }
  }
  const send = redis.sendCommand.bind(redis)
  redis.sendCommand = (command, stream) => {
    if (command.name !== 'ping') {
      isUsed = true
      if (timer === undefined && redis.status === 'ready') {
        timer = setInterval(tick, silenceMs / ticksOfSilence).unref()
        // Not at once: ioredis is in the middle of sending what was asked.
        setImmediate(ask)
      }
    }
    return send(command, stream)
  }
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
