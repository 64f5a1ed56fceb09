import { type Connection, Schema, type Types } from 'mongoose'
import { DomainError } from '../domain/errors.ts'
import {
  type KitchenStatus,
  type Order,
  type OrderEvent,
  type OrderItem,
  type OrderStatus,
  openOrderStatuses,
  orderStatuses,
  statusBefore,
  totalCents,
} from '../domain/order.ts'
import { type Consistency, type Freshness, isDuplicateOf, type ReadOptions } from './consistency.ts'
import { newId, toObjectId } from './ids.ts'
import { insertTogether } from './insert-together.ts'
import { decodeCursor, isIdPlace, type Page, type Slice, sliceOf } from './page.ts'

export interface StoredOrderItem extends Omit<OrderItem, 'menuItemId'> {
  menuItemId: Types.ObjectId
}

export interface StoredOrderEvent extends OrderEvent {
  /** The key of the request that made the step: tells a repeated try from a second step. */
  key?: string
}

export interface StoredOrder {
  _id: Types.ObjectId
  userId: Types.ObjectId
  restaurant: { id: Types.ObjectId; name: string }
  items: StoredOrderItem[]
  totalCents: number
  note?: string
  status: OrderStatus
  history: StoredOrderEvent[]
  /** What makes a retry safe, written with the order in one step. */
  creation?: { key: string; bodyHash: string; answer: string }
  createdAt: Date
  updatedAt: Date
}

const fields = {
  userId: { type: Schema.Types.ObjectId, required: true },
  restaurant: { id: { type: Schema.Types.ObjectId, required: true }, name: { type: String, required: true } },
  items: [{ _id: false, menuItemId: Schema.Types.ObjectId, name: String, priceCents: Number, quantity: Number }],
  totalCents: { type: Number, required: true },
  note: String,
  status: { type: String, enum: orderStatuses, required: true },
  history: [{ _id: false, status: { type: String, enum: orderStatuses }, at: Date, key: String }],
  creation: { key: String, bodyHash: String, answer: String },
  createdAt: { type: Date, required: true },
  updatedAt: { type: Date, required: true },
} satisfies Record<keyof Omit<StoredOrder, '_id'>, unknown>

const schema = new Schema<StoredOrder>(fields, {
  strict: 'throw',
  versionKey: false,
  autoIndex: false,
  autoCreate: false,
})
// Ids sort by time, so both lists come out of their index in order: one stretch per status, merged by the server.
// They name it: left alone, the planner may walk along all ids instead, having met a user for whom that was quick.
const byUser = { userId: 1, status: 1, _id: -1 } as const
const byRestaurant = { 'restaurant.id': 1, status: 1, _id: 1 } as const
schema.index(byUser)
schema.index(byRestaurant)
schema.index(
  { userId: 1, 'creation.key': 1 },
  { unique: true, partialFilterExpression: { 'creation.key': { $exists: true } } },
)

export function orderModel(connection: Connection) {
  return connection.model<StoredOrder>('Order', schema, 'orders')
}

export interface NewOrder {
  restaurant: { id: string; name: string }
  items: OrderItem[]
  note: string | undefined
}

/** Names one attempt to create something: the same over all tries, by the client or by Nginx. */
export interface CreationKey {
  key: string
  /** Of what was asked for: the same key with another body is a mistake of the client. */
  bodyHash: string
}

/** The body of the first answer, to be sent as it is. */
export interface Placed {
  answer: string
  replayed: boolean
}

