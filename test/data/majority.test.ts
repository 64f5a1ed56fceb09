import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { createConsistency } from '../../apps/data/consistency.ts'
import { createIndexes } from '../../apps/data/indexes.ts'
import { connectMongo, type Mongo } from '../../apps/data/mongo.ts'
import { createOrders } from '../../apps/data/orders.ts'
import { Reader, readAs } from '../../apps/data/reader.ts'
import { mongoOptions, newDatabaseName } from '../support/api.ts'
import { freeze, holdBack, hostsByRole, withMember } from '../support/members.ts'
import { waitFor } from '../support/servers.ts'

let mongo: Mongo
beforeAll(async () => {
  mongo = await connectMongo({ ...mongoOptions(newDatabaseName()), writeTimeoutMs: 1_000 })
  await createIndexes(mongo.connection)
})
afterAll(async () => {
  await mongo.connection.dropDatabase()
  await mongo.close()
})

const userId = '0123456789abcdef01234567'

function createStore(by = mongo) {
  const orders = createOrders(by.connection, createConsistency(by))
  return {
    async place(reader: Reader): Promise<string> {
      const order = { userId, restaurant: { id: userId, name: 'Pizza' }, items: [], note: undefined }
      const creation = { key: randomUUID(), bodyHash: 'hash' }
      return (await readAs(reader, () => orders.place(order.userId, order, creation, ({ id }) => id))).answer
    },
    find: (reader: Reader, id: string) => readAs(reader, () => orders.findForUser(id, userId, 'any')),
    count: async (reader: Reader, freshness: 'any' | 'latest') => {
      const list = () => orders.listForUser(userId, undefined, { limit: 100, cursor: undefined }, freshness)
      return (await readAs(reader, list)).items.length
    },
  }
}

async function undoAtEnd(...undo: (() => Promise<void>)[]): Promise<void> {
  onTestFinished(async () => {
    await Promise.all(undo.map((run) => run()))
    await level()
  })
}

/** All three are there, have caught up, and take writes again. */
const level = () =>
  waitFor('the members to be level', 60_000, async () => {
    const secondaries = mongo.members.secondaries()
    return (
      mongo.members.primary() !== undefined &&
      secondaries.length === 2 &&
      secondaries.every((member) => mongo.members.stalenessMs(member) < 1_000)
    )
  })

describe('while both secondaries are behind', () => {
  test('what was written before is shown, and what the majority lacks is neither shown nor waited for', async () => {
    await level()
    const store = createStore()
    const reader = new Reader()
    const id = await store.place(reader)
    const before = await store.count(reader, 'latest')
    const { secondaries } = await hostsByRole()
    await undoAtEnd(...(await Promise.all(secondaries.map(holdBack))))
    await expect(store.place(reader)).rejects.toMatchObject({ code: 'unavailable' })
    await waitFor('them to be too old', 10_000, async () =>
      mongo.members.secondaries().every((member) => mongo.members.stalenessMs(member) > 2_000),
    )
    reader.sources.clear()
    expect(await store.find(reader, id)).not.toBeNull()
    expect([...reader.sources].join()).toMatch(/^primary /)
    expect(await store.count(reader, 'any')).toBe(before)
    expect(await store.count(reader, 'latest')).toBe(before)
  })
})

describe('while both secondaries are frozen', () => {
  test('a write that is under way is refused once no majority can acknowledge it', { timeout: 45_000 }, async () => {
    await level()
    const patient = await connectMongo({
      ...mongoOptions(mongo.connection.db?.databaseName ?? ''),
      writeTimeoutMs: 60_000,
      serverSelectionTimeoutMs: 60_000,
    })
    onTestFinished(() => patient.close())
    const store = createStore(patient)
    const { secondaries } = await hostsByRole()
    await undoAtEnd(...(await Promise.all(secondaries.map(freeze))))
    // Long before it would be given up otherwise.
    await expect(store.place(new Reader())).rejects.toMatchObject({ code: 'unavailable' })
  })

  test('reads go on from the member that is left, and writes are refused', async () => {
    await level()
    const store = createStore()
    const reader = new Reader()
    const id = await store.place(reader)
    await level()
    const { secondaries } = await hostsByRole()
    await undoAtEnd(...(await Promise.all(secondaries.map(freeze))))
    // All the way, while the primary finds out that it is alone.
    const reads: Promise<unknown>[] = []
    const readOn = async () => {
      const again = new Reader()
      again.token = reader.token
      expect(await store.find(again, id)).not.toBeNull()
      return [...again.sources].join()
    }
    await waitFor('the primary to step down, and longer than anything may be old', 20_000, async () => {
      reads.push(readOn())
      const left = mongo.members.secondaries()
      return !mongo.members.mayHavePrimary() && left.every((member) => mongo.members.stalenessMs(member) > 2_500)
    })
    await Promise.all(reads)
    expect(await readOn()).toMatch(/^secondary /)
    await expect(store.place(reader)).rejects.toMatchObject({ message: 'The database has lost its majority' })
    await expect(store.count(reader, 'latest')).rejects.toMatchObject({ code: 'unavailable' })
    expect(await store.find(reader, id)).not.toBeNull()
  })
})

describe('while the primary answers others, but not this process', () => {
  test('reads go on, and writes are refused soon, for other processes to do', { timeout: 45_000 }, async () => {
    await level()
    const appName = `cut-off-${randomUUID()}`
    const alone = await connectMongo({
      ...mongoOptions(mongo.connection.db?.databaseName ?? ''),
      appName,
      serverSelectionTimeoutMs: 60_000,
    })
    onTestFinished(() => alone.close())
    const store = createStore(alone)
    const reader = new Reader()
    const id = await store.place(reader)
    const { primary } = await hostsByRole()
    const cutOff = (mode: string) =>
      withMember(primary, (admin) =>
        admin.command({
          configureFailPoint: 'failCommand',
          mode,
          data: { failCommands: ['hello', 'isMaster', 'insert', 'find'], closeConnection: true, appName },
        }),
      )
    await cutOff('alwaysOn')
    await undoAtEnd(async () => void (await cutOff('off')))
    // The first finds out, the others know.
    for (let time = 0; time < 2; time++) {
      await expect(store.place(reader)).rejects.toMatchObject({ code: 'unavailable', isLocal: true })
    }
    expect(alone.members.isCutOff()).toBe(true)
    await expect(store.count(reader, 'latest')).rejects.toMatchObject({ code: 'unavailable', isLocal: true })
    expect(await store.find(reader, id)).not.toBeNull()
    expect(mongo.members.isCutOff()).toBe(false)
    await createStore().place(new Reader())
    await cutOff('off')
    await waitFor('the primary to be back', 10_000, async () => alone.members.primary() !== undefined)
    await store.place(reader)
    expect(alone.members.isCutOff()).toBe(false)
  })
})
