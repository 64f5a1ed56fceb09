import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { createConsistency } from '../../apps/data/consistency.ts'
import { newId, toObjectId } from '../../apps/data/ids.ts'
import { connectMongo } from '../../apps/data/mongo.ts'
import { createOrders, creationKeyHours, type NewOrder, type Orders, orderModel } from '../../apps/data/orders.ts'
import { encodeCursor, type Page, type Slice } from '../../apps/data/page.ts'
import { type Order, type OrderStatus, orderStatuses } from '../../apps/domain/order.ts'
import { mongoOptions } from '../support/api.ts'
import { benchForFile, explain } from '../support/commands.ts'
import { holdBack, hostsByRole } from '../support/members.ts'

const bench = benchForFile()
const store = (): Orders => createOrders(bench.mongo.connection, bench.consistency)
const model = () => orderModel(bench.mongo.connection)
const someId = () => newId().toHexString()
let numbers = 0
const newKey = () => `key-${numbers++}`

const dishes = [
  { menuItemId: someId(), name: 'Margherita', priceCents: 1200, quantity: 2 },
  { menuItemId: someId(), name: 'Tiramisu', priceCents: 750, quantity: 1 },
]
const newOrder = (changes: Partial<NewOrder & { userId: string }> = {}): NewOrder & { userId: string } => ({
  userId: someId(),
  restaurant: { id: someId(), name: "Ada's Pizza" },
  items: dishes,
  note: 'No onions',
  ...changes,
})
const idOf = (order: Order) => order.id

/** Places an order and gives its id. */
async function place(order = newOrder(), key = newKey(), bodyHash = 'hash'): Promise<string> {
  return (await store().place(order.userId, order, { key, bodyHash }, idOf)).answer
}

describe('an order', () => {
  test.each(['with', 'without'])('is read again as it was placed, %s a note', async (how) => {
    const asked = newOrder(how === 'with' ? {} : { note: undefined })
    let placed: Order | undefined
    const { answer, replayed } = await store().place(
      asked.userId,
      asked,
      { key: newKey(), bodyHash: 'hash' },
      (order) => {
        placed = order
        return order.id
      },
    )
    expect(replayed).toBe(false)
    expect(placed).toEqual({
      ...asked,
      id: answer,
      totalCents: 3150,
      status: 'pending',
      history: [{ status: 'pending', at: expect.any(Date) }],
      createdAt: expect.any(Date),
      updatedAt: expect.any(Date),
    })
    expect(await store().find(answer, 'latest')).toEqual(placed)
    expect(await store().findForUser(answer, asked.userId, 'latest')).toEqual(placed)
    await expect.poll(() => store().find(answer, 'any'), { timeout: 10_000 }).toEqual(placed)
    const page = { limit: 10 }
    expect((await store().listForUser(asked.userId, undefined, page, 'latest')).items).toEqual([placed])
    expect((await store().listForRestaurant(asked.restaurant.id, undefined, page, 'latest')).items).toEqual([placed])
  })

  test('does not exist for another user, nor by an unknown id', async () => {
    const id = await place()
    expect(await store().findForUser(id, someId(), 'latest')).toBeNull()
    expect(await store().find(someId(), 'latest')).toBeNull()
  })
})

