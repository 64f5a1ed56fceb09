import { describe, expect, inject, onTestFinished, test } from 'vitest'
import { createConsistency } from '../../apps/data/consistency.ts'
import { connectMongo } from '../../apps/data/mongo.ts'
import { Reader, readAs } from '../../apps/data/reader.ts'
import { createUsers } from '../../apps/data/users.ts'
import { mongoOptions, newDatabaseName } from '../support/api.ts'
import { benchForFile } from '../support/commands.ts'

const bench = benchForFile()

test('a connection has the pool and the timeouts that were agreed, and asks for the majority', async () => {
  const { minPoolSize: _, ...options } = mongoOptions(newDatabaseName())
  const { connection, close } = await connectMongo(options)
  onTestFinished(close)
  expect(connection.getClient().options).toMatchObject({
    maxPoolSize: 50,
    minPoolSize: 10,
    socketTimeoutMS: 45_000,
    retryWrites: true,
    retryReads: true,
    writeConcern: { w: 'majority' },
  })
})

test('a password that is wrong is told, and leaves no connection behind', async () => {
  await expect(connectMongo({ ...mongoOptions(newDatabaseName()), password: 'wrong' })).rejects.toThrow(
    'Authentication failed',
  )
})

test('members are known by name and role', () => {
  const members = inject('servers').mongoHosts.map((host) => bench.mongo.members.byAddress(host))
  expect(members.map((member) => member?.name).sort()).toEqual(['mongo-1', 'mongo-2', 'mongo-3'])
  expect(members.map((member) => member?.role).sort()).toEqual(['primary', 'secondary', 'secondary'])
})

describe('a store', () => {
  const id = '0123456789abcdef01234567'
  const users = () => createUsers(bench.mongo.connection, bench.consistency)
  const account = (email: string) => ({ email, name: 'Ada', passwordHash: '!' })

  test('reads for showing from a secondary, and what guards a decision from the primary', async () => {
    await users().find(id, 'any')
    await users().find(id, 'latest')
    await users().findForLogin('nobody@example.com')
    expect(bench.sent.map(({ name, role }) => [name, role])).toEqual([
      ['find', 'secondary'],
      ['find', 'primary'],
      ['find', 'primary'],
    ])
    for (const { command } of bench.sent) expect(command.maxTimeMS).toBeGreaterThan(0)
  })

  test('writes to the primary, acknowledged by the majority, and so that a retry writes once', async () => {
    await users().create(account('ada@example.com'), 'key')
    expect(bench.sent).toHaveLength(1)
    const [{ name, role, command } = { name: '', role: '', command: {} }] = bench.sent
    expect([name, role, command.writeConcern.w]).toEqual(['insert', 'primary', 'majority'])
    expect(command.writeConcern.wtimeout).toBe(5_000)
    expect(command.txnNumber).toBeDefined()
  })

  test('knows when it wrote, also where the answer does not say', async () => {
    const reader = new Reader()
    const before = Math.floor(Date.now() / 1_000)
    // Without the session, which hears of no time then.
    const write = () => bench.consistency.write(() => bench.mongo.connection.collection('any').insertOne({}))
    await readAs(reader, write)
    expect(reader.token?.write.seconds).toBeGreaterThanOrEqual(before - 1)
  })

  test('says that it is unavailable when no member answers', async () => {
    const mongo = await connectMongo({ ...mongoOptions(newDatabaseName()), serverSelectionTimeoutMs: 500 })
    const gone = createUsers(mongo.connection, createConsistency(mongo))
    await mongo.close()
    for (const run of [
      () => gone.find(id, 'any'),
      () => gone.find(id, 'latest'),
      () => gone.create(account('x'), 'k'),
    ]) {
      await expect(run()).rejects.toMatchObject({ code: 'unavailable', retryAfterSeconds: 1 })
    }
  })

  test('says so too when a socket breaks in a way that the driver hands on as it is', async () => {
    const broken = async () => {
      throw Object.assign(new Error('This socket has been ended by the other party'), { code: 'EPIPE' })
    }
    const { consistency } = bench
    for (const run of [
      () => consistency.read('any', broken),
      () => consistency.read('latest', broken),
      () => consistency.write(broken),
    ]) {
      await expect(run()).rejects.toMatchObject({ code: 'unavailable', retryAfterSeconds: 1 })
    }
  })
})
