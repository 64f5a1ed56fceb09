import { toObjectId } from '../data/ids.ts'
import type { StoredOrder, StoredOrderEvent } from '../data/orders.ts'
import type { StoredMenuItem, StoredRestaurant } from '../data/restaurants.ts'
import { type OrderStatus, openOrderStatuses, totalCents } from '../domain/order.ts'
import { type Chance, createChance } from './chance.ts'
import { stableId } from './stable-id.ts'

export type OrderedFrom = Pick<StoredRestaurant, '_id' | 'name' | 'menu'>

export interface PastOrdersPlan {
  /** All times lie in the 30 days before. The same plan gives the same orders. */
  now: Date
  count: number
  customerIds: readonly string[]
  restaurants: readonly OrderedFrom[]
  /** Has about this many orders, two of them still open. */
  demoCustomer: { id: string; count: number }
  /** Each has at least one order in the kitchen. */
  demoRestaurants: readonly OrderedFrom[]
}

const minuteMs = 60_000
const hourMs = 60 * minuteMs
const dayMs = 24 * hourMs
const daysBack = 30
/** An order older than this is settled one way or another. */
const settledAfterMinutes = 150

type Minutes = readonly [least: number, most: number]

/** How many minutes each step takes after the one before. */
const stepsAfterPending: [OrderStatus, Minutes][] = [
  ['accepted', [1, 6]],
  ['preparing', [1, 8]],
  ['ready', [6, 22]],
  ['delivered', [5, 20]],
]
const refusalMinutes: Minutes = [1, 5]

const notes = [
  'No onions, please',
  'Extra napkins, please',
  'Please ring the second bell',
  'Allergic to peanuts',
  'Dressing on the side',
  'As spicy as you dare',
  'We are in the meeting room on the third floor',
  'Cut into eight, please',
]

/** Hours of the day in New York by how hungry people are, as shares of 100. */
const hungry: [hour: number, share: number][] = [
  [8, 4],
  [9, 4],
  [11, 7],
  [12, 20],
  [13, 16],
  [14, 6],
  [17, 6],
  [18, 12],
  [19, 13],
  [20, 8],
  [21, 4],
]
/** Standard time; for past orders the hour of summer time does not matter. */
const newYorkOffsetMs = -5 * hourMs

/** Orders of the last 30 days in every status, most of them delivered, oldest first. */
export function* pastOrders(plan: PastOrdersPlan): Generator<StoredOrder> {
  const { now, count, customerIds, restaurants, demoCustomer, demoRestaurants } = plan
  const chance = createChance('past orders')
  const favourites = new Map(
    [...customerIds, demoCustomer.id].map((id) => [id, chance.shuffle(restaurants).slice(0, 12)]),
  )
  // A few customers of the demo restaurants wait for their food while somebody looks at the kitchen's queue.
  const open = [
    ...demoRestaurants.flatMap((restaurant, index) =>
      openOrderStatuses.slice(0, 1 + (index % openOrderStatuses.length)).map((status) => ({ restaurant, status })),
    ),
    ...openOrderStatuses.map((status) => ({ restaurant: chance.pick(restaurants), status })),
  ].map((each) => ({ ...each, userId: chance.pick(customerIds) }))
  const ownOpen = (['preparing', 'pending'] as const).map((status, index) => ({
    restaurant: demoRestaurants[index] ?? chance.pick(restaurants),
    status,
    userId: demoCustomer.id,
  }))
  const settled = Array.from({ length: count - open.length - ownOpen.length }, (_, index) => {
    const userId = index < demoCustomer.count - ownOpen.length ? demoCustomer.id : chance.pick(customerIds)
    const mine = chance.happens(0.1) && demoRestaurants.length > 0
    const restaurant = chance.pick(mine ? demoRestaurants : (favourites.get(userId) ?? restaurants))
    return { userId, restaurant, status: settledStatus(chance), at: mealTime(now.getTime(), chance) }
  })
  const all = [
    ...settled,
    ...[...open, ...ownOpen].map((each) => ({
      ...each,
      at: now.getTime() - chance.between(...openAge[each.status]) * minuteMs - chance.below(minuteMs),
    })),
  ].sort((a, b) => a.at - b.at)
  for (const [index, { userId, restaurant, status, at }] of all.entries()) {
    const items = chooseItems(restaurant.menu, chance)
    const history = historyOf(status, at, now.getTime(), chance)
    yield {
      _id: toObjectId(idAt(at, index)),
      userId: toObjectId(userId),
      restaurant: { id: restaurant._id, name: restaurant.name },
      items: items.map(({ dish, quantity }) => ({
        menuItemId: dish._id,
        name: dish.name,
        priceCents: dish.priceCents,
        quantity,
      })),
      totalCents: totalCents(
        items.map(({ dish, quantity }) => ({ ...dish, menuItemId: dish._id.toHexString(), quantity })),
      ),
      ...(chance.happens(0.15) ? { note: chance.pick(notes) } : {}),
      status,
      history,
      createdAt: new Date(at),
      updatedAt: history.at(-1)?.at ?? new Date(at),
    }
  }
}

