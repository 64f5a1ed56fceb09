import { join } from 'node:path'
import type { Seeding } from '../data/seeding.ts'
import { importRestaurants } from './import-restaurants.ts'
import type { Tell } from './initiate.ts'
import { readLines } from './lines.ts'
import { pastOrders } from './past-orders.ts'
import { ensureDemoPasswords, ensurePeople, ensureSystemOwner } from './people.ts'
import { parseRecord, restaurantIdOf, toStoredRestaurant } from './restaurant-record.ts'
import { openTextInput } from './text-input.ts'

const file = join(import.meta.dirname, 'nyc-restaurants.ndjson.gz')

/** The numbers of the restaurants that the demo owner runs: around Times Square, and a few elsewhere. */
export const demoRestaurantNumbers = [
  '40396159', // Carmine's, 200 West 44 Street
  '40397780', // Virgil's BBQ, 152 West 44 Street
  '40871006', // Minar Indian Restaurant, 138 West 46 Street
  '40819366', // Haru, 1501 Broadway
  '40864145', // Times Deli & Cafe, 158 West 44 Street
  '40865946', // Blue Fin, 1567 Broadway
  '30075445', // Morris Park Bake Shop, the Bronx
  '30112340', // Wendy's, Brooklyn
]

const orderCount = 3_000
const demoCustomerOrders = 40
/** One of this many restaurants has past orders. */
const orderedFromEvery = 20
const batchSize = 500
const step = 'sample-data'

/**
 * Imports the restaurants of New York, demo users, customers and past orders, once per database: what was cut off is
 * completed, what was completed is left alone, apart from a changed demo password.
 */
export async function ensureSampleData(seeding: Seeding, demoPassword: string, tell: Tell): Promise<void> {
  const { startedAt, finishedAt } = await seeding.begin(step)
  if (finishedAt) return ensureDemoPasswords(seeding, demoPassword)
  tell('Importing the sample data')
  // A repetition dates everything as the first try did, so that it finds again what is there.
  const people = await ensurePeople(seeding, demoPassword, startedAt)
  const lines = await Array.fromAsync(readLines(openTextInput(file)))
  const systemOwnerId = await ensureSystemOwner(seeding)
  const demoRestaurants = new Set(demoRestaurantNumbers)
  const ownerIdOf = (number: string) => (demoRestaurants.has(number) ? people.demoOwnerId : systemOwnerId)
  await importRestaurants(lines, seeding, {
    ownerIdOf,
    at: startedAt,
    onProgress: ({ added, present }) => tell(`Restaurants: ${percent(added + present, lines.length)}`),
  })
  const records = lines.flatMap(({ text }) => {
    const record = parseRecord(text ?? '')
    return 'problems' in record ? [] : [record]
  })
  const orderedFrom = new Map(
    records
      .filter(({ id }) => demoRestaurants.has(id) || isOrderedFrom(id))
      .map((record) => [record.id, toStoredRestaurant(record, ownerIdOf(record.id), startedAt)]),
  )
  const orders = [
    ...pastOrders({
      now: startedAt,
      count: orderCount,
      customerIds: people.customerIds,
      restaurants: [...orderedFrom.values()],
      demoCustomer: { id: people.demoCustomerId, count: demoCustomerOrders },
      demoRestaurants: demoRestaurantNumbers.flatMap((number) => orderedFrom.get(number) ?? []),
    }),
  ]
  for (let done = 0; done < orders.length; done += batchSize) {
    await seeding.addOrders(orders.slice(done, done + batchSize))
    tell(`Past orders: ${percent(Math.min(done + batchSize, orders.length), orders.length)}`)
  }
  await seeding.finish(step)
}

function isOrderedFrom(number: string): boolean {
  return Number.parseInt(restaurantIdOf(number).slice(0, 4), 16) % orderedFromEvery === 0
}

function percent(part: number, whole: number): string {
  return `${Math.floor((100 * part) / whole)} %`
}
