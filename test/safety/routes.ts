import { goodBody as bodyFor, type Json, type Route } from '../../loadtest/chaos/document.ts'
import {
  Client,
  type Fleet,
  newEmail,
  openRestaurant,
  orderOf,
  type Restaurant,
  signUp,
  type User,
} from '../support/api.ts'

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

/** Who may do it. */
export function whoMay({ owner, customer }: World, { name, path }: Route): User {
  return path.startsWith('/api/restaurants') || name === 'PUT /api/orders/{id}/status' ? owner : customer
}

/** A body with every field that the route knows. */
export function goodBody({ restaurant, customer }: World, route: Route): Json | undefined {
  const dishId = restaurant.menu[0]?.id ?? ''
  return bodyFor(route, {
    ...{ restaurantId: restaurant.id, dishId, email: customer.email, newEmail: newEmail(), password, note },
  })
}

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