/** How many minutes ago an order was placed that is open still: long enough for the steps behind it. */
const openAge: Record<(typeof openOrderStatuses)[number], Minutes> = {
  pending: [1, 4],
  accepted: [6, 9],
  preparing: [14, 20],
  ready: [37, 44],
}

function settledStatus(chance: Chance): OrderStatus {
  const percent = chance.below(100)
  return percent < 92 ? 'delivered' : percent < 97 ? 'cancelled' : 'rejected'
}

function mealTime(now: number, chance: Chance): number {
  const midnight = Math.floor((now + newYorkOffsetMs) / dayMs) * dayMs - newYorkOffsetMs
  const day = midnight - chance.between(0, daysBack - 1) * dayMs
  const at = day + hungryHour(chance) * hourMs + chance.below(hourMs)
  return at < now - settledAfterMinutes * minuteMs ? at : at - dayMs
}

function hungryHour(chance: Chance): number {
  let left = chance.below(hungry.reduce((sum, [, share]) => sum + share, 0))
  for (const [hour, share] of hungry) {
    if (left < share) return hour
    left -= share
  }
  return 12
}

function historyOf(status: OrderStatus, at: number, now: number, chance: Chance): StoredOrderEvent[] {
  const history: StoredOrderEvent[] = [{ status: 'pending', at: new Date(at) }]
  const later = (minutes: Minutes) => {
    const last = history.at(-1)?.at.getTime() ?? at
    return new Date(Math.min(now, last + chance.between(...minutes) * minuteMs + chance.below(minuteMs)))
  }
  if (status === 'cancelled' || status === 'rejected') history.push({ status, at: later(refusalMinutes) })
  else {
    for (const [step, minutes] of stepsAfterPending) {
      if (history.at(-1)?.status === status) break
      history.push({ status: step, at: later(minutes) })
    }
  }
  return history
}

function chooseItems(menu: readonly StoredMenuItem[], chance: Chance): { dish: StoredMenuItem; quantity: number }[] {
  return chance
    .shuffle(menu)
    .slice(0, chance.pick([1, 2, 2, 3, 3, 4]))
    .map((dish) => ({ dish, quantity: chance.pick([1, 1, 1, 1, 2, 2, 3]) }))
}

/** Sorts by time as the ids of new orders do, see `newId`; the rest is the same for the same number. */
function idAt(ms: number, index: number): string {
  const head = Buffer.alloc(6)
  head.writeUInt32BE(Math.floor(ms / 1000), 0)
  head.writeUInt16BE(ms % 1000, 4)
  return head.toString('hex') + stableId(`past order ${index}`).slice(0, 12)
}
