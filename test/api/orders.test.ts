import { randomUUID } from 'node:crypto'
import type { LightMyRequestResponse } from 'fastify'
import { beforeAll, describe, expect, test } from 'vitest'
import { orderModel } from '../../apps/data/orders.ts'
import {
  Client,
  eventually,
  fleetForFile,
  menu,
  openRestaurant,
  orderOf,
  type Restaurant,
  signUp,
  type User,
  unknownId,
} from '../support/api.ts'

const fleet = fleetForFile({}, 3)
let owner: User
let customer: User
let stranger: User
let restaurant: Restaurant
beforeAll(async () => {
  ;[owner, customer, stranger] = [await signUp(fleet), await signUp(fleet), await signUp(fleet)]
  restaurant = await openRestaurant(owner)
})

const lines = (...quantities: number[]) =>
  quantities.map((quantity, index) => ({ menuItemId: restaurant.menu[index]?.id, quantity }))
const order = (client: Client, headers: Record<string, string> = {}, body: object = {}, replica = 0) =>
  client.post('/api/orders', { restaurantId: restaurant.id, items: lines(2, 1), ...body }, headers, replica)
const cancel = (client: Client, id: string, replica = 0, headers: Record<string, string> = {}) =>
  client.call(`/api/orders/${id}/cancellation`, { method: 'PUT', headers }, replica)
const move = (client: Client, id: string, status: string, replica = 0, headers: Record<string, string> = {}) =>
  client.call(`/api/orders/${id}/status`, { method: 'PUT', body: { status }, headers }, replica)
/** What Nginx sends with every try of one request. */
const ofNginx = () => ({ 'x-request-id': randomUUID().replaceAll('-', '') })
const countOrders = (client: User) => orderModel(fleet.mongo.connection).countDocuments({ userId: client.id })
const withoutId = ({ statusCode, body }: LightMyRequestResponse) => [statusCode, { ...JSON.parse(body), instance: '' }]

describe('an order', () => {
  test('has its prices from the menu and is read again on every replica, by the customer and by the owner', async () => {
    const answer = await order(customer, {}, { note: 'No onions' })
    expect(answer.statusCode).toBe(201)
    const placed = answer.json()
    expect(placed).toEqual({
      id: expect.any(String),
      userId: customer.id,
      restaurant: { id: restaurant.id, name: restaurant.name },
      items: [
        { menuItemId: restaurant.menu[0]?.id, name: 'Margherita', priceCents: 1200, quantity: 2 },
        { menuItemId: restaurant.menu[1]?.id, name: 'Tiramisu', priceCents: 750, quantity: 1 },
      ],
      totalCents: 3150,
      note: 'No onions',
      status: 'pending',
      history: [{ status: 'pending', at: expect.any(String) }],
      createdAt: expect.any(String),
      updatedAt: expect.any(String),
    })
    expect(answer.headers).toMatchObject({ location: `/api/orders/${placed.id}`, 'cache-control': 'no-store' })
    expect(answer.headers['idempotency-replayed']).toBeUndefined()
    for (const replica of [0, 1, 2]) {
      const shown = await customer.call(`/api/orders/${placed.id}`, {}, replica)
      expect([shown.statusCode, shown.json()]).toEqual([200, placed])
      expect(shown.headers).toMatchObject({ 'cache-control': 'no-store', 'x-served-by': `app-${replica + 1}` })
      const list = (await customer.call('/api/orders?limit=1', {}, replica)).json()
      expect(list.items).toEqual([placed])
    }
    const forOwner = await eventually(
      () => owner.call(`/api/orders/${placed.id}`),
      ({ statusCode }) => statusCode === 200,
    )
    expect(forOwner.json()).toEqual(placed)
  })

  test('stays as it was when the menu changes', async () => {
    const changing = await openRestaurant(owner)
    const placed = (await order(customer, {}, orderOf(changing))).json()
    await owner.call(`/api/restaurants/${changing.id}/menu`, {
      method: 'PUT',
      body: { menu: [{ ...menu[0], id: changing.menu[0]?.id, priceCents: 9_999 }] },
    })
    expect((await customer.call(`/api/orders/${placed.id}`)).json()).toEqual(placed)
    const next = (await order(customer, {}, orderOf(changing), 1)).json()
    expect([placed.totalCents, next.totalCents]).toEqual([1200, 9999])
  })

  test('of what is not on the menu, of too many, or of no restaurant is no order', async () => {
    const before = await countOrders(customer)
    const tries: [object, string[]][] = [
      [{ items: [{ menuItemId: unknownId, quantity: 1 }, ...lines(1)] }, ['#/items/0/menuItemId']],
      [{ items: [...lines(100), ...lines(1)] }, ['#/items/1/quantity']],
      [{ restaurantId: unknownId }, ['#/restaurantId']],
    ]
    for (const [body, pointers] of tries) {
      const answer = await order(customer, {}, body)
      expect(answer.statusCode).toBe(422)
      expect(answer.json().errors.map(({ pointer }: { pointer: string }) => pointer)).toEqual(pointers)
    }
    expect(await countOrders(customer)).toBe(before)
  })

  test('does not exist for anybody else: unknown and forbidden look the same', async () => {
    const { id } = (await order(customer)).json()
    for (const replica of [0, 1, 2]) {
      for (const ask of [
        (of: string) => stranger.call(`/api/orders/${of}`, {}, replica),
        (of: string) => cancel(stranger, of, replica),
        (of: string) => move(stranger, of, 'accepted', replica),
      ]) {
        const [foreign, unknown] = [await ask(id), await ask(unknownId)]
        expect(withoutId(foreign)).toEqual(withoutId(unknown))
        expect(foreign.statusCode).toBe(404)
        // Whether a secondary let the read wait says nothing of the order.
        const names = ({ headers }: typeof foreign) => Object.keys(headers).filter((name) => name !== 'x-read-wait-ms')
        expect(names(foreign).sort()).toEqual(names(unknown).sort())
      }
    }
    expect((await stranger.call('/api/orders')).json().items).toEqual([])
    expect((await customer.call(`/api/orders/${id}`)).json().status).toBe('pending')
  })

  test('needs a log-in', async () => {
    const { id } = (await order(customer)).json()
    const nobody = new Client(fleet)
    const answers = [
      await order(nobody),
      await nobody.call('/api/orders'),
      await nobody.call(`/api/orders/${id}`),
      await cancel(nobody, id),
      await move(nobody, id, 'accepted'),
    ]
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([401, 401, 401, 401, 401])
  })
})