describe('the same key', () => {
  test('gives one order and one answer, however many try at once', async () => {
    const order = newOrder()
    const tries = await Promise.all(
      Array.from({ length: 50 }, () => store().place(order.userId, order, { key: 'once', bodyHash: 'hash' }, idOf)),
    )
    expect(new Set(tries.map(({ answer }) => answer)).size).toBe(1)
    expect(tries.filter(({ replayed }) => !replayed)).toHaveLength(1)
    expect(await model().countDocuments({ userId: order.userId })).toBe(1)
  })

  test('is refused with another body, also when it is asked for its answer', async () => {
    const order = newOrder()
    await place(order, 'taken')
    const refusal = { code: 'unprocessable', errors: [{ pointer: 'Idempotency-Key', detail: expect.any(String) }] }
    await expect(place(order, 'taken', 'another')).rejects.toMatchObject(refusal)
    await expect(store().replay(order.userId, { key: 'taken', bodyHash: 'another' })).rejects.toMatchObject(refusal)
    expect(await model().countDocuments({ userId: order.userId })).toBe(1)
  })

  test('is free for every other user', async () => {
    const key = newKey()
    expect(await place(newOrder(), key)).not.toBe(await place(newOrder(), key))
  })

  test('gives its answer when asked for, and none when it was never used', async () => {
    const order = newOrder()
    const answer = await place(order, 'used')
    expect(await store().replay(order.userId, { key: 'used', bodyHash: 'hash' })).toEqual({ answer, replayed: true })
    expect(await store().replay(order.userId, { key: 'unused', bodyHash: 'hash' })).toBeNull()
  })

  test('belongs to its order for a day, and makes another one after that', async () => {
    const order = newOrder()
    const first = await place(order, 'daily')
    const age = (hours: number) =>
      model().collection.updateOne(
        { _id: toObjectId(first) },
        { $set: { createdAt: new Date(Date.now() - hours * 3_600_000) } },
      )
    await age(creationKeyHours - 0.1)
    expect(await place(order, 'daily')).toBe(first)
    await age(creationKeyHours + 0.1)
    const tries = await Promise.all(Array.from({ length: 20 }, () => place(order, 'daily')))
    expect(new Set(tries).size).toBe(1)
    expect(tries[0]).not.toBe(first)
    expect(await store().find(first, 'latest')).toMatchObject({ id: first, totalCents: 3150 })
    expect(await model().countDocuments({ userId: order.userId })).toBe(2)
  })

  test('gives no answer that the majority has not confirmed', async () => {
    const hasty = await connectMongo({ ...mongoOptions(bench.mongo.connection.name), writeTimeoutMs: 300 })
    onTestFinished(hasty.close)
    const orders = createOrders(hasty.connection, createConsistency(hasty))
    const order = newOrder()
    const attempt = () => orders.place(order.userId, order, { key: 'doubtful', bodyHash: 'hash' }, idOf)
    const { secondaries } = await hostsByRole()
    const releases = await Promise.all(secondaries.map(holdBack))
    try {
      await expect(attempt()).rejects.toMatchObject({ code: 'unavailable' })
      await expect(attempt()).rejects.toMatchObject({ code: 'unavailable' })
    } finally {
      await Promise.all(releases.map((release) => release()))
    }
    await expect.poll(attempt, { timeout: 20_000 }).toMatchObject({ replayed: true })
    expect(await model().countDocuments({ userId: order.userId })).toBe(1)
  })
})

describe('a step', () => {
  const path: OrderStatus[] = ['pending', 'accepted', 'preparing', 'ready', 'delivered']

  test('follows the path, and is noted with its time', async () => {
    const order = newOrder()
    const id = await place(order)
    const seen = [await store().find(id, 'latest')]
    for (const to of ['accepted', 'preparing', 'ready', 'delivered'] as const) {
      seen.push(await store().advance({ ...order, id }, to, newKey()))
    }
    expect(seen.map((each) => each?.status)).toEqual(path)
    const last = seen.at(-1)
    expect(last?.history.map(({ status }) => status)).toEqual(path)
    expect(last?.updatedAt).toEqual(last?.history.at(-1)?.at)
    expect(await store().find(id, 'latest')).toEqual(last)
  })

  test('off the path is refused, and changes nothing', async () => {
    const order = newOrder()
    const id = await place(order)
    for (const to of ['preparing', 'ready', 'delivered'] as const) {
      await expect(store().advance({ ...order, id }, to, newKey())).rejects.toMatchObject({ code: 'conflict' })
    }
    await store().advance({ ...order, id }, 'rejected', newKey())
    for (const to of ['accepted', 'rejected'] as const) {
      await expect(store().advance({ ...order, id }, to, newKey())).rejects.toMatchObject({ code: 'conflict' })
    }
    await expect(store().cancel(id, order.userId, newKey())).rejects.toMatchObject({ code: 'conflict' })
    expect((await store().find(id, 'latest'))?.history).toHaveLength(2)
  })

  test('is made by one of ten who try at once; customer and kitchen exclude each other too', async () => {
    const order = newOrder()
    const id = await place(order)
    const results = await Promise.allSettled([
      ...Array.from({ length: 5 }, () => store().cancel(id, order.userId, newKey())),
      ...Array.from({ length: 5 }, () => store().advance({ ...order, id }, 'accepted', newKey())),
    ])
    const made = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    expect(made).toHaveLength(1)
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'conflict' })
    }
    expect(await store().find(id, 'latest')).toEqual(made[0])
    expect(made[0]?.history).toHaveLength(2)
  })

  test('tried again by the same request gets the same answer', async () => {
    const order = newOrder()
    const id = await place(order)
    const tries = await Promise.all(Array.from({ length: 5 }, () => store().cancel(id, order.userId, 'the request')))
    for (const each of tries) expect(each).toEqual(tries[0])
    expect(tries[0]?.history).toHaveLength(2)
  })

  test('of somebody else, or of no order, finds nothing', async () => {
    const id = await place()
    for (const run of [
      () => store().cancel(id, someId(), newKey()),
      () => store().cancel(someId(), someId(), newKey()),
      () => store().advance({ id, userId: someId(), restaurant: { id: someId() } }, 'accepted', newKey()),
    ]) {
      await expect(run()).rejects.toMatchObject({ code: 'not_found' })
    }
    expect((await store().find(id, 'latest'))?.status).toBe('pending')
  })
})

