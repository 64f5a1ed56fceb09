import { expect, test } from 'vitest'
import type { StoredOrder } from '../../apps/data/orders.ts'
import { openOrderStatuses, orderStatuses, statusBefore } from '../../apps/domain/order.ts'
import { type PastOrdersPlan, pastOrders } from '../../apps/setup/past-orders.ts'
import { toStoredRestaurant } from '../../apps/setup/restaurant-record.ts'
import { stableId } from '../../apps/setup/stable-id.ts'

const restaurants = Array.from({ length: 40 }, (_, index) =>
  toStoredRestaurant(
    {
      id: `${index}`,
      name: `Trattoria ${index}`,
      cuisine: 'Italian',
      borough: 'Manhattan',
      building: '1',
      street: 'Broadway',
      zipcode: '10036',
      location: [-73.98, 40.75],
    },
    stableId('owner'),
    new Date(0),
  ),
)
const me = stableId('me')
const plan: PastOrdersPlan = {
  now: new Date('2026-03-04T17:30:00Z'),
  count: 1_000,
  customerIds: Array.from({ length: 30 }, (_, index) => stableId(`customer ${index}`)),
  restaurants,
  demoCustomer: { id: me, count: 40 },
  demoRestaurants: restaurants.slice(0, 4),
}
const orders = [...pastOrders(plan)]
const menus = new Map(restaurants.map(({ _id, menu }) => [_id.toHexString(), menu]))
const isOpen = ({ status }: StoredOrder) => (openOrderStatuses as readonly string[]).includes(status)

test('there are as many as were asked for, in every status, most of them delivered', () => {
  expect(orders).toHaveLength(1_000)
  expect(new Set(orders.map(({ status }) => status))).toEqual(new Set(orderStatuses))
  expect(orders.filter(({ status }) => status === 'delivered').length).toBeGreaterThan(850)
})

test('the demo customer has forty, two of them open; each demo restaurant has work', () => {
  const mine = orders.filter(({ userId }) => userId.toHexString() === me)
  expect(mine).toHaveLength(40)
  expect(mine.filter(isOpen)).toHaveLength(2)
  for (const { _id } of plan.demoRestaurants) {
    const queue = orders.filter(({ restaurant }) => restaurant.id.equals(_id)).filter(isOpen)
    expect(queue.length).toBeGreaterThan(0)
  }
})

test('each follows the path of statuses, in time, within the last days', () => {
  for (const { status, history, createdAt, updatedAt } of orders) {
    expect(history[0]).toEqual({ status: 'pending', at: createdAt })
    expect(history.at(-1)).toEqual({ status, at: updatedAt })
    for (const [index, event] of history.entries()) {
      const before = history[index - 1]
      if (before && event.status !== 'pending') {
        expect(before.status).toBe(statusBefore(event.status))
        expect(event.at.getTime()).toBeGreaterThan(before.at.getTime())
      }
    }
    expect(updatedAt.getTime()).toBeLessThanOrEqual(plan.now.getTime())
    expect(createdAt.getTime()).toBeGreaterThan(plan.now.getTime() - 31 * 86_400_000)
  }
})

test('each has dishes of the menu at its prices, and their total', () => {
  for (const { restaurant, items, totalCents } of orders) {
    expect(items.length).toBeGreaterThan(0)
    for (const { menuItemId, name, priceCents, quantity } of items) {
      const dish = menus.get(restaurant.id.toHexString())?.find(({ _id }) => _id.equals(menuItemId))
      expect({ name, priceCents }).toEqual({ name: dish?.name, priceCents: dish?.priceCents })
      expect(quantity).toBeGreaterThan(0)
    }
    expect(totalCents).toBe(items.reduce((sum, { priceCents, quantity }) => sum + priceCents * quantity, 0))
  }
})

test('ids are unique and sort by time', () => {
  const ids = orders.map(({ _id }) => _id.toHexString())
  expect(new Set(ids).size).toBe(ids.length)
  const byId = orders.toSorted((a, b) => (a._id.toHexString() < b._id.toHexString() ? -1 : 1))
  expect(byId.map(({ createdAt }) => createdAt)).toEqual(orders.map(({ createdAt }) => createdAt))
  for (const { _id, createdAt } of orders) {
    expect(_id.getTimestamp().getTime()).toBe(Math.floor(createdAt.getTime() / 1000) * 1000)
  }
})

test('the same plan gives the same orders', () => {
  expect([...pastOrders(plan)]).toEqual(orders)
})
