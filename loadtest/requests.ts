import { randomUUID } from 'node:crypto'
import type { Chance } from './chance.ts'
import type { Request } from './story.ts'

export interface Dish {
  id: string
}

type Headers = Record<string, string>

/** Whoever says who they are gets no answer out of Nginx's cache; to a replica it means nothing, and costs it nothing. */
export const pastEdge: Headers = { authorization: 'none' }

// Parsing every long answer would make the load generator the bottleneck: one in so many is looked at as a whole.
const wholeEvery = 16
let answers = 0

const noteOf = (key: string) => `load ${key}`

/** The key of an order that a load run has placed, by its note. */
export function isOrderOf(note: string | undefined): string | undefined {
  return note?.startsWith('load ') ? note.slice('load '.length) : undefined
}

export function getRestaurant(id: string, headers: Headers): Request {
  return {
    kind: 'restaurant',
    method: 'GET',
    path: `/api/restaurants/${id}`,
    headers,
    expected: 200,
    problem: (body) => {
      if (!body.startsWith(`{"id":"${id}"`)) return 'it is another restaurant'
      return whenWhole(body, (found: { name?: unknown; menu?: unknown }) =>
        typeof found.name === 'string' && Array.isArray(found.menu) ? undefined : 'it has no name or no menu',
      )
    },
  }
}

export function listRestaurants(query: string, headers: Headers): Request {
  return {
    kind: 'list of restaurants',
    method: 'GET',
    path: `/api/restaurants${query}`,
    headers,
    expected: 200,
    problem: (body) => {
      if (!body.startsWith('{"items":[{"id":"')) return 'it is no list, or an empty one'
      return whenWhole(body, (found: { items: { name?: unknown }[]; nextCursor?: unknown }) =>
        found.items.every(({ name }) => typeof name === 'string') && found.nextCursor !== undefined
          ? undefined
          : 'it is no list of restaurants',
      )
    },
  }
}

/** @param newest the latest order of this person that was acknowledged: it must be there */
export function listOrders(cookie: string, newest: string | undefined): Request {
  return {
    kind: 'my orders',
    method: 'GET',
    path: '/api/orders',
    headers: { cookie },
    expected: 200,
    problem: (body) => {
      if (!body.startsWith('{"items":[')) return 'it is no list'
      if (newest !== undefined && !body.includes(`{"id":"${newest}"`)) return `the order ${newest} is missing`
      return whenWhole(body, (found: { items: { totalCents?: unknown }[] }) =>
        found.items.every(({ totalCents }) => typeof totalCents === 'number') ? undefined : 'it is no list of orders',
      )
    },
  }
}

export function getOrder(id: string, cookie: string): Request {
  return {
    kind: 'one order',
    method: 'GET',
    path: `/api/orders/${id}`,
    headers: { cookie },
    expected: 200,
    problem: (body) => (body.startsWith(`{"id":"${id}"`) ? undefined : 'it is another order'),
  }
}

export interface PlaceOrder extends Request {
  body: string
  key: string
}

/** Under a key of its own, which is also its note, so that it can be told how many there are of it. */
export function placeOrder(place: { id: string; menu: Dish[] }, chance: Chance, cookie: string): PlaceOrder {
  const key = randomUUID()
  const items = chance
    .shuffled(place.menu)
    .slice(0, 1 + Math.floor(chance.fraction() * 3))
    .map(({ id }) => ({ menuItemId: id, quantity: 1 + Math.floor(chance.fraction() * 2) }))
  return {
    kind: 'place an order',
    key,
    method: 'POST',
    path: '/api/orders',
    headers: { cookie, 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify({ restaurantId: place.id, items, note: noteOf(key) }),
    expected: 201,
    problem: (body) => (body.includes(`"note":"${noteOf(key)}"`) ? undefined : 'it is another order'),
  }
}

/** The id at the beginning of an answer. */
export function idOf(body: string): string {
  return /^\{"id":"([0-9a-f]{24})"/.exec(body)?.[1] ?? ''
}

function whenWhole<T>(body: string, check: (parsed: T) => string | undefined): string | undefined {
  if (answers++ % wholeEvery !== 0) return undefined
  try {
    return check(JSON.parse(body))
  } catch (error) {
    return (error as Error).message
  }
}