describe('an Idempotency-Key', () => {
  const keyed = () => ({ 'idempotency-key': randomUUID() })

  test('a hundred times at once over three replicas makes one order and one answer', async () => {
    const user = await signUp(fleet)
    const headers = keyed()
    const answers = await Promise.all(Array.from({ length: 100 }, (_, index) => order(user, headers, {}, index)))
    expect(new Set(answers.map(({ statusCode }) => statusCode))).toEqual(new Set([201]))
    expect(new Set(answers.map(({ body }) => body)).size).toBe(1)
    expect(new Set(answers.map((answer) => answer.headers.location)).size).toBe(1)
    expect(answers.filter((answer) => answer.headers['idempotency-replayed'] === undefined)).toHaveLength(1)
    expect(await countOrders(user)).toBe(1)
  })

  test('gives the first answer byte for byte, also after the order and the menu have changed', async () => {
    const user = await signUp(fleet)
    const changing = await openRestaurant(owner)
    const headers = keyed()
    const body = orderOf(changing)
    const first = await order(user, headers, body)
    expect(first.statusCode).toBe(201)
    await move(owner, first.json().id, 'accepted')
    await owner.call(`/api/restaurants/${changing.id}/menu`, { method: 'PUT', body: { menu: [] } })
    const again = await order(user, headers, body, 1)
    expect([again.statusCode, again.body, again.headers.location]).toEqual([201, first.body, first.headers.location])
    expect(again.headers['idempotency-replayed']).toBe('true')
    expect(again.headers['content-type']).toBe(first.headers['content-type'])
    expect(await countOrders(user)).toBe(1)
  })

  test('does not care for the order of fields in the text, but for everything else', async () => {
    const user = await signUp(fleet)
    const headers = keyed()
    const first = await order(user, headers, { note: 'a' })
    const [items] = [lines(2, 1)]
    const same = await user.post('/api/orders', { note: 'a', items, restaurantId: restaurant.id }, headers)
    expect(same.body).toBe(first.body)
    for (const body of [{ note: 'b' }, {}, { note: 'a', items: lines(1, 1) }, { note: 'a', items: lines(2) }]) {
      const answer = await order(user, headers, body)
      expect(answer.statusCode).toBe(422)
      expect(answer.json().errors).toEqual([{ pointer: 'Idempotency-Key', detail: expect.any(String) }])
    }
    expect(await countOrders(user)).toBe(1)
  })

  test('belongs to its user', async () => {
    const [ada, bob] = [await signUp(fleet), await signUp(fleet)]
    const headers = keyed()
    const [first, second] = [await order(ada, headers), await order(bob, headers)]
    expect(second.statusCode).toBe(201)
    expect(second.json().id).not.toBe(first.json().id)
  })

  test('of an order that was refused is free again', async () => {
    const user = await signUp(fleet)
    const headers = keyed()
    expect((await order(user, headers, { items: [{ menuItemId: unknownId, quantity: 1 }] })).statusCode).toBe(422)
    const answer = await order(user, headers)
    expect([answer.statusCode, answer.headers['idempotency-replayed']]).toEqual([201, undefined])
  })

  test('is not needed when Nginx tries again, and is never made from what another request says', async () => {
    const user = await signUp(fleet)
    const headers = ofNginx()
    const [first, again] = [await order(user, headers, {}, 0), await order(user, headers, {}, 1)]
    expect([again.statusCode, again.body]).toEqual([201, first.body])
    expect(again.headers['idempotency-replayed']).toBeUndefined()
    const named = await order(user, { 'idempotency-key': `request:${headers['x-request-id']}` })
    expect(named.json().id).not.toBe(first.json().id)
    await order(user)
    expect(await countOrders(user)).toBe(3)
  })
})

