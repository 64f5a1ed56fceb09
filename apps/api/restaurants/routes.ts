import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { RestaurantQuery as Query, Restaurants, RestaurantWrite } from '../../data/restaurants.ts'
import { DomainError } from '../../domain/errors.ts'
import type { Position, Restaurant } from '../../domain/restaurant.ts'
import { currentUserId, hasSessionCookie, requireSession } from '../plugins/session.ts'
import { etagOf, namesEtag, sendJson } from '../representation.ts'
import { bySession, IdParams, SliceOf } from '../schema.ts'
import {
  NewMenu,
  NewRestaurant,
  RestaurantChanges,
  RestaurantQuery,
  RestaurantView,
  SummaryView,
  viewRestaurant,
  viewSummary,
} from './schema.ts'

const defaultRadiusMeters = 50_000

export const restaurantRoutes: FastifyPluginAsyncTypebox<{ restaurants: Restaurants }> = async (
  app,
  { restaurants },
) => {
  app.get(
    '/restaurants',
    {
      schema: {
        tags: ['restaurants'],
        summary: 'Search restaurants',
        description: 'Nearest first with `near`, else in a fixed order. Items come without their menu.',
        querystring: RestaurantQuery,
        response: { 200: SliceOf(SummaryView) },
      },
    },
    async (request, reply) => {
      const { limit = 20, cursor } = request.query
      const slice = await restaurants.list(searchOf(request.query), { limit, cursor }, 'any')
      allowCaching(request, reply)
      return { items: slice.items.map(viewSummary), nextCursor: slice.nextCursor }
    },
  )

  app.get(
    '/restaurants/:id',
    {
      schema: {
        tags: ['restaurants'],
        summary: 'A restaurant and its menu',
        params: IdParams,
        headers: Type.Object({ 'if-none-match': Type.Optional(Type.String()) }),
        response: { 200: RestaurantView, 304: Type.Null({ description: 'It is as `If-None-Match` has it' }) },
        problems: ['not_found'],
      },
    },
    async (request, reply) => {
      const restaurant = await restaurants.find(request.params.id, 'any')
      if (!restaurant) throw new DomainError('not_found', 'There is no such restaurant')
      allowCaching(request, reply)
      return sendRestaurant(request, reply, restaurant)
    },
  )

  app.post(
    '/restaurants',
    {
      onRequest: requireSession,
      schema: {
        tags: ['restaurants'],
        summary: 'Open a restaurant',
        description: 'Whoever opens it owns it.',
        security: bySession,
        body: NewRestaurant,
        response: { 201: RestaurantView },
        problems: ['unauthenticated', 'conflict'],
      },
    },
    async (request, reply) => {
      const { menu = [], ...details } = request.body
      const restaurant = await restaurants.create(currentUserId(request), details, menu, request.id)
      return sendRestaurant(
        request,
        reply.status(201).header('location', `/api/restaurants/${restaurant.id}`),
        restaurant,
      )
    },
  )

  const change = {
    onRequest: requireSession,
    schema: {
      tags: ['restaurants'],
      security: bySession,
      params: IdParams,
      headers: Type.Object({
        'if-match': Type.Optional(Type.String({ description: 'Refuse with 412 unless it still has this `ETag`' })),
      }),
      response: { 200: RestaurantView },
    },
  } as const

  app.patch(
    '/restaurants/:id',
    {
      ...change,
      schema: {
        ...change.schema,
        summary: 'Change the details of a restaurant',
        body: RestaurantChanges,
        problems: ['unauthenticated', 'forbidden', 'not_found', 'precondition_failed'],
      },
    },
    async (request, reply) =>
      sendRestaurant(request, reply, await restaurants.update(request.params.id, request.body, writeOf(request))),
  )

  app.put(
    '/restaurants/:id/menu',
    {
      ...change,
      schema: {
        ...change.schema,
        summary: 'Replace the menu',
        description: 'A dish that is sent with its id keeps it; orders that were placed keep their names and prices.',
        body: NewMenu,
        problems: ['unauthenticated', 'forbidden', 'not_found', 'precondition_failed', 'unprocessable'],
      },
    },
    async (request, reply) =>
      sendRestaurant(
        request,
        reply,
        await restaurants.replaceMenu(request.params.id, request.body.menu, writeOf(request)),
      ),
  )
}

function writeOf(request: FastifyRequest): RestaurantWrite {
  const ifMatch = request.headers['if-match']
  return {
    ownerId: currentUserId(request),
    requestKey: request.id,
    ...(ifMatch === undefined
      ? {}
      : { precondition: (current) => namesEtag(ifMatch, etagOf(JSON.stringify(viewRestaurant(current)))) }),
  }
}

function sendRestaurant(request: FastifyRequest, reply: FastifyReply, restaurant: Restaurant): FastifyReply {
  const body = JSON.stringify(viewRestaurant(restaurant))
  const etag = etagOf(body)
  reply.header('etag', etag)
  const known = request.method === 'GET' || request.method === 'HEAD' ? request.headers['if-none-match'] : undefined
  if (known !== undefined && namesEtag(known, etag)) return reply.status(304).send()
  return sendJson(reply, body)
}

/**
 * Anonymous readers may keep it for five minutes; whoever is logged in asks each time. The answer varies by cookie, so
 * that a browser does not go on with the copy from before its log-in.
 */
function allowCaching(request: FastifyRequest, reply: FastifyReply): void {
  reply.header('vary', 'cookie')
  reply.header('cache-control', hasSessionCookie(request) ? 'private, no-cache' : 'public, max-age=300')
}

interface SearchQuery {
  cuisine?: string
  borough?: string
  q?: string
  near?: string
  radiusMeters?: number
}

function searchOf({ cuisine, borough, q, near, radiusMeters }: SearchQuery): Query {
  const search: Query = { cuisine, borough, q }
  if (near === undefined) {
    if (radiusMeters !== undefined) throw invalidQuery('radiusMeters', 'has no meaning without near')
    return search
  }
  const position = near.split(',').map(Number) as Position
  if (Math.abs(position[0]) > 180 || Math.abs(position[1]) > 90) {
    throw invalidQuery('near', 'must be longitude,latitude within ±180 and ±90 degrees')
  }
  return { ...search, near: { position, radiusMeters: radiusMeters ?? defaultRadiusMeters } }
}

function invalidQuery(name: string, detail: string): DomainError {
  return new DomainError('invalid', 'The query does not make sense', { errors: [{ pointer: `?${name}`, detail }] })
}
