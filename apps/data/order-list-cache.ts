import type { Order } from '../domain/order.ts'
import type { Consistency } from './consistency.ts'
import {
  aheadOfUse,
  type CacheObserver,
  createFencedCache,
  type Fenced,
  type Kept,
  type Moments,
} from './fenced-cache.ts'
import { now } from './members.ts'
import type { Orders } from './orders.ts'
import type { Slice } from './page.ts'
import { asSomebody, currentReader, noteKept } from './reader.ts'
import type { Tokens } from './tokens.ts'

export interface OrderListCache {
  /**
   * The first page of somebody's orders, newest first, as it is sent. Never less than what this reader has written or seen;
   * from the cache, nothing that an acknowledged write has replaced.
   * @throws DomainError `unavailable` when no member answers
   */
  find(userId: string, asked?: AskedOrders): Promise<Buffer>
  /** One of these orders as it is sent, where the cache has it, with the same promises. */
  findKept(userId: string, id: string, asked?: AskedOrders): Promise<Buffer | undefined>
  /**
   * Asks for what these two need first, so that it travels with whatever else is asked of Redis in the same tick.
   *
   * @param id of one order, instead of the list
   */
  ask(userId: string, id?: string): AskedOrders
  /** The same store, with writes that keep the cache true. */
  orders: Orders
}

/** What Redis has, once it is known. */
export type AskedOrders = Promise<Kept<Moments> | undefined>

export interface OrderListCacheOptions extends Fenced {
  tokens: Tokens
  orders: Orders
  consistency: Consistency
  /** Of the page. */
  limit: number
  /** What a client gets, by field: the list as {@link listField}, and each order by its id. */
  render: (slice: Slice<Order>) => Record<string, string>
  observer?: CacheObserver
}

export const listField = 'list'

// Whoever follows an order asks again within seconds. Redis has as many lists as there are people who do so.
const keptMs = 60_000
// Of a list. Twenty orders have 10 KB, as a rule; they are kept a second time, one by one.
const maxKeptBytes = 65_536

// The braces keep all keys of a user in one slot of a Redis Cluster.
const entryKey = (userId: string) => `orders:{${userId}}`

export function createOrderListCache(options: OrderListCacheOptions): OrderListCache {
  const { tokens, orders, consistency, limit, render, observer } = options
  const entries = createFencedCache<Moments>(options, entryKey)

  function ask(userId: string, field = listField): AskedOrders {
    return aheadOfUse(entries.lookUp(userId, field))
  }

  async function read(userId: string): Promise<Buffer> {
    const page = await consistency.readDated(undefined, orders.pageForUser(userId, undefined, { limit }))
    const bodies = render(page.value)
    const list = Buffer.from(bodies[listField] ?? '')
    // Where nobody knows how old it is (READ_ROUTING), it is not for keeping.
    if (now() < page.staleAtMs && list.length <= maxKeptBytes) void keep(userId, page, bodies)
    return list
  }

  async function keep(
    userId: string,
    moments: Pick<Moments, 'from' | 'to'>,
    bodies: Record<string, string>,
  ): Promise<void> {
    try {
      const meta = entries.momentsOf(moments)
      if (!(await entries.fill(userId, { meta, bodies }, keptMs))) observer?.looked('refused')
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

  async function shown(field: string, asked: AskedOrders): Promise<Buffer | undefined> {
    // Fences know nothing of the data that was there before a restore; whose token may be lost asks the primary.
    if (currentReader()?.tokenLost) return undefined
    const kept = await asked.catch(() => undefined)
    const body = kept && entries.isVouchedFor(kept) ? kept.bodies[field] : undefined
    observer?.looked(body ? 'hit' : 'miss')
    if (!kept || !body) return undefined
    noteKept(kept.meta.to)
    return body
  }

  return {
    ask,
    find: async (userId, asked = ask(userId)) => (await shown(listField, asked)) ?? read(userId),
    findKept: (userId, id, asked = ask(userId, id)) => shown(id, asked),
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