describe('my orders', () => {
  test('come newest first, page by page, without one repeated or skipped while more are placed', async () => {
    const user = await signUp(fleet)
    const placed: string[] = []
    for (let count = 0; count < 7; count++) placed.unshift((await order(user, {}, {}, count)).json().id)
    const seen: string[] = []
    let cursor: string | null = null
    do {
      const next: string = cursor === null ? '' : `&cursor=${cursor}`
      const { items, nextCursor } = (await user.call(`/api/orders?limit=2${next}`, {}, seen.length)).json()
      seen.push(...items.map(({ id }: { id: string }) => id))
      cursor = nextCursor
      await order(user)
    } while (cursor !== null)
    expect(seen).toEqual(placed)
  })

  test('can be those of one status', async () => {
    const user = await signUp(fleet)
    const [first, second] = [(await order(user)).json(), (await order(user)).json()]
    await cancel(user, first.id)
    const ids = async (status: string) =>
      (await user.call(`/api/orders?status=${status}`)).json().items.map(({ id }: { id: string }) => id)
    expect(await ids('cancelled')).toEqual([first.id])
    expect(await ids('pending')).toEqual([second.id])
    expect(await ids('ready')).toEqual([])
  })

  test('are kept as they are sent, until one of them changes, whoever changes it', async () => {
    const user = await signUp(fleet)
    const { id } = (await order(user)).json()
    const show = async (replica: number) => {
      const { headers, json } = await eventually(
        () => user.call('/api/orders', {}, replica),
        ({ headers }) => headers['x-read-from'] === 'cache',
      )
      expect(headers).toMatchObject({ 'cache-control': 'no-store', 'content-type': 'application/json; charset=utf-8' })
      return json()
    }
    for (const [index, status] of ['pending', 'accepted', 'preparing'].entries()) {
      if (index > 0) await move(owner, id, status, index)
      const kept = await show(index)
      expect(kept.items).toMatchObject([{ id, status }])
      const one = await user.call(`/api/orders/${id}`)
      expect([one.headers['x-read-from'], one.json()]).toEqual(['cache', kept.items[0]])
      expect(kept).toEqual((await user.call('/api/orders?limit=20')).json())
    }
    const second = (await order(user, {}, {}, 1)).json()
    expect((await user.call('/api/orders', {}, 2)).json().items[0]).toEqual(second)
    await cancel(user, second.id, 1)
    expect((await show(0)).items[0]).toMatchObject({ id: second.id, status: 'cancelled' })
  })

  test('are shown to nobody whose session only claims to be of that user', async () => {
    await eventually(
      () => customer.call('/api/orders'),
      ({ headers }) => headers['x-read-from'] === 'cache',
    )
    for (const sid of [`{${customer.id}}.made-up`, encodeURIComponent(`{${customer.id}}.made-up`)]) {
      const answer = await new Client(fleet).call('/api/orders', { headers: { cookie: `sid=${sid}` } })
      expect([answer.statusCode, answer.body.includes(restaurant.id)]).toEqual([401, false])
    }
  })

  test('of another length are read from a secondary', async () => {
    await eventually(
      () => customer.call('/api/orders?limit=20'),
      ({ headers }) => /^secondary mongo-[123]$/.test(String(headers['x-read-from'])),
    )
  })
})

