import type { Connection } from 'mongoose'
import { orderModel } from './orders.ts'
import { restaurantModel } from './restaurants.ts'
import { userModel } from './users.ts'

/**
 * Creates every collection and index that the stores rely on; those that exist are left alone. Run once per start of
 * the stack, not by each replica: concurrent builds of one index hold up writes.
 */
export async function createIndexes(connection: Connection): Promise<void> {
  await Promise.all([userModel, restaurantModel, orderModel].map((model) => model(connection).createIndexes()))
}
