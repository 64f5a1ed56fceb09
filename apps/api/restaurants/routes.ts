import { negotiate } from '@fastify/accept-negotiator'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { ListCache } from '../../data/list-cache.ts'
import { isId } from '../../data/page.ts'
import {
  type Asked,
  type Encoding,
  encodings,
  etagOf,
  plainEtag,
  type RestaurantCache,
} from '../../data/restaurant-cache.ts'
import type { RestaurantQuery as Query, Restaurants, RestaurantWrite } from '../../data/restaurants.ts'
import { DomainError } from '../../domain/errors.ts'
import type { Position, Restaurant } from '../../domain/restaurant.ts'
import { currentUserId, hasSessionCookie, requireSession } from '../plugins/session.ts'
import { namesEtag, sendJson } from '../representation.ts'
import { bySession, IdParams, SliceOf } from '../schema.ts'
import {
  NewMenu,
  NewRestaurant,
  RestaurantChanges,
  RestaurantQuery,
  RestaurantView,
  SummaryView,
  viewRestaurant,
  viewSlice,
} from './schema.ts'

const defaultRadiusMeters = 50_000

export interface RestaurantRoutesOptions {
  restaurants: Restaurants
  cache: RestaurantCache
  lists: ListCache
}

export const restaurantRoutes: FastifyPluginAsyncTypebox<RestaurantRoutesOptions> = async (
  app,
  { restaurants, cache, lists },
) => {
  app.get(
    '/restaurants',
    {
      config: { isPublic: true },
      schema: {
        tags: ['restaurants'],
        summary: 'Search restaurants',
        description: 'Nearest first with `near`, else in a fixed order. Items come without their menu.',
        querystring: RestaurantQuery,
        response: { 200: SliceOf(SummaryView) },
      },
    },
    async (request, reply) => {
      const { limit, cursor } = request.query
      const search = searchOf(request.query)
      const isKept = cursor === undefined && search.near === undefined
      const body = isKept
        ? await lists.find(search, limit)
        : JSON.stringify(viewSlice(await restaurants.list(search, { limit, cursor }, 'any')))
      allowCaching(request, reply, 'restaurants')
      return sendJson(reply, body)
    },
  )

  app.get(
    '/restaurants/:id',
    {
      config: {
        isPublic: true,
        ahead: (request) => {
          const { id } = request.params as { id: string }
          return isId(id) ? cache.ask(id, encodingFor(request)) : undefined
        },
      },
      schema: {
        tags: ['restaurants'],
        summary: 'A restaurant and its menu',
        description: 'Its `ETag` in `If-None-Match` gets 304 for as long as it has not changed.',
        params: IdParams,
        headers: Type.Object({ 'if-none-match': Type.Optional(Type.String()) }),
        response: { 200: RestaurantView, 304: Type.Null({ description: 'It is as `If-None-Match` has it' }) },
        problems: ['not_found'],
      },
    },
    async (request, reply) => {
      const found = await cache.find(request.params.id, encodingFor(request), request.ahead as Asked)
      if (!found) throw new DomainError('not_found', 'There is no such restaurant')
      allowCaching(request, reply, `restaurant-${request.params.id}`, 'accept-encoding, cookie')
      reply.header('etag', found.etag)
      // Without a body, not with `null` as one: a length or a type would speak of the body that is not sent.
      if (isKnown(request, found.etag)) return (reply as FastifyReply).status(304).send()
      if (found.encoding !== 'identity') reply.header('content-encoding', found.encoding)
      return sendJson(reply, found.body)
    },
  )

  app.post(
    '/restaurants',
    {
      preValidation: requireSession,
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
      const { menu, ...details } = request.body
      const restaurant = await restaurants.create(currentUserId(request), details, menu, request.id)
      return sendRestaurant(reply.status(201).header('location', `/api/restaurants/${restaurant.id}`), restaurant)
    },
  )

  const change = {
    preValidation: requireSession,
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
        description: 'What is left out stays as it is.',
        body: RestaurantChanges,
        problems: ['unauthenticated', 'forbidden', 'not_found', 'precondition_failed'],
      },
    },
    async (request, reply) =>
      sendRestaurant(reply, await restaurants.update(request.params.id, request.body, writeOf(request))),
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
      sendRestaurant(reply, await restaurants.replaceMenu(request.params.id, request.body.menu, writeOf(request))),
  )
}

function writeOf(request: FastifyRequest): RestaurantWrite {
  const ifMatch = request.headers['if-match']
  return {
    ownerId: currentUserId(request),
    requestKey: request.id,
    ...(ifMatch === undefined
      ? {}
      : { precondition: (current) => namesContent(ifMatch, etagOf(JSON.stringify(viewRestaurant(current)))) }),
  }
}

/** In whatever encoding it was seen. */
function namesContent(ifMatch: string, etag: string): boolean {
  return namesEtag(ifMatch.split(',').map(plainEtag).join(), etag)
}

function sendRestaurant(reply: FastifyReply, restaurant: Restaurant): FastifyReply {
  const body = JSON.stringify(viewRestaurant(restaurant))
  const etag = etagOf(body)
  reply.header('etag', etag)
  return sendJson(reply, body)
}

function isKnown(request: FastifyRequest, etag: string): boolean {
  const known = request.headers['if-none-match']
  return known !== undefined && namesEtag(known, etag)
}

function encodingFor(request: FastifyRequest): Encoding {
  return (negotiate(request.headers['accept-encoding'] ?? '', [...encodings]) as Encoding | null) ?? 'identity'
}

/**
 * Browsers of anonymous readers may keep it for five minutes and a CDN until the tag is purged; whoever is logged in
 * asks each time. The answer varies by cookie, so that a browser does not go on with the copy from before its log-in.
 */
function allowCaching(request: FastifyRequest, reply: FastifyReply, tag: string, vary = 'cookie'): void {
  reply.header('vary', vary)
  if (hasSessionCookie(request) || request.headers['causal-token'] !== undefined) {
    reply.header('cache-control', 'private, no-cache')
    return
  }
  reply.headers({ 'cache-control': 'public, max-age=300', 'cdn-cache-control': 'max-age=3600', 'cache-tag': tag })
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