export interface Orders {
  /**
   * Stores the order and the answer to it in one step. The same key gives the first answer again, for at least
   * {@link creationKeyHours}.
   *
   * @param order may still be on its way; if it does not come, nothing is stored
   * @throws DomainError `unprocessable` for the same key with another body, `conflict` while the first is in doubt
   */
  place(
    userId: string,
    order: NewOrder | Promise<NewOrder>,
    creation: CreationKey,
    answerOf: (order: Order) => string,
  ): Promise<Placed>
  /** The answer that this key has had already. @throws as {@link place} */
  replay(userId: string, creation: CreationKey): Promise<Placed | null>
  find(id: string, freshness: Freshness): Promise<Order | null>
  findForUser(id: string, userId: string, freshness: Freshness): Promise<Order | null>
  /** Newest first. */
  listForUser(userId: string, status: OrderStatus | undefined, page: Page, freshness: Freshness): Promise<Slice<Order>>
  /** The query behind {@link listForUser}, for whoever routes it. @throws DomainError `invalid` for a cursor that is none */
  pageForUser(
    userId: string,
    status: OrderStatus | undefined,
    page: Page,
  ): (options: ReadOptions) => Promise<Slice<Order>>
  /** Oldest first; without a status, those the kitchen still has work with. */
  listForRestaurant(
    restaurantId: string,
    status: OrderStatus | undefined,
    page: Page,
    freshness: Freshness,
  ): Promise<Slice<Order>>
  /**
   * Compare-and-set from `pending`. The request that made the step gets the same answer when it is tried again.
   * @throws DomainError `not_found` when the user has no such order, `conflict` when it is not pending
   */
  cancel(id: string, userId: string, requestKey: string): Promise<Order>
  /** As {@link cancel}, for the kitchen. @throws DomainError `conflict` off the path of statuses */
  advance(order: KitchenOrder, to: KitchenStatus, requestKey: string): Promise<Order>
}

/** An order as the kitchen has it before it: by whom and where it was placed. */
export type KitchenOrder = Pick<Order, 'id' | 'userId'> & { restaurant: { id: string } }

export const creationKeyHours = 24

// Once more after the key was released, and once more for each who releases it at the same moment.
const maxPlacings = 5

const hidden = { creation: 0, 'history.key': 0 } as const

