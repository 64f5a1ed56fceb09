import mongoose, { type Connection } from 'mongoose'
import { toObjectId } from './ids.ts'
import { orderModel, type StoredOrder } from './orders.ts'
import { restaurantModel, type StoredRestaurant } from './restaurants.ts'
import { type StoredUser, userModel } from './users.ts'

/** A piece of work that is done once per database, and begun again where it was cut off. */
export interface Step {
  startedAt: Date
  finishedAt?: Date
}

/** Bulk writes for the setup; they leave alone what is there already, so each may be repeated. */
export interface Seeding {
  /** The first call notes the time; every later one gives the same. */
  begin(step: string): Promise<Step>
  finish(step: string): Promise<void>
  /** Those of these numbers that restaurants were imported from already. */
  knownSourceIds(sourceIds: string[]): Promise<Set<string>>
  /** @returns how many were new */
  addRestaurants(restaurants: StoredRestaurant[]): Promise<number>
  /** @returns how many were new */
  addOrders(orders: StoredOrder[]): Promise<number>
  /** Adds those whose e-mail is free. @returns all of them as they are stored, by e-mail */
  addUsers(users: StoredUser[]): Promise<Map<string, StoredUser>>
  findUsers(emails: string[]): Promise<Map<string, StoredUser>>
  setPassword(userId: string, passwordHash: string): Promise<void>
}

export function createSeeding(connection: Connection): Seeding {
  const restaurants = restaurantModel(connection)
  const orders = orderModel(connection)
  const users = userModel(connection)
  const steps = connection.collection<Step & { _id: string }>('setup')

  async function findUsers(emails: string[]): Promise<Map<string, StoredUser>> {
    const found = await users
      .find({ email: { $in: emails } })
      .read('primary')
      .lean<StoredUser[]>()
      .exec()
    return new Map(found.map((user) => [user.email, user]))
  }

  return {
    async begin(step) {
      const found = await steps.findOneAndUpdate(
        { _id: step },
        { $setOnInsert: { startedAt: new Date() } },
        { upsert: true, returnDocument: 'after' },
      )
      return found as Step
    },
    async finish(step) {
      await steps.updateOne({ _id: step }, { $set: { finishedAt: new Date() } })
    },
    async knownSourceIds(sourceIds) {
      const found = await restaurants
        .find({ sourceId: { $in: sourceIds } }, { _id: 0, sourceId: 1 })
        .read('primary')
        .lean<{ sourceId: string }[]>()
        .exec()
      return new Set(found.map(({ sourceId }) => sourceId))
    },
    addRestaurants: (documents) =>
      countNew(documents, () => restaurants.collection.insertMany(documents, { ordered: false })),
    addOrders: (documents) => countNew(documents, () => orders.collection.insertMany(documents, { ordered: false })),
    async addUsers(documents) {
      const emails = documents.map(({ email }) => email)
      const found = await findUsers(emails)
      const missing = documents.filter(({ email }) => !found.has(email))
      if (missing.length === 0) return found
      await countNew(missing, () => users.collection.insertMany(missing, { ordered: false }))
      return findUsers(emails)
    },
    findUsers,
    async setPassword(userId, passwordHash) {
      await users.collection.updateOne({ _id: toObjectId(userId) }, { $set: { passwordHash } })
    },
  }
}

const duplicateKey = 11_000

async function countNew(documents: unknown[], insert: () => Promise<{ insertedCount: number }>): Promise<number> {
  if (documents.length === 0) return 0
  try {
    return (await insert()).insertedCount
  } catch (error) {
    if (!(error instanceof mongoose.mongo.MongoBulkWriteError)) throw error
    const writeErrors = [error.writeErrors].flat()
    const unacknowledged = error.result.getWriteConcernError()
    if (unacknowledged || writeErrors.some(({ code }) => code !== duplicateKey)) throw error
    return error.insertedCount
  }
}
