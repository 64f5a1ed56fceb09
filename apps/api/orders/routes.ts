import { createHash } from 'node:crypto'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Static } from 'typebox'
import type { AskedOrders, OrderListCache } from '../../data/order-list-cache.ts'
import type { CreationKey, NewOrder } from '../../data/orders.ts'
import { isId } from '../../data/page.ts'
import type { RestaurantCache } from '../../data/restaurant-cache.ts'
import { DomainError } from '../../domain/errors.ts'
import { type Order, priceItems } from '../../domain/order.ts'
import { claimedUserId, currentUserId, requireSession } from '../plugins/session.ts'
import { sendJson } from '../representation.ts'
import { bySession, IdParams, SliceOf } from '../schema.ts'
import {
  IdempotencyHeader,
  Nothing,
  OrderQuery,
  OrderView,
  PlaceOrder,
  StatusChange,
  viewOrder,
  viewOrders,
} from './schema.ts'

export const orderRoutes: FastifyPluginAsyncTypebox<{ lists: OrderListCache; cache: RestaurantCache }> = async (
  app,
  { lists, cache },
) => {
  const { orders } = lists
  const { restaurants } = cache

  async function priced({ restaurantId, items, note }: Static<typeof PlaceOrder>): Promise<NewOrder> {
    const restaurant = await cache.findForOrder(restaurantId)
    if (!restaurant) {
      throw new DomainError('unprocessable', 'There is no such restaurant', {
        errors: [{ pointer: '#/restaurantId', detail: 'is not a restaurant' }],
      })
    }
    const { id, name, menu } = restaurant
    return { restaurant: { id, name }, items: priceItems(items, menu), note }
  }

  async function place(userId: string, input: Static<typeof PlaceOrder>, creation: CreationKey) {
    try {
      return await orders.place(userId, priced(input), creation, (order) => JSON.stringify(viewOrder(order)))
    } catch (error) {
      // A retry of an order that went through gets its answer even though the menu has changed since.
      const refused = error instanceof DomainError && error.code === 'unprocessable'
      const first = refused ? await orders.replay(userId, creation) : null
      if (first) return first
      throw error
    }
  }

  function ask(request: FastifyRequest, id?: string): AskedOrders | undefined {
    const userId = claimedUserId(request)
    return userId === undefined ? undefined : lists.ask(userId, id)
  }

  app.post(
    '/orders',
    {
      preValidation: requireSession,
      schema: {
        tags: ['orders'],
        summary: 'Place an order',
        description:
          'Prices come from the menu. With an `Idempotency-Key`, the same order sent again gets the first answer again, byte for byte, with `Idempotency-Replayed: true`.',
        security: bySession,
        headers: IdempotencyHeader,
        body: PlaceOrder,
        response: { 201: OrderView },
        problems: ['unauthenticated', 'conflict', 'unprocessable'],
      },
    },
    async (request, reply) => {
      const given = request.headers['idempotency-key']
      const placed = await place(currentUserId(request), request.body, creationOf(request, given))
      const { id } = JSON.parse(placed.answer) as { id: string }
      if (placed.replayed && given !== undefined) reply.header('idempotency-replayed', 'true')
      return sendJson(reply.status(201).header('location', `/api/orders/${id}`) as FastifyReply, placed.answer)
    },
  )

  app.get(
    '/orders',
    {
      preValidation: requireSession,
      config: {
        ahead: (request) => (isPlain(request) ? ask(request) : undefined),
      },
      schema: {
        tags: ['orders'],
        summary: 'My orders',
        description: 'Newest first.',
        security: bySession,
        querystring: OrderQuery,
        response: { 200: SliceOf(OrderView) },
        problems: ['unauthenticated'],
      },
    },
    async (request, reply) => {
      const userId = currentUserId(request)
      if (isPlain(request))
        return sendJson(reply as FastifyReply, await lists.find(userId, request.ahead as AskedOrders))
      const { status, limit, cursor } = request.query
      return viewOrders(await orders.listForUser(userId, status, { limit, cursor }, 'any'))
    },
  )

  app.get(
    '/orders/:id',
    {
      preValidation: requireSession,
      config: {
        ahead: (request) => {
          const { id } = request.params as { id: string }
          return isId(id) ? ask(request, id) : undefined
        },
      },
      schema: {
        tags: ['orders'],
        summary: 'One order',
        description: 'For the customer and for the owner of the restaurant; to anybody else it does not exist.',
        security: bySession,
        params: IdParams,
        response: { 200: OrderView },
        problems: ['unauthenticated', 'not_found'],
      },
    },
    async (request, reply) => {
      const userId = currentUserId(request)
      const { id } = request.params
      const kept = await lists.findKept(userId, id, request.ahead as AskedOrders)
      if (kept) return sendJson(reply as FastifyReply, kept)
      const order = (await orders.findForUser(id, userId, 'any')) ?? (await findForOwner(id, userId))
      if (!order) throw new DomainError('not_found', 'There is no such order')
      return viewOrder(order)
    },
  )

  async function findForOwner(id: string, userId: string): Promise<Order | null> {
    const order = await orders.find(id, 'any')
    // Also without an order there is a look-up, so that the time does not tell which ids exist.
    return (await restaurants.isOwner(order?.restaurant.id ?? id, userId, 'any')) ? order : null
  }

  app.put(
    '/orders/:id/cancellation',
    {
      preValidation: requireSession,
      schema: {
        tags: ['orders'],
        summary: 'Cancel my order',
        description: 'Only while it is `pending`.',
        security: bySession,
        params: IdParams,
        body: Nothing,
        response: { 200: OrderView },
        problems: ['unauthenticated', 'not_found', 'conflict'],
      },
    },
    async (request) => viewOrder(await orders.cancel(request.params.id, currentUserId(request), request.id)),
  )

  app.put(
    '/orders/:id/status',
    {
      preValidation: requireSession,
      schema: {
        tags: ['kitchen'],
        summary: 'Move an order on',
        description: 'Along `pending → accepted → preparing → ready → delivered`, or `pending → rejected`.',
        security: bySession,
        params: IdParams,
        body: StatusChange,
        response: { 200: OrderView },
        problems: ['unauthenticated', 'forbidden', 'not_found', 'conflict'],
      },
    },
    async (request) => {
      const userId = currentUserId(request)
      const order = await orders.find(request.params.id, 'latest')
      if (!(await restaurants.isOwner(order?.restaurant.id ?? request.params.id, userId, 'latest')) || !order) {
        if (order?.userId === userId) throw new DomainError('forbidden', 'Only the restaurant moves an order on')
        throw new DomainError('not_found', 'There is no such order')
      }
      return viewOrder(await orders.advance(order, request.body.status, request.id))
    },
  )

  app.get(
    '/restaurants/:id/orders',
    {
      preValidation: requireSession,
      schema: {
        tags: ['kitchen'],
        summary: "The kitchen's queue",
        description: 'Oldest first; without `status`, what is neither delivered nor ended.',
        security: bySession,
        params: IdParams,
        querystring: OrderQuery,
        response: { 200: SliceOf(OrderView) },
        problems: ['unauthenticated', 'forbidden', 'not_found'],
      },
    },
    async (request) => {
      await restaurants.requireOwner(request.params.id, currentUserId(request), 'any')
      const { status, limit, cursor } = request.query
      return viewOrders(await orders.listForRestaurant(request.params.id, status, { limit, cursor }, 'any'))
    },
  )
}

/** Whether it asks for nothing but the first page, which is what is kept. */
function isPlain({ raw }: Pick<FastifyRequest, 'raw'>): boolean {
  return !raw.url?.includes('?')
}

/** The client's key, or that of the request, which Nginx keeps over its own tries. */
function creationOf(
  request: FastifyRequest<{ Body: Static<typeof PlaceOrder> }>,
  given: string | undefined,
): CreationKey {
  const { restaurantId, items, note } = request.body
  // Named one by one: the order of the fields in the JSON text does not make it another order.
  const asked = [restaurantId, items.map(({ menuItemId, quantity }) => [menuItemId, quantity]), note ?? null]
  return {
    key: given === undefined ? `request:${request.id}` : `client:${given}`,
    bodyHash: createHash('sha256').update(JSON.stringify(asked)).digest('base64url'),
  }
}
