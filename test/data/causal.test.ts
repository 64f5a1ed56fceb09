import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type ClusterTime, compare } from '../../apps/data/cluster-time.ts'
import { type Consistency, type ConsistencyOptions, createConsistency } from '../../apps/data/consistency.ts'
import { createIndexes } from '../../apps/data/indexes.ts'
import type { Mongo } from '../../apps/data/mongo.ts'
import { createOrders } from '../../apps/data/orders.ts'
import { Reader, readAs } from '../../apps/data/reader.ts'
import { newDatabaseName, openMongo } from '../support/api.ts'
import { level } from '../support/commands.ts'
import { freeze, holdBack, hostsByRole } from '../support/members.ts'
import { waitFor } from '../support/servers.ts'

let mongo: Mongo
beforeAll(async () => {
  mongo = await openMongo(newDatabaseName())
  await createIndexes(mongo.connection)
})
beforeEach(() => level(mongo))
afterAll(async () => {
  // Also for the files that follow.
  await level(mongo)
  await mongo.connection.dropDatabase()
  await mongo.close()
})

const userId = '0123456789abcdef01234567'

/** A store of its own counters, and what it told of its reads. */
function createStore(options: ConsistencyOptions = {}) {
  const seen: string[] = []
  const consistency: Consistency = createConsistency(mongo, {
    ...options,
    observer: {
      read: (target) => seen.push(target),
      fellBack: (reason) => seen.push(reason),
      waited: () => {},
      command: () => {},
    },
  })
  return { seen, orders: createOrders(mongo.connection, consistency) }
}

type Store = ReturnType<typeof createStore>

let placed = 0
async function place(store: Store, reader: Reader): Promise<string> {
  const order = { userId, restaurant: { id: userId, name: 'Pizza' }, items: [], note: undefined }
  const creation = { key: `key-${placed++}`, bodyHash: 'hash' }
  const { answer } = await readAs(reader, () => store.orders.place(order.userId, order, creation, ({ id }) => id))
  return answer
}

const find = (store: Store, reader: Reader, id: string) =>
  readAs(reader, () => store.orders.findForUser(id, userId, 'any'))

describe('what a user has written', () => {
  test('is shown by a secondary at once', async () => {
    const store = createStore({ readWaitMs: 5_000 })
    for (let round = 0; round < 20; round++) {
      const reader = new Reader()
      const id = await place(store, reader)
      expect(await find(store, reader, id)).not.toBeNull()
    }
    expect(store.seen).toContain('secondary')
    expect(store.seen).not.toContain('primary')
  })

  test('is shown by the primary while both secondaries are behind', async () => {
    const store = createStore()
    const { secondaries } = await hostsByRole()
    // One must go on, or nothing is acknowledged; it is only kept from being asked.
    await holdBack(secondaries[0] ?? '')
    const reader = new Reader()
    const id = await place(store, reader)
    mongo.members.giveUp(mongo.members.byAddress(secondaries[1] ?? '')?.name ?? '')
    expect(await find(store, reader, id)).not.toBeNull()
    expect(store.seen).toContain('primary')
    expect([...reader.sources]).toHaveLength(1)
  })

  test('is missing from a member that is behind, where nothing guards it', async () => {
    const store = createStore({ routing: 'secondary' })
    const { secondaries } = await hostsByRole()
    await holdBack(secondaries[0] ?? '')
    const id = await place(store, new Reader())
    const found = await Promise.all(Array.from({ length: 40 }, () => find(store, new Reader(), id)))
    expect(found.filter((order) => order === null).length).toBeGreaterThan(0)
  })

  test('stays shown to its author by every later read, whoever else is ahead or behind', async () => {
    const store = createStore()
    const { secondaries } = await hostsByRole()
    await holdBack(secondaries[1] ?? '')
    const reader = new Reader()
    for (let round = 0; round < 10; round++) {
      const id = await place(store, reader)
      for (let read = 0; read < 5; read++) expect(await find(store, reader, id)).not.toBeNull()
    }
    expect(store.seen).toContain('secondary')
  })
})

