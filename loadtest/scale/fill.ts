import { createHash, randomBytes, randomUUID } from 'node:crypto'
import mongoose from 'mongoose'
import { Failure } from '../../infra/failure.ts'
import { Chance } from '../chance.ts'
import type { Database, Document } from './database.ts'

const { ObjectId } = mongoose.mongo
type Id = mongoose.mongo.ObjectId

const batchSize = 1_000
const batchesAtOnce = 4
const seed = 1
// About 4 km: within the city, which becomes as much denser as there are more restaurants.
const jitterDegrees = 0.04
const ordersPerUser = 20
const daysBack = 730
const dayMs = 86_400_000

export interface Growth {
  restaurants: number
  orders: number
  signal: AbortSignal
  tell: (text: string) => void
}

/**
 * Adds restaurants and orders until there are so many. Restaurants are those of the sample under other ids and at other
 * places, so that names, cuisines and boroughs are as frequent as they were; orders are settled ones, half of them from the
 * restaurants of the sample, and so are the ones of the users that the sample has.
 */
export async function fill(database: Database, growth: Growth): Promise<void> {
  const chance = new Chance(seed)
  const sample = await database.collection('restaurants').find().toArray()
  if (sample.length === 0) throw new Failure('There is no sample to grow.', 2)
  const ids = sample.map(({ _id }) => _id as Id)
  const moreRestaurants = growth.restaurants - sample.length
  await insert(database, 'restaurants', moreRestaurants, growth, () => {
    const restaurant = restaurantLike(chance.pick(sample), chance)
    ids.push(restaurant._id as Id)
    return restaurant
  })
  const settled = await database
    .collection('orders')
    .find({ status: { $in: ['delivered', 'cancelled', 'rejected'] } })
    .toArray()
  const known = await database.collection('orders').distinct('userId')
  const users = [...known, ...Array.from({ length: Math.ceil(growth.orders / ordersPerUser) }, () => new ObjectId())]
  const moreOrders = growth.orders - (await database.collection('orders').estimatedDocumentCount())
  const now = Date.now()
  await insert(database, 'orders', moreOrders, growth, () =>
    orderLike(chance.pick(settled), {
      userId: chance.pick(users) as Id,
      restaurantId: chance.hits(0.5) ? (chance.pick(sample)._id as Id) : chance.pick(ids),
      at: now - Math.floor(chance.fraction() * daysBack * dayMs),
    }),
  )
}

function restaurantLike(model: Document, chance: Chance): Document {
  const { sourceId: _1, creationKey: _2, ...rest } = model
  const [longitude, latitude] = model.location.coordinates as [number, number]
  return {
    ...rest,
    _id: new ObjectId(randomBytes(12)),
    location: {
      type: 'Point',
      coordinates: [
        longitude + chance.between(-jitterDegrees, jitterDegrees),
        latitude + chance.between(-jitterDegrees, jitterDegrees),
      ],
    },
  }
}

function orderLike(
  model: Document,
  { userId, restaurantId, at }: { userId: Id; restaurantId: Id; at: number },
): Document {
  const laterMs = at - (model.createdAt as Date).getTime()
  const moved = (time: Date) => new Date(time.getTime() + laterMs)
  const key = randomUUID()
  return {
    ...model,
    _id: idAt(at),
    userId,
    restaurant: { ...model.restaurant, id: restaurantId },
    history: model.history.map((event: { at: Date }) => ({ ...event, at: moved(event.at) })),
    creation: {
      key,
      bodyHash: createHash('sha256').update(key).digest('hex'),
      answer: JSON.stringify(model.items),
    },
    createdAt: new Date(at),
    updatedAt: moved(model.updatedAt),
  }
}

/** Sorts by time, as the ids of orders do. */
function idAt(ms: number): Id {
  const head = Buffer.alloc(6)
  head.writeUInt32BE(Math.floor(ms / 1_000), 0)
  head.writeUInt16BE(ms % 1_000, 4)
  return new ObjectId(Buffer.concat([head, randomBytes(6)]))
}

async function insert(
  database: Database,
  name: 'restaurants' | 'orders',
  count: number,
  { signal, tell }: Growth,
  make: () => Document,
): Promise<void> {
  const collection = database.collection(name)
  const tenth = Math.ceil(count / 10)
  let begun = 0
  let done = 0
  const worker = async () => {
    while (begun < count) {
      signal.throwIfAborted()
      const size = Math.min(batchSize, count - begun)
      begun += size
      await collection.insertMany(Array.from({ length: size }, make), { ordered: false })
      const before = Math.floor(done / tenth)
      done += size
      if (Math.floor(done / tenth) > before) tell(`  ${name}: ${done.toLocaleString('en-US')} added`)
    }
  }
  await Promise.all(Array.from({ length: batchesAtOnce }, worker))
}