/** Goes through a list to its end; `between` runs after each page. */
async function collect(list: (page: Page) => Promise<Slice<Order>>, limit: number, between = async () => {}) {
  const ids: string[] = []
  let cursor: string | undefined
  do {
    const slice: Slice<Order> = await list({ limit, cursor })
    expect(slice.items.length).toBeLessThanOrEqual(limit)
    ids.push(...slice.items.map(idOf))
    cursor = slice.nextCursor ?? undefined
    await between()
  } while (cursor !== undefined)
  return ids
}

describe('a list', () => {
  const userId = someId()
  const restaurant = { id: someId(), name: 'Busy' }
  let placed: string[] = []

  beforeAll(async () => {
    const now = Date.now()
    const orders = Array.from({ length: 2_000 }, (_, index) => {
      const at = new Date(now - index * 1_000)
      const mine = index % 20 === 0
      return {
        _id: newId(at.getTime()),
        userId: toObjectId(mine ? userId : someId()),
        restaurant: { id: toObjectId(index % 10 === 0 ? restaurant.id : someId()), name: 'Busy' },
        items: [],
        totalCents: 0,
        status: orderStatuses[Math.floor(index / 20) % orderStatuses.length] ?? 'pending',
        history: [],
        createdAt: at,
        updatedAt: at,
      }
    })
    await model().collection.insertMany(orders)
    placed = orders.filter(({ userId: owner }) => owner.toHexString() === userId).map(({ _id }) => _id.toHexString())
  })

  test('of a customer goes from the newest to the oldest, and neither repeats nor skips one while others are placed', async () => {
    const ids = await collect(
      (page) => store().listForUser(userId, undefined, page, 'latest'),
      7,
      async () => void (await place(newOrder({ userId }))),
    )
    expect(ids).toEqual(placed)
  })

  test('of a kitchen goes from the oldest to the newest and takes in what comes meanwhile', async () => {
    let added = 0
    const ids = await collect(
      (page) => store().listForRestaurant(restaurant.id, undefined, page, 'latest'),
      20,
      async () => {
        if (added++ < 3) await place(newOrder({ restaurant }))
      },
    )
    expect(ids).toEqual([...new Set(ids)].sort())
    const open = {
      'restaurant.id': toObjectId(restaurant.id),
      status: { $in: ['pending', 'accepted', 'preparing', 'ready'] },
    }
    expect(ids).toHaveLength(await model().collection.countDocuments(open))
  })

  test.each(orderStatuses)('can be of the orders that are %s', async (status) => {
    const mine = await store().listForUser(userId, status, { limit: 100 }, 'latest')
    const queue = await store().listForRestaurant(restaurant.id, status, { limit: 100 }, 'latest')
    expect(new Set([...mine.items, ...queue.items].map((order) => order.status))).toEqual(new Set([status]))
  })

  test('of exactly one page has no next one', async () => {
    const customer = someId()
    for (let count = 0; count < 3; count++) await place(newOrder({ userId: customer }))
    expect((await store().listForUser(customer, undefined, { limit: 3 }, 'latest')).nextCursor).toBeNull()
    expect((await store().listForUser(customer, undefined, { limit: 2 }, 'latest')).nextCursor).not.toBeNull()
    expect(await store().listForUser(someId(), undefined, { limit: 2 }, 'latest')).toEqual({
      items: [],
      nextCursor: null,
    })
  })

  test.each([
    ['no base64', '!!!'],
    ['no JSON', Buffer.from('{').toString('base64url')],
    ['no object', encodeCursor([1])],
    ['null', Buffer.from('null').toString('base64url')],
    ['no id', encodeCursor({ id: 'x' })],
    ['an operator', encodeCursor({ id: { $gt: '' } })],
    ['a place in another kind of list', encodeCursor({ meters: 1, seen: [] })],
  ])('refuses a cursor that is %s', async (_what, cursor) => {
    const refusal = { code: 'invalid', errors: [{ pointer: '?cursor', detail: 'is not a cursor of this list' }] }
    await expect(store().listForUser(userId, undefined, { limit: 1, cursor }, 'any')).rejects.toMatchObject(refusal)
    await expect(store().listForRestaurant(userId, undefined, { limit: 1, cursor }, 'any')).rejects.toMatchObject(
      refusal,
    )
  })
})