describe('a cancellation', () => {
  test('is for the customer while the order is pending', async () => {
    const { id } = (await order(customer)).json()
    const answer = await cancel(customer, id, 1)
    expect([answer.statusCode, answer.json().status]).toEqual([200, 'cancelled'])
    expect(answer.json().history.map(({ status }: { status: string }) => status)).toEqual(['pending', 'cancelled'])
    expect((await customer.call(`/api/orders/${id}`, {}, 2)).json()).toEqual(answer.json())
    expect(withoutId(await cancel(customer, id))[0]).toBe(409)
  })

  test('comes too late for an order that was accepted, and is not for the owner', async () => {
    const { id } = (await order(customer)).json()
    expect((await cancel(owner, id)).statusCode).toBe(404)
    expect((await move(owner, id, 'accepted')).statusCode).toBe(200)
    const answer = await cancel(customer, id)
    expect([answer.statusCode, answer.json().code]).toEqual([409, 'conflict'])
    expect((await customer.call(`/api/orders/${id}`)).json().status).toBe('accepted')
  })

  test.each(['{}', 'null'])('takes %s for a body that says nothing', async (payload) => {
    const { id } = (await order(customer)).json()
    const headers = { 'content-type': 'application/json' }
    const call = { method: 'PUT', body: payload, headers } as const
    const answer = await customer.call(`/api/orders/${id}/cancellation`, call)
    expect([answer.statusCode, answer.json().status]).toEqual([200, 'cancelled'])
  })

  test('tried again by Nginx gets the same answer', async () => {
    const { id } = (await order(customer)).json()
    const headers = ofNginx()
    const [first, again] = [await cancel(customer, id, 0, headers), await cancel(customer, id, 1, headers)]
    expect([again.statusCode, again.body]).toEqual([200, first.body])
  })
})

describe('the kitchen', () => {
  const path = ['accepted', 'preparing', 'ready', 'delivered']

  test('moves an order along its path, which every replica shows to the customer', async () => {
    const { id } = (await order(customer)).json()
    for (const [index, status] of path.entries()) {
      for (const skipped of path.filter((each) => each !== status)) {
        expect((await move(owner, id, skipped)).statusCode).toBe(409)
      }
      const answer = await move(owner, id, status, index)
      expect([answer.statusCode, answer.json().status]).toEqual([200, status])
    }
    expect((await move(owner, id, 'rejected')).statusCode).toBe(409)
    const shown = await eventually(
      () => customer.call(`/api/orders/${id}`, {}, 1),
      (answer) => answer.json().status === 'delivered',
    )
    expect(shown.json().history.map(({ status }: { status: string }) => status)).toEqual(['pending', ...path])
  })

  test('rejects only what is pending', async () => {
    const [first, second] = [(await order(customer)).json(), (await order(customer)).json()]
    expect((await move(owner, first.id, 'rejected')).json().status).toBe('rejected')
    await move(owner, second.id, 'accepted')
    expect((await move(owner, second.id, 'rejected')).statusCode).toBe(409)
  })

  test('and the customer at once: one of them wins', async () => {
    const { id } = (await order(customer)).json()
    const answers = await Promise.all([
      cancel(customer, id, 0),
      move(owner, id, 'accepted', 1),
      move(owner, id, 'rejected', 2),
      cancel(customer, id, 1),
    ])
    expect(answers.map(({ statusCode }) => statusCode).sort()).toEqual([200, 409, 409, 409])
  })

  test('is not the customer', async () => {
    const { id } = (await order(customer)).json()
    const answer = await move(customer, id, 'accepted')
    expect([answer.statusCode, answer.json().code]).toEqual([403, 'forbidden'])
  })

  test('tried again by Nginx gets the same answer, and a second request does not', async () => {
    const { id } = (await order(customer)).json()
    const headers = ofNginx()
    const [first, again] = [
      await move(owner, id, 'accepted', 0, headers),
      await move(owner, id, 'accepted', 1, headers),
    ]
    expect([again.statusCode, again.body]).toEqual([200, first.body])
    expect((await move(owner, id, 'accepted', 2)).statusCode).toBe(409)
  })

  test('has a queue of what is still to do, oldest first, for the owner alone', async () => {
    const busy = await openRestaurant(owner)
    const ids: string[] = []
    for (let count = 0; count < 5; count++) {
      ids.push((await order([customer, stranger][count % 2] as User, {}, orderOf(busy))).json().id)
    }
    await move(owner, ids[1] as string, 'rejected')
    await move(owner, ids[2] as string, 'accepted')
    const queue = async (query: string, replica = 0) => {
      const answer = await owner.call(`/api/restaurants/${busy.id}/orders${query}`, {}, replica)
      expect(answer.statusCode).toBe(200)
      const { items: found, nextCursor } = answer.json()
      return { ids: found.map(({ id }: { id: string }) => id), nextCursor }
    }
    const open = [ids[0], ids[2], ids[3], ids[4]]
    expect((await queue('', 1)).ids).toEqual(open)
    expect((await queue('?status=accepted')).ids).toEqual([ids[2]])
    expect((await queue('?status=rejected', 2)).ids).toEqual([ids[1]])
    const first = await queue('?limit=3')
    expect(first.ids).toEqual(open.slice(0, 3))
    expect(await queue(`?limit=3&cursor=${first.nextCursor}`, 1)).toEqual({ ids: open.slice(3), nextCursor: null })
  })
})
