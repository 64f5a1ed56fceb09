import { type Static, Type } from 'typebox'
import { listField } from '../../data/order-list-cache.ts'
import type { Slice } from '../../data/page.ts'
import { kitchenStatuses, maxOrderLines, maxQuantity, type Order, orderStatuses } from '../../domain/order.ts'
import { patterns } from '../patterns.ts'
import { Cents, Closed, Id, pageQuery, Text, Time } from '../schema.ts'

// Which dishes are on a menu, and whether an id is a restaurant's, no schema can say: that is 422.
export const PlaceOrder = Closed({
  restaurantId: Id,
  items: Type.Array(Closed({ menuItemId: Id, quantity: Type.Integer({ minimum: 1, maximum: maxQuantity }) }), {
    minItems: 1,
    maxItems: maxOrderLines,
  }),
  note: Type.Optional(Text(500, { description: 'For the kitchen', examples: ['No onions, please'] })),
})

export const IdempotencyHeader = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 255,
      pattern: patterns.idempotencyKey.pattern,
      description: 'Of your choice, one per order: trying again with it within 24 hours never orders twice',
      examples: ['5f0c6a58-3c58-4d1c-8d3e-0f6f4dc0a001'],
    }),
  ),
})

const Status = Type.Enum([...orderStatuses])

export const OrderQuery = Closed({ status: Type.Optional(Status), ...pageQuery })

export const StatusChange = Closed({ status: Type.Enum([...kitchenStatuses]) })

/** No body, which validation sees as null, or an empty object. */
export const Nothing = Type.Unsafe<object | null>({
  type: ['object', 'null'],
  additionalProperties: false,
  description: 'Nothing: the request says it all',
})

export const OrderView = Type.Object({
  id: Id,
  userId: Id,
  restaurant: Type.Object({ id: Id, name: Type.String() }),
  items: Type.Array(Type.Object({ menuItemId: Id, name: Type.String(), priceCents: Cents, quantity: Type.Integer() }), {
    description: 'As they were when ordered',
  }),
  totalCents: Type.Integer(),
  note: Type.Optional(Type.String()),
  status: Status,
  history: Type.Array(Type.Object({ status: Status, at: Time })),
  createdAt: Time,
  updatedAt: Time,
})

export function viewOrder(order: Order): Static<typeof OrderView> {
  return {
    id: order.id,
    userId: order.userId,
    restaurant: order.restaurant,
    items: order.items.map(({ menuItemId, name, priceCents, quantity }) => ({
      menuItemId,
      name,
      priceCents,
      quantity,
    })),
    totalCents: order.totalCents,
    ...(order.note === undefined ? {} : { note: order.note }),
    status: order.status,
    history: order.history.map(({ status, at }) => ({ status, at: at.toISOString() })),
    createdAt: order.createdAt.toISOString(),
    updatedAt: order.updatedAt.toISOString(),
  }
}

export function viewOrders({ items, nextCursor }: Slice<Order>) {
  return { items: items.map(viewOrder), nextCursor }
}

/** As {@link viewOrders}, serialised, and each order by itself. */
export function renderOrders({ items, nextCursor }: Slice<Order>): Record<string, string> {
  const texts = items.map((order) => [order.id, JSON.stringify(viewOrder(order))] as const)
  const list = `{"items":[${texts.map(([, text]) => text)}],"nextCursor":${JSON.stringify(nextCursor)}}`
  return { [listField]: list, ...Object.fromEntries(texts) }
}
