import type { OpenApiDocument, Operation } from '../support/answers.ts'
import {
  type Call,
  Client,
  details,
  type Fleet,
  menu,
  newEmail,
  openRestaurant,
  orderOf,
  type Restaurant,
  signUp,
  type User,
} from '../support/api.ts'

type Json = Record<string, unknown>

/** The part of JSON Schema that the routes speak. */
export interface BodySchema {
  type?: string | string[]
  properties?: Record<string, BodySchema>
  items?: BodySchema
  prefixItems?: BodySchema[]
  additionalProperties?: boolean
}

/** One operation of the OpenAPI document. */
export interface Route {
  /** As in the tables of these tests. */
  name: string
  method: NonNullable<Call['method']>
  path: string
  operation: Operation
  body: BodySchema | undefined
}

/** All of them: what walks this list cannot forget a route. */
export function routesOf(document: OpenApiDocument): Route[] {
  return Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([key, operation]) => {
      const method = key.toUpperCase() as Route['method']
      const body = operation.requestBody?.content['application/json']?.schema as BodySchema | undefined
      return { name: `${method} ${path}`, method, path, operation, body }
    }),
  )
}

export const changes = ({ method }: Route) => method !== 'GET'

export const password = 'correct horse'

/** A restaurant, who owns it, who has ordered there, and somebody who has a restaurant and an order of their own. */
export interface World {
  fleet: Fleet
  owner: User
  customer: User
  stranger: User
  restaurant: Restaurant
  /** What nobody else may be told of the customer. */
  secrets: string[]
}

const note = 'ring twice at the blue door'

export async function newWorld(fleet: Fleet): Promise<World> {
  const [owner, customer, stranger] = [await signUp(fleet), await signUp(fleet), await signUp(fleet)]
  const restaurant = await openRestaurant(owner)
  const world = { fleet, owner, customer, stranger, restaurant, secrets: [note, customer.id, customer.email] }
  await placeOrder(world)
  await stranger.post('/api/orders', orderOf(await openRestaurant(stranger)))
  return world
}

export async function placeOrder({ customer, restaurant }: World): Promise<string> {
  const answer = await customer.post('/api/orders', { ...orderOf(restaurant), note })
  if (answer.statusCode !== 201) throw new Error(`No order: ${answer.body}`)
  return answer.json<{ id: string }>().id
}

/** Another log-in of this user. */
export async function logIn(fleet: Fleet, { email }: User): Promise<{ client: Client; id: string }> {
  const client = new Client(fleet)
  const answer = await client.post('/api/sessions', { email, password })
  if (answer.statusCode !== 201) throw new Error(`No log-in: ${answer.body}`)
  return { client, id: answer.json<{ id: string }>().id }
}

/** What the id in a path stands for, new where it can be used up: the restaurant, an order or a session of the customer. */
export async function newTarget(world: World, { path }: Route): Promise<string> {
  if (!path.includes('{')) return ''
  if (path.startsWith('/api/restaurants/{id}')) return world.restaurant.id
  if (path.startsWith('/api/orders/{id}')) return placeOrder(world)
  if (path.startsWith('/api/sessions/{id}')) return (await logIn(world.fleet, world.customer)).id
  throw new Error(`These tests do not know what stands in ${path}`)
}

export const urlOf = ({ path }: Route, id: string) => path.replace('{id}', id)

/** Who may do it. */
export function whoMay({ owner, customer }: World, { name, path }: Route): User {
  return path.startsWith('/api/restaurants') || name === 'PUT /api/orders/{id}/status' ? owner : customer
}

/** A body with every field that the route knows. */
export function goodBody({ restaurant, customer }: World, { name, body }: Route): Json | undefined {
  const bodies: Record<string, () => Json> = {
    'POST /api/users': () => ({ email: newEmail(), password, name: 'Ada' }),
    'POST /api/sessions': () => ({ email: customer.email, password }),
    'POST /api/restaurants': () => ({ ...details, menu }),
    'PATCH /api/restaurants/{id}': () => details,
    'PUT /api/restaurants/{id}/menu': () => ({ menu: [{ ...menu[0], id: restaurant.menu[0]?.id }] }),
    'POST /api/orders': () => ({ ...orderOf(restaurant), note }),
    'PUT /api/orders/{id}/cancellation': () => ({}),
    'PUT /api/orders/{id}/status': () => ({ status: 'accepted' }),
  }
  if (body === undefined) return undefined
  const known = bodies[name]
  if (!known) throw new Error(`These tests know no body for ${name}`)
  return structuredClone(known())
}

export interface Place {
  path: (string | number)[]
  schema: BodySchema
}

/**
 * Every place that a body schema has, with the way to it in a body that fills them all.
 * @throws for a place that the body leaves out, since whatever walks the places would leave it out too
 */
export function* placesIn(schema: BodySchema, body: unknown, path: Place['path'] = []): Generator<Place> {
  if (body === undefined) throw new Error(`The body of these tests leaves out /${path.join('/')}`)
  yield { path, schema }
  for (const [key, inner] of Object.entries(schema.properties ?? {})) {
    yield* placesIn(inner, (body as Json)[key], [...path, key])
  }
  const ofItems = schema.prefixItems ?? (schema.items ? [schema.items] : [])
  for (const [index, inner] of ofItems.entries()) yield* placesIn(inner, (body as unknown[])[index], [...path, index])
}

/** A copy of the body with something else at one place, `__proto__` being a name like any other. */
export function changed(body: Json, path: Place['path'], value: unknown): Json {
  const copy = structuredClone(body)
  let at: object = copy
  for (const key of path.slice(0, -1)) at = at[key as keyof object]
  const last = path.at(-1) ?? ''
  Object.defineProperty(at, last, { value, enumerable: true, configurable: true, writable: true })
  return copy
}

export const isType = ({ type }: BodySchema, name: string) => [type].flat().includes(name)

/** Everything in the database. */
export async function stored({ mongo }: Fleet): Promise<Record<string, unknown[]>> {
  const { db } = mongo.connection
  const collections = (await db?.collections()) ?? []
  const found = collections.map(async (collection) => [
    collection.collectionName,
    await collection.find({}, { readPreference: 'primary', sort: { _id: 1 } }).toArray(),
  ])
  return Object.fromEntries(await Promise.all(found))
}
