import { expect, test } from 'vitest'
import { beginning, compare } from '../../apps/data/cluster-time.ts'
import { createConsistency } from '../../apps/data/consistency.ts'
import { newId } from '../../apps/data/ids.ts'
import { createOrderListCache, listField, type OrderListCache } from '../../apps/data/order-list-cache.ts'
import { createOrders, type NewOrder } from '../../apps/data/orders.ts'
import { Reader, readAs } from '../../apps/data/reader.ts'
import { watchRun } from '../../apps/data/redis.ts'
import { createTokens, type Tokens } from '../../apps/data/tokens.ts'
import type { Order } from '../../apps/domain/order.ts'
import { openRedis, type RedisBench, redisForFile } from '../support/api.ts'
import { benchForFile, floorForFile, lookupsForFile } from '../support/commands.ts'

const bench = benchForFile()
const shared = redisForFile()
const known = floorForFile(bench, shared)

const { seen, observer } = lookupsForFile()

// One for each connection, as in a replica.
const tokens = new Map<RedisBench['redis'], Tokens>()

function createCache(
  { redis, run } = shared,
  consistency = bench.consistency,
  list = (items: Order[]) => JSON.stringify({ items }),
) {
  tokens.set(redis, tokens.get(redis) ?? createTokens(redis, known.floor, bench.mongo))
  return createOrderListCache({
    redis,
    run,
    floor: known.floor,
    tokens: tokens.get(redis) as Tokens,
    orders: createOrders(bench.mongo.connection, consistency),
    consistency,
    limit: 20,
    render: ({ items }) => ({
      [listField]: list(items),
      ...Object.fromEntries(items.map((order) => [order.id, JSON.stringify(order)])),
    }),
    observer,
  })
}

const someId = () => newId().toHexString()
const restaurant = { id: someId(), name: "Ada's Pizza" }
const draft: NewOrder = { restaurant, items: [], note: undefined }
const entryOf = (userId: string) => `orders:{${userId}}`

function place(cache: OrderListCache, userId: string, order: NewOrder | Promise<NewOrder> = draft): Promise<string> {
  const creation = { key: someId(), bodyHash: 'hash' }
  return cache.orders.place(userId, order, creation, ({ id }) => id).then(({ answer }) => answer)
}

interface Shown {
  items: { id: string; status: string }[]
}
const show = async (cache: OrderListCache, userId: string) =>
  (JSON.parse((await cache.find(userId)).toString()) as Shown).items

/** What this user is shown once it comes from the cache. */
async function keep(cache: OrderListCache, userId: string) {
  await expect
    .poll(
      async () => {
        const reader = new Reader()
        await readAs(reader, () => cache.find(userId))
        return [...reader.sources]
      },
      { timeout: 10_000 },
    )
    .toEqual(['cache'])
}

const queries = () => bench.sent.filter(({ name }) => name === 'find').length

test("somebody's orders are read from MongoDB once and from Redis after that, by any replica", async () => {
  const userId = someId()
  const author = new Reader()
  const id = await readAs(author, () => place(createCache(), userId))
  await readAs(author, () => keep(createCache(), userId))
  bench.sent.length = 0
  for (let asked = 0; asked < 5; asked++) {
    expect(await readAs(author, () => show(createCache(), userId))).toMatchObject([{ id }])
  }
  expect(queries()).toBe(0)
  const ttlMs = await shared.redis.pttl(entryOf(userId))
  expect([ttlMs > 0, ttlMs <= 60_000]).toEqual([true, true])
})

test('each of them comes from there by itself, and none that is not of this user', async () => {
  const cache = createCache()
  const [userId, somebody] = [someId(), someId()]
  const id = await place(cache, userId)
  await keep(cache, userId)
  expect(JSON.parse((await cache.findKept(userId, id))?.toString() ?? '')).toEqual((await show(cache, userId))[0])
  await keep(cache, somebody)
  expect(await cache.findKept(somebody, id)).toBeUndefined()
  await cache.orders.advance({ id, userId, restaurant }, 'accepted', someId())
  expect(await cache.findKept(userId, id)).toBeUndefined()
})

