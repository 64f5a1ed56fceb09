import { connectRedis } from '../data/redis.ts'
import { type Counters, CounterWindow } from './counter-window.ts'
import { poll } from './poll.ts'

/** What Redis says of itself. Totals count from its start. */
export interface RedisFigures {
  usedBytes: number
  /** 0: no limit. */
  maxBytes: number
  residentBytes: number
  clients: number
  evictedKeys: number
  hits: number
  misses: number
  cpuSeconds: number
  commands: number
}

export interface RedisWatch {
  /** Undefined while it does not answer. */
  figures(): RedisFigures | undefined
  /** Whether it was asked yet. */
  isKnown(): boolean
  /** Per second over the last ten: `cpu`, `commands`. */
  rates(nowMs: number): Counters
  close(): Promise<void>
}

const everyMs = 1_000
const silenceMs = 900

/** Asks Redis for its INFO once a second, by a connection of its own. */
export function watchRedis(url: string, password: string | undefined, onError: (error: Error) => void): RedisWatch {
  const redis = connectRedis({ url, password, commandTimeoutMs: silenceMs, onError })
  const window = new CounterWindow()
  let figures: RedisFigures | undefined
  let turns = 0
  const stop = poll(everyMs, silenceMs, async () => {
    turns++
    try {
      figures = readInfo(await redis.info())
      window.add(performance.now(), { cpu: figures.cpuSeconds, commands: figures.commands })
    } catch {
      figures = undefined
    }
  })
  return {
    figures: () => figures,
    // The first turn may come before the connection.
    isKnown: () => figures !== undefined || turns > 2,
    rates: (nowMs) => window.rates(nowMs),
    async close() {
      redis.disconnect()
      await stop()
    },
  }
}

export function readInfo(text: string): RedisFigures {
  const found = new Map([...text.matchAll(/^(\w+):([\d.]+)\r?$/gm)].map((match) => [match[1], Number(match[2])]))
  const figure = (name: string) => found.get(name) ?? 0
  return {
    usedBytes: figure('used_memory'),
    maxBytes: figure('maxmemory'),
    residentBytes: figure('used_memory_rss'),
    clients: figure('connected_clients'),
    evictedKeys: figure('evicted_keys'),
    hits: figure('keyspace_hits'),
    misses: figure('keyspace_misses'),
    cpuSeconds: figure('used_cpu_sys') + figure('used_cpu_user'),
    commands: figure('total_commands_processed'),
  }
}
