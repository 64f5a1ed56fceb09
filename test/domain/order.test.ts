import { describe, expect, test } from 'vitest'
import { maxQuantity, orderStatuses, priceItems, statusBefore, totalCents } from '../../apps/domain/order.ts'

const dish = (id: string, priceCents: number) => ({ id, name: `Dish ${id}`, description: '', category: '', priceCents })
const menu = [dish('a', 1250), dish('b', 0), dish('c', 99)]

test('every status but the first has exactly one before it', () => {
  const path = orderStatuses.filter((status) => status !== 'pending').map((to) => [statusBefore(to), to])
  expect(path).toEqual([
    ['pending', 'accepted'],
    ['accepted', 'preparing'],
    ['preparing', 'ready'],
    ['ready', 'delivered'],
    ['pending', 'cancelled'],
    ['pending', 'rejected'],
  ])
})

describe('pricing an order', () => {
  test('takes names and prices from the menu and adds up lines of the same dish', () => {
    const lines = [
      { menuItemId: 'a', quantity: 2 },
      { menuItemId: 'c', quantity: 3 },
      { menuItemId: 'a', quantity: 1 },
      { menuItemId: 'b', quantity: 1 },
    ]
    const items = priceItems(lines, menu)
    expect(items).toEqual([
      { menuItemId: 'a', name: 'Dish a', priceCents: 1250, quantity: 3 },
      { menuItemId: 'c', name: 'Dish c', priceCents: 99, quantity: 3 },
      { menuItemId: 'b', name: 'Dish b', priceCents: 0, quantity: 1 },
    ])
    expect(totalCents(items)).toBe(3 * 1250 + 3 * 99)
  })

  test('names every line that is not on the menu or adds up to too many', () => {
    const lines = [
      { menuItemId: 'x', quantity: 1 },
      { menuItemId: 'a', quantity: maxQuantity },
      { menuItemId: 'a', quantity: 1 },
    ]
    expect(() => priceItems(lines, menu)).toThrow(
      expect.objectContaining({
        code: 'unprocessable',
        errors: [
          { pointer: '#/items/0/menuItemId', detail: 'is not on the menu of this restaurant' },
          { pointer: '#/items/2/quantity', detail: `adds up to more than ${maxQuantity} of this dish` },
        ],
      }),
    )
  })

  test('allows as many of a dish as there may be', () => {
    expect(priceItems([{ menuItemId: 'a', quantity: maxQuantity }], menu)[0]?.quantity).toBe(maxQuantity)
  })

  test('keeps the sum of the largest order exact', () => {
    const largest = { menuItemId: 'a', name: '', priceCents: 10_000_000, quantity: maxQuantity }
    expect(totalCents(Array(50).fill(largest))).toBe(50_000_000_000)
  })
})