export function createOrders(connection: Connection, consistency: Consistency): Orders {
  const model = orderModel(connection)
  const insert = insertTogether<StoredOrder>(model.collection, consistency)

  async function findCreated(userId: string, creation: CreationKey): Promise<StoredOrder | null> {
    return consistency.read('latest', (options) =>
      model
        .findOne({ userId: toObjectId(userId), 'creation.key': creation.key }, { creation: 1, createdAt: 1 }, options)
        .lean<StoredOrder>()
        .exec(),
    )
  }

  function answerAgain(first: StoredOrder, creation: CreationKey): Placed {
    if (first.creation?.bodyHash !== creation.bodyHash) {
      throw new DomainError('unprocessable', 'This Idempotency-Key was used for another order', {
        errors: [{ pointer: 'Idempotency-Key', detail: 'belongs to an order with another body' }],
      })
    }
    return { answer: first.creation.answer, replayed: true }
  }

  async function step(
    filter: { _id: Types.ObjectId; userId?: Types.ObjectId; 'restaurant.id'?: Types.ObjectId },
    to: Exclude<OrderStatus, 'pending'>,
    requestKey: string,
  ): Promise<Order> {
    const now = new Date()
    const changed = await consistency.write((options) =>
      model
        .findOneAndUpdate(
          { ...filter, status: statusBefore(to) },
          { $set: { status: to, updatedAt: now }, $push: { history: { status: to, at: now, key: requestKey } } },
          { returnDocument: 'after', projection: hidden, ...options },
        )
        .lean<StoredOrder>()
        .exec(),
    )
    if (changed) return toOrder(changed)
    const current = await consistency.read('latest', (options) =>
      model.findOne(filter, { creation: 0 }, options).lean<StoredOrder>().exec(),
    )
    if (!current) throw new DomainError('not_found', 'There is no such order')
    if (current.history.at(-1)?.key === requestKey) return toOrder(current)
    throw new DomainError('conflict', `The order is ${current.status}, so it cannot become ${to}`)
  }

  function pageForUser(userId: string, status: OrderStatus | undefined, page: Page) {
    const after = decodeCursor(page.cursor, isIdPlace)
    return async (options: ReadOptions) => {
      const read = await model
        .find(
          {
            userId: toObjectId(userId),
            status: status ?? { $in: [...orderStatuses] },
            ...(after ? { _id: { $lt: toObjectId(after.id) } } : {}),
          },
          hidden,
          options,
        )
        .sort({ _id: -1 })
        .hint(byUser)
        .limit(page.limit + 1)
        .lean<StoredOrder[]>()
        .exec()
      return sliceOf(read.map(toOrder), page.limit, (last) => ({ id: last.id }))
    }
  }

  return {
    async place(userId, given, creation, answerOf) {
      const order = await given
      const now = new Date()
      const stored: StoredOrder = {
        _id: newId(now.getTime()),
        userId: toObjectId(userId),
        restaurant: { id: toObjectId(order.restaurant.id), name: order.restaurant.name },
        items: order.items.map((item) => ({ ...item, menuItemId: toObjectId(item.menuItemId) })),
        totalCents: totalCents(order.items),
        ...(order.note === undefined ? {} : { note: order.note }),
        status: 'pending',
        history: [{ status: 'pending', at: now }],
        createdAt: now,
        updatedAt: now,
      }
      const answer = answerOf(toOrder(stored))
      stored.creation = { ...creation, answer }
      for (let attempt = 0; ; attempt++) {
        try {
          await insert(stored)
          return { answer, replayed: false }
        } catch (error) {
          if (!isDuplicateOf(error, 'creation.key')) throw error
          const first = await findCreated(userId, creation)
          if (first && Date.now() - first.createdAt.getTime() < creationKeyHours * 3_600_000) {
            return answerAgain(first, creation)
          }
          if (attempt >= maxPlacings) {
            throw new DomainError('conflict', 'An order with this Idempotency-Key is still being placed', {
              cause: error,
            })
          }
          // Somebody else has just released the key, or is about to: it may be free by now.
          if (!first) continue
          await consistency.write((options) =>
            model.collection.updateOne(
              { _id: first._id, 'creation.key': creation.key },
              { $unset: { creation: 1 } },
              options,
            ),
          )
        }
      }
    },
    async replay(userId, creation) {
      const first = await findCreated(userId, creation)
      return first && answerAgain(first, creation)
    },
    async find(id, freshness) {
      const stored = await consistency.read(freshness, (options) =>
        model.findById(toObjectId(id), hidden, options).lean<StoredOrder>().exec(),
      )
      return stored && toOrder(stored)
    },
    async findForUser(id, userId, freshness) {
      const stored = await consistency.read(freshness, (options) =>
        model
          .findOne({ _id: toObjectId(id), userId: toObjectId(userId) }, hidden, options)
          .lean<StoredOrder>()
          .exec(),
      )
      return stored && toOrder(stored)
    },
    listForUser: async (userId, status, page, freshness) =>
      consistency.read(freshness, pageForUser(userId, status, page)),
    pageForUser,
    async listForRestaurant(restaurantId, status, page, freshness) {
      const after = decodeCursor(page.cursor, isIdPlace)
      const read = await consistency.read(freshness, (options) =>
        model
          .find(
            {
              'restaurant.id': toObjectId(restaurantId),
              status: status ?? { $in: [...openOrderStatuses] },
              ...(after ? { _id: { $gt: toObjectId(after.id) } } : {}),
            },
            hidden,
            options,
          )
          .sort({ _id: 1 })
          .hint(byRestaurant)
          .limit(page.limit + 1)
          .lean<StoredOrder[]>()
          .exec(),
      )
      return sliceOf(read.map(toOrder), page.limit, (last) => ({ id: last.id }))
    },
    cancel: (id, userId, requestKey) =>
      step({ _id: toObjectId(id), userId: toObjectId(userId) }, 'cancelled', requestKey),
    advance: ({ id, userId, restaurant }, to, requestKey) =>
      step(
        { _id: toObjectId(id), userId: toObjectId(userId), 'restaurant.id': toObjectId(restaurant.id) },
        to,
        requestKey,
      ),
  }
}

function toOrder(stored: StoredOrder): Order {
  return {
    id: stored._id.toHexString(),
    userId: stored.userId.toHexString(),
    restaurant: { id: stored.restaurant.id.toHexString(), name: stored.restaurant.name },
    items: stored.items.map((item) => ({ ...item, menuItemId: item.menuItemId.toHexString() })),
    totalCents: stored.totalCents,
    note: stored.note,
    status: stored.status,
    history: stored.history.map(({ status, at }) => ({ status, at })),
    createdAt: stored.createdAt,
    updatedAt: stored.updatedAt,
  }
}
