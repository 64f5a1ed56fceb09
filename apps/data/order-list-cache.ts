import type { Redis } from 'ioredis'
import type { Order } from '../domain/order.ts'
import type { Consistency } from './consistency.ts'
import { type CacheObserver, createFencedCache, type Kept, type Moments } from './fenced-cache.ts'
import { now } from './members.ts'
import type { Orders } from './orders.ts'
import type { Slice } from './page.ts'
import { asSomebody, currentReader, noteRead } from './reader.ts'
import type { RedisRun } from './redis.ts'
import type { Tokens } from './tokens.ts'

export interface OrderListCache {
  /**
   * The first page of somebody's orders, newest first, as it is sent. Never less than what this reader has written or seen;
   * from the cache, nothing that an acknowledged write has replaced.
   * @throws DomainError `unavailable` when no member answers
   */
  find(userId: string, asked?: AskedList): Promise<Buffer>
  /** Asks for what {@link find} needs first, so that it travels with whatever else is asked of Redis in the same tick. */
  ask(userId: string): AskedList
  /** The same store, with writes that keep the cache true. */
  orders: Orders
}

/** What Redis has, once it is known. */
export type AskedList = Promise<Kept<Moments> | undefined>

export interface OrderListCacheOptions {
  redis: Redis
  run: RedisRun
  tokens: Tokens
  orders: Orders
  consistency: Consistency
  /** Of the page. */
  limit: number
  /** What a client gets. */
  render: (slice: Slice<Order>) => string
  observer?: CacheObserver
}

// Whoever follows an order asks again within seconds. Redis has as many lists as there are people who do so.
const keptMs = 60_000
// Twenty orders have 10 KB, as a rule.
const maxKeptBytes = 65_536

// The braces keep all keys of a user in one slot of a Redis Cluster.
const entryKey = (userId: string) => `orders:{${userId}}`

export function createOrderListCache(options: OrderListCacheOptions): OrderListCache {
  const { redis, run, tokens, orders, consistency, limit, render, observer } = options
  const entries = createFencedCache<Moments>(redis, run, entryKey)

  function ask(userId: string): AskedList {
    const asked = entries.lookUp(userId, 'page')
    // Whoever is refused never comes to look at it.
    asked.catch(() => {})
    return asked
  }

  async function read(userId: string): Promise<Buffer> {
    const page = await consistency.readDated(undefined, orders.pageForUser(userId, undefined, { limit }))
    const body = Buffer.from(render(page.value))
    // Where nobody knows how old it is (READ_ROUTING), it is not for keeping.
    if (now() < page.staleAtMs && body.length <= maxKeptBytes) void keep(userId, page, body)
    return body
  }

  async function keep(userId: string, moments: Pick<Moments, 'from' | 'to'>, page: Buffer): Promise<void> {
    try {
      const kept = { meta: entries.momentsOf(moments), bodies: { page } }
      if (!(await entries.fill(userId, kept, keptMs))) observer?.looked('refused')
    } catch {
      // It is read again.
    }
  }

  /** A write to what this user is shown. */
  function write<T>(userId: string, run: () => Promise<T>): Promise<T> {
    const saveToken = async () => {
      const reader = currentReader()
      if (reader) await tokens.save(reader)
    }
    return asSomebody(() =>
      entries.write(
        userId,
        async (announce) => {
          await announce()
          return run()
        },
        saveToken,
      ),
    )
  }

  return {
    ask,
    async find(userId, asked = ask(userId)) {
      const reader = currentReader()
      // Fences know nothing of the data that was there before a restore; whose token may be lost asks the primary.
      if (reader?.tokenLost) return read(userId)
      const kept = await asked.catch(() => undefined)
      const page = kept && entries.isVouchedFor(kept) ? kept.bodies.page : undefined
      observer?.looked(page ? 'hit' : 'miss')
      if (!kept || !page) return read(userId)
      noteRead('cache')
      // A later read must not show less than this one may have shown.
      reader?.sawKept(kept.meta.to)
      return page
    },
    orders: {
      ...orders,
      place(userId, order, creation, answerOf) {
        const coming = Promise.resolve(order)
        // It is waited for when the write has been announced; both are under way meanwhile.
        coming.catch(() => {})
        return write(userId, () => orders.place(userId, coming, creation, answerOf))
      },
      cancel: (id, userId, requestKey) => write(userId, () => orders.cancel(id, userId, requestKey)),
      advance: (order, to, requestKey) => write(order.userId, () => orders.advance(order, to, requestKey)),
    },
  }
}