describe('what a user has seen', () => {
  test('is never taken back by a member that is behind', async () => {
    const store = createStore()
    const { secondaries } = await hostsByRole()
    await holdBack(secondaries[0] ?? '')
    // Somebody else writes; the reader has nothing but what was seen.
    const id = await place(store, new Reader())
    const reader = new Reader()
    await readAs(reader, () => store.orders.find(id, 'latest'))
    expect(reader.token).toBeDefined()
    for (let read = 0; read < 20; read++) expect(await find(store, reader, id)).not.toBeNull()
  })
})

describe('a secondary that is frozen', () => {
  test('costs no read an error, and is not asked again before it moves', async () => {
    const store = createStore()
    const { secondaries } = await hostsByRole()
    const frozen = secondaries[0] ?? ''
    const name = mongo.members.byAddress(frozen)?.name ?? ''
    const thaw = await freeze(frozen)
    const id = await place(store, new Reader())
    for (let round = 0; round < 50; round++) expect(await find(store, new Reader(), id)).not.toBeUndefined()
    await waitFor(
      'it to be left alone',
      10_000,
      async () => !mongo.members.secondaries().some((member) => member.name === name),
    )
    const reader = new Reader()
    for (let round = 0; round < 20; round++) await find(store, reader, id)
    expect([...reader.sources].join()).not.toContain(name)
    await thaw()
    await waitFor('it to be asked again', 30_000, async () => {
      const again = new Reader()
      await find(store, again, id)
      return [...again.sources].join().includes(name)
    })
  })
})

describe('a read under way at a secondary that falls silent', () => {
  test('goes to the primary, and still knows whose it is', async () => {
    const { secondaries } = await hostsByRole()
    const [frozen = '', other = ''] = secondaries
    const id = await place(createStore(), new Reader())
    await level(mongo)
    await freeze(frozen)
    mongo.members.giveUp(mongo.members.byAddress(other)?.name ?? '')
    const store = createStore({ readWaitMs: 60_000 })
    const reader = new Reader()
    expect(await find(store, reader, id)).not.toBeNull()
    expect(store.seen).toEqual(['lost', 'primary'])
    expect([...reader.sources].join()).toMatch(/^primary /)
    expect(reader.token).toBeDefined()
  })
})

describe('a token', () => {
  const future = (): ClusterTime => ({ seconds: Math.floor(Date.now() / 1000) + 3_600, counter: 1 })

  test('from the future is dropped, and the read answered', async () => {
    const store = createStore()
    const id = await place(store, new Reader())
    const reader = new Reader()
    reader.wrote(mongo.epoch, future(), undefined)
    expect(await find(store, reader, id)).not.toBeNull()
    expect(store.seen).toContain('token-refused')
    expect(compare(reader.token?.write ?? future(), future())).toBeLessThan(0)
  })

  test('that may be lost sends its owner to the primary', async () => {
    const store = createStore()
    const id = await place(store, new Reader())
    const reader = new Reader()
    reader.tokenLost = true
    expect(await find(store, reader, id)).not.toBeNull()
    expect(store.seen).toEqual(['token-lost', 'primary'])
  })
})

describe('any reader', () => {
  test.each(['without a token', 'with a token from before'])(
    '%s gets nothing from a secondary beyond the bound',
    async (who) => {
      const store = createStore({ maxStalenessMs: 1_000 })
      const { secondaries } = await hostsByRole()
      const behind = mongo.members.byAddress(secondaries[0] ?? '')
      if (!behind) throw new Error('The secondary is not known')
      const seen = new Reader()
      const before = await place(store, seen)
      await readAs(seen, () => store.orders.find(before, 'latest'))
      await level(mongo)
      await holdBack(secondaries[0] ?? '')
      const id = await place(store, new Reader())
      await waitFor('it to be too old', 10_000, async () => mongo.members.stalenessMs(behind) > 1_000)
      for (let round = 0; round < 30; round++) {
        const reader = new Reader()
        if (who !== 'without a token') reader.token = seen.token
        expect(await find(store, reader, id)).not.toBeNull()
        expect([...reader.sources]).not.toContain(`secondary ${behind.name}`)
      }
    },
  )
})
