import { expect, test } from 'vitest'
import { connectMongo, type Mongo } from '../../apps/data/mongo.ts'
import { mongoOptions, newDatabaseName } from '../support/api.ts'
import { hostsByRole, withMember } from '../support/members.ts'
import { waitFor } from '../support/servers.ts'

const poolOfPrimary = (mongo: Mongo) => mongo.pools.all().find(({ member }) => member === mongo.members.primary()?.name)

test('a pool tells what is open, in use and waited for, until it is closed', async () => {
  const mongo = await connectMongo({ ...mongoOptions(newDatabaseName()), maxPoolSize: 1 })
  const waits: [string, number][] = []
  const unsubscribe = mongo.pools.onWaited((member, seconds) => waits.push([member, seconds]))
  try {
    expect(mongo.maxPoolSize).toBe(1)
    await mongo.ping()
    await waitFor('the primary to be known', 10_000, async () => mongo.members.primary() !== undefined)
    const name = mongo.members.primary()?.name
    expect(name).toMatch(/^mongo-\d$/)
    expect(poolOfPrimary(mongo)).toEqual({ member: name, open: 1, inUse: 0, waiting: 0 })

    const admin = mongo.connection.getClient().db('admin')
    const { primary } = await hostsByRole()
    await withMember(primary, (direct) =>
      direct.command({
        configureFailPoint: 'failCommand',
        mode: { times: 1 },
        data: { failCommands: ['buildInfo'], blockConnection: true, blockTimeMS: 1_000, appName: 'test' },
      }),
    )
    waits.length = 0
    const slow = admin.command({ buildInfo: 1 })
    const behind = admin.command({ ping: 1 })
    expect(await poll(() => poolOfPrimary(mongo)?.waiting === 1)).toBe(true)
    expect(poolOfPrimary(mongo)).toEqual({ member: name, open: 1, inUse: 1, waiting: 1 })
    await Promise.all([slow, behind])
    expect(poolOfPrimary(mongo)).toEqual({ member: name, open: 1, inUse: 0, waiting: 0 })
    expect(waits.map(([member]) => member)).toEqual([name, name])
    expect(waits[1]?.[1]).toBeGreaterThan(0.1)

    await withMember(primary, (direct) =>
      direct.command({
        configureFailPoint: 'failCommand',
        mode: { times: 1 },
        data: { failCommands: ['buildInfo'], closeConnection: true, appName: 'test' },
      }),
    )
    await admin.command({ buildInfo: 1 }).catch(() => {})
    await waitFor('the pool to recover', 10_000, async () => {
      await mongo.ping()
      return poolOfPrimary(mongo) !== undefined
    })
    expect(poolOfPrimary(mongo)).toEqual({ member: name, open: 1, inUse: 0, waiting: 0 })
    unsubscribe()
    const told = waits.length
    await mongo.ping()
    expect(waits).toHaveLength(told)
  } finally {
    await mongo.close()
  }
  expect(mongo.pools.all()).toEqual([])
})

async function poll(check: () => boolean): Promise<boolean> {
  for (let turns = 0; turns < 200 && !check(); turns++) await new Promise((resolve) => setTimeout(resolve, 2))
  return check()
}