describe('every query', () => {
  const userId = someId()
  const restaurant = { id: someId(), name: 'Explained' }
  let id = ''

  beforeAll(async () => {
    for (let count = 0; count < 30; count++) id = await place(newOrder({ userId, restaurant }), `explained-${count}`)
  })

  const page = { limit: 10 }
  const middle = async () => (await store().listForUser(userId, undefined, { limit: 10 }, 'latest')).nextCursor ?? ''
  const creation = { key: 'explained-3', bodyHash: 'hash' }
  const byUser = 'userId_1_status_1__id_-1'
  const byRestaurant = 'restaurant.id_1_status_1__id_1'

  // `_id_` shows no index name of its own where the server takes its short cut for ids.
  test.each<[string, string[], number, () => Promise<unknown>]>([
    ['one order', [], 1, () => store().find(id, 'latest')],
    ['one order of a customer', ['_id_'], 1, () => store().findForUser(id, userId, 'latest')],
    ['the orders of a customer', [byUser], 11, () => store().listForUser(userId, undefined, page, 'any')],
    [
      'the next orders of a customer',
      [byUser],
      11,
      async () => store().listForUser(userId, undefined, { ...page, cursor: await middle() }, 'any'),
    ],
    ['the pending orders of a customer', [byUser], 11, () => store().listForUser(userId, 'pending', page, 'any')],
    [
      'the queue of a kitchen',
      [byRestaurant],
      11,
      () => store().listForRestaurant(restaurant.id, undefined, page, 'any'),
    ],
    [
      'the pending queue of a kitchen',
      [byRestaurant],
      11,
      () => store().listForRestaurant(restaurant.id, 'pending', page, 'any'),
    ],
    ['the answer of a key', ['userId_1_creation.key_1'], 1, () => store().replay(userId, creation)],
    ['a step', ['_id_'], 1, () => store().cancel(id, userId, newKey())],
  ])('looks at what it gives and no more: %s', async (_what, indexes, examined, run) => {
    await run()
    const query = bench.sent.at(-1)
    if (!query) throw new Error('Nothing was sent')
    const plan = await explain(bench, query)
    expect([plan.indexes, plan.examined]).toEqual([indexes, examined])
    // A step finds nothing more to do when it is explained.
    if (query.name === 'find') expect(plan.returned).toBe(examined)
    expect(plan.stages).not.toContain('SORT')
    expect(plan.stages).not.toContain('COLLSCAN')
  })
})
