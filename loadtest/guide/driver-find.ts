/**
 * The least that a list of orders can cost: the driver's own `find` and nothing around it. Told `{seconds}` or
 * `{requests}`, it finds on so many at once, and tells how many it has found.
 */
import mongoose from 'mongoose'

interface Task {
  finds?: number
  seconds?: number
}

const { MONGO_URL = '', USER_IDS = '', AT_ONCE = '32' } = process.env
const userIds = USER_IDS.split(',').map((id) => new mongoose.Types.ObjectId(id))
const client = new mongoose.mongo.MongoClient(MONGO_URL, { readPreference: 'secondaryPreferred', maxPoolSize: 50 })
const orders = client.db().collection('orders')
await client.connect()

async function findOn(next: () => boolean): Promise<number> {
  let found = 0
  while (next()) {
    const userId = userIds[Math.floor(Math.random() * userIds.length)] as mongoose.Types.ObjectId
    const items = await orders
      .find({ userId, status: { $in: statuses } }, { projection: { creation: 0, 'history.key': 0 } })
      .sort({ _id: -1 })
      .hint({ userId: 1, status: 1, _id: -1 })
      .limit(20)
      .toArray()
    if (items.length === 0) throw new Error('Somebody has no orders')
    found++
  }
  return found
}

const statuses = ['pending', 'accepted', 'preparing', 'ready', 'delivered', 'cancelled', 'rejected']

process.on('message', async ({ finds, seconds }: Task) => {
  let left = finds ?? Number.POSITIVE_INFINITY
  const endsAt = performance.now() + (seconds ?? Number.POSITIVE_INFINITY) * 1_000
  const next = () => left-- > 0 && performance.now() < endsAt
  const found = await Promise.all(Array.from({ length: Number(AT_ONCE) }, () => findOn(next)))
  process.send?.({ found: found.reduce((sum, each) => sum + each, 0) })
})
for (const event of ['SIGTERM', 'disconnect']) process.on(event, () => process.exit(0))
process.send?.('ready')
