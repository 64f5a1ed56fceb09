import { afterAll, beforeAll, expect, test } from 'vitest'
import { createConsistency } from '../../apps/data/consistency.ts'
import { createIndexes } from '../../apps/data/indexes.ts'
import type { Mongo } from '../../apps/data/mongo.ts'
import { createOrders, orderModel } from '../../apps/data/orders.ts'
import { createRestaurants, restaurantModel } from '../../apps/data/restaurants.ts'
import { createSeeding, type Seeding } from '../../apps/data/seeding.ts'
import { createUsers, userModel } from '../../apps/data/users.ts'
import { verifyPassword } from '../../apps/domain/password.ts'
import { demoCustomerEmail, demoOwnerEmail } from '../../apps/setup/people.ts'
import { restaurantIdOf } from '../../apps/setup/restaurant-record.ts'
import { demoRestaurantNumbers, ensureSampleData } from '../../apps/setup/sample.ts'
import { newDatabaseName, openMongo } from '../support/api.ts'

let mongo: Mongo
let seeding: Seeding

beforeAll(async () => {
  mongo = await openMongo(newDatabaseName())
  await createIndexes(mongo.connection)
  seeding = createSeeding(mongo.connection)
})
afterAll(async () => {
  await mongo.connection.dropDatabase()
  await mongo.close()
})

const counts = () =>
  Promise.all(
    [userModel, restaurantModel, orderModel].map((model) => model(mongo.connection).collection.countDocuments()),
  )
const whole = [43, 5105, 3000]

function stores() {
  const consistency = createConsistency(mongo)
  return {
    users: createUsers(mongo.connection, consistency),
    restaurants: createRestaurants(mongo.connection, consistency),
    orders: createOrders(mongo.connection, consistency),
  }
}

test('an import that is cut off is completed by the next one', async () => {
  let left = 3
  const breaking: Seeding = {
    ...seeding,
    addRestaurants: (documents) =>
      left-- > 0 ? seeding.addRestaurants(documents) : Promise.reject(new Error('cut off')),
  }
  await expect(ensureSampleData(breaking, 'demo password', () => {})).rejects.toThrow('cut off')
  const lines: string[] = []
  left = 2
  const breakingLater: Seeding = {
    ...seeding,
    addOrders: (documents) => (left-- > 0 ? seeding.addOrders(documents) : Promise.reject(new Error('cut off'))),
  }
  await expect(ensureSampleData(breakingLater, 'demo password', () => {})).rejects.toThrow('cut off')
  expect(await counts()).toEqual([43, 5105, 1000])
  await ensureSampleData(seeding, 'demo password', (line) => lines.push(line))
  expect(await counts()).toEqual(whole)
  expect(lines[0]).toBe('Importing the sample data')
  expect(lines).toContain('Restaurants: 100 %')
  expect(lines.at(-1)).toBe('Past orders: 100 %')
})

test('what is complete is left alone, whatever has happened to it since', async () => {
  await orderModel(mongo.connection).collection.deleteOne({})
  const lines: string[] = []
  await ensureSampleData(seeding, 'demo password', (line) => lines.push(line))
  expect(lines).toEqual([])
  expect(await counts()).toEqual([43, 5105, 2999])
})

test('the demo users log in, also after their password was changed, and nobody else does', async () => {
  const { users } = stores()
  await ensureSampleData(seeding, 'another password', () => {})
  for (const email of [demoCustomerEmail, demoOwnerEmail]) {
    const found = await users.findForLogin(email)
    expect(await verifyPassword('another password', found?.passwordHash)).toBe(true)
    expect(await verifyPassword('demo password', found?.passwordHash)).toBe(false)
  }
  expect(await userModel(mongo.connection).collection.countDocuments({ passwordHash: { $exists: true } })).toBe(2)
})

test('the stores find what was imported', async () => {
  const { users, restaurants, orders } = stores()
  const owner = await users.findForLogin(demoOwnerEmail)
  for (const number of demoRestaurantNumbers) {
    const id = restaurantIdOf(number)
    await restaurants.requireOwner(id, owner?.user.id ?? '', 'latest')
    const queue = await orders.listForRestaurant(id, undefined, { limit: 100 }, 'latest')
    expect(queue.items.length).toBeGreaterThan(0)
  }
  const near = { position: [-73.9855, 40.758] as [number, number], radiusMeters: 300 }
  const barbecue = await restaurants.list({ q: 'virgils bbq', near }, { limit: 5 }, 'latest')
  expect(barbecue.items.map(({ name }) => name)).toEqual(["Virgil's BBQ"])
  const cafes = await restaurants.list({ cuisine: 'cafe/coffee/tea' }, { limit: 100 }, 'latest')
  expect(cafes.items).toHaveLength(100)
  const customer = await users.findForLogin(demoCustomerEmail)
  const mine = await orders.listForUser(customer?.user.id ?? '', undefined, { limit: 100 }, 'latest')
  expect(mine.items).toHaveLength(40)
  expect(mine.items.map(({ status }) => status)).toContain('pending')
})