test('an order, a cancellation and a step of the kitchen show in the next list, also to who has made none of them', async () => {
  const [cache, other] = [createCache(), createCache()]
  const userId = someId()
  const id = await place(cache, userId)
  await keep(cache, userId)
  await other.orders.advance({ id, userId, restaurant }, 'accepted', someId())
  expect(await shared.redis.exists(entryOf(userId))).toBe(0)
  await expect.poll(() => show(cache, userId), { timeout: 10_000 }).toMatchObject([{ id, status: 'accepted' }])
  await keep(cache, userId)
  expect(await show(cache, userId)).toMatchObject([{ id, status: 'accepted' }])
  const second = await place(other, userId)
  expect(await shared.redis.exists(entryOf(userId))).toBe(0)
  const author = new Reader()
  await readAs(author, () => cache.orders.cancel(second, userId, someId()))
  expect(await readAs(author, () => show(other, userId))).toMatchObject([{ id: second, status: 'cancelled' }, { id }])
})

test('what is read while a write is under way is not kept, whether or not the write succeeds', async () => {
  const cache = createCache()
  const userId = someId()
  const author = new Reader()
  await readAs(author, () => place(cache, userId))
  await keep(cache, userId)
  for (const succeeds of [true, false]) {
    const { promise, resolve, reject } = Promise.withResolvers<NewOrder>()
    const placing = readAs(author, () => place(cache, userId, promise))
    placing.catch(() => {})
    await expect.poll(() => shared.redis.exists(entryOf(userId))).toBe(0)
    seen.length = 0
    await show(createCache(), userId)
    await expect.poll(() => seen).toEqual(['miss', 'refused'])
    if (succeeds) resolve(draft)
    else reject(new Error('The menu has changed'))
    await Promise.allSettled([placing])
    if (succeeds) await keep(cache, userId)
  }
  // Nobody knows of an error of another kind whether the write has happened.
  await show(cache, userId)
  await expect.poll(() => seen.at(-1)).toBe('refused')
})

test('whoever is shown a kept list is not shown less by what is asked for next', async () => {
  const cache = createCache()
  const userId = someId()
  const author = new Reader()
  await readAs(author, () => place(cache, userId))
  await readAs(author, () => keep(cache, userId))
  const other = new Reader()
  other.token = { epoch: bench.mongo.epoch, write: beginning, read: beginning, signed: undefined }
  await readAs(other, () => cache.find(userId))
  expect([[...other.sources], other.moved]).toEqual([['cache'], true])
  expect(compare(other.needs ?? beginning, author.token?.write ?? beginning)).toBeGreaterThanOrEqual(0)
})

test('whose token is lost gets nothing that was kept', async () => {
  const cache = createCache()
  const userId = someId()
  await place(cache, userId)
  await keep(cache, userId)
  const lost = new Reader()
  lost.tokenLost = true
  await readAs(lost, () => cache.find(userId))
  expect([...lost.sources]).toEqual([expect.stringMatching(/^primary /)])
})

test('an entry of another run of Redis is not shown', async () => {
  const userId = someId()
  await place(createCache(), userId)
  await keep(createCache(), userId)
  const other = { redis: shared.redis, run: { current: () => ({ id: 'another', sinceMs: 0 }) } }
  await show(createCache(other), userId)
  expect(seen.at(-1)).toBe('miss')
})

test('a list beyond 64 KiB is not kept', async () => {
  const userId = someId()
  const long = createCache(shared, bench.consistency, (items) => JSON.stringify({ items }).padEnd(65_537))
  await long.find(userId)
  const fits = createCache(shared, bench.consistency, (items) => JSON.stringify({ items }).padEnd(65_536))
  await keep(fits, userId)
  expect(await shared.redis.hstrlen(entryOf(userId), listField)).toBe(65_536)
})

test.each(['secondary', 'primary'] as const)('where every read goes to a %s, nothing is kept', async (routing) => {
  const cache = createCache(shared, createConsistency(bench.mongo, { routing, readWaitMs: 10_000 }))
  const userId = someId()
  for (let asked = 0; asked < 3; asked++) await cache.find(userId)
  expect(seen).toEqual(['miss', 'miss', 'miss'])
})

test('without Redis, lists come from MongoDB and orders are refused before they happen', async () => {
  const redis = await openRedis()
  const cache = createCache({ redis, run: watchRun(redis) })
  const userId = someId()
  redis.disconnect()
  expect(await show(cache, userId)).toEqual([])
  await expect(place(cache, userId)).rejects.toMatchObject({ code: 'unavailable' })
  expect(await show(cache, userId)).toEqual([])
})
