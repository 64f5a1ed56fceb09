import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import mongoose from 'mongoose'
import { afterEach, beforeEach, describe, expect, inject, onTestFinished, test } from 'vitest'
import { heartbeatCollection } from '../../apps/data/heartbeat.ts'
import { type Member, type Members, watchMembers } from '../../apps/ops/members.ts'
import { newDatabaseName } from '../support/api.ts'
import { freeze, holdBack, hostsByRole, withMember } from '../support/members.ts'
import { endProcess, endWithUs, findTestBinaries, freePorts, rootUser, waitFor } from '../support/servers.ts'
import { startValve } from '../support/valve.ts'

let members: Members
let database: string
let told: string[]
// Every lag that was shown while a test ran.
let shown: number[]
let sampler: NodeJS.Timeout

beforeEach(async () => {
  database = newDatabaseName()
  told = []
  shown = []
  members = watchMembers({
    // The others are found by the first.
    hosts: inject('servers').mongoHosts.slice(0, 1),
    database,
    credentials: { user: rootUser, password: inject('servers').rootPassword },
    onError: () => {},
    events: {
      down: ({ name }) => told.push(`down ${name}`),
      up: ({ name }) => told.push(`up ${name}`),
      elected: ({ name }, before) => told.push(`${name} after ${before}`),
    },
  })
  sampler = setInterval(() => {
    for (const member of members.current()) {
      const lagMs = member.lagMs(performance.now())
      if (lagMs !== null) shown.push(lagMs)
    }
  }, 10)
  await allMeasured()
})
afterEach(async () => {
  clearInterval(sampler)
  await members.close()
  const { primary } = await hostsByRole()
  await withMember(primary, async (admin) => {
    const client = (admin as unknown as { client: mongoose.mongo.MongoClient }).client
    await client.db(database).dropDatabase()
  })
  expect(shown.length).toBeGreaterThan(0)
  expect(shown.filter((lagMs) => !(lagMs >= 0))).toEqual([])
})

const lagOf = (member: Member) => member.lagMs(performance.now())
const at = (host: string) => {
  const member = members.current().find(({ address }) => address === host)
  if (!member) throw new Error(`${host} is not watched`)
  return member
}

/** All are there and show what is written. */
const allMeasured = () =>
  waitFor('the lag of all members', 30_000, async () => {
    const all = members.current()
    return all.length === 3 && all.every((member) => (lagOf(member) ?? 1_000) < 500)
  })

test('all members are known by the first, with name, role and figures', async () => {
  expect(members.current().map(({ name }) => name)).toEqual(['mongo-1', 'mongo-2', 'mongo-3'])
  expect(
    members
      .current()
      .map(({ role }) => role)
      .sort(),
  ).toEqual(['primary', 'secondary', 'secondary'])
  await waitFor('the figures of all', 10_000, async () => members.current().every(({ figures }) => figures))
  for (const { figures, role, state } of members.current()) {
    expect(state).toBe(role)
    expect(figures?.state).toBe(role)
    expect(figures?.connections).toBeGreaterThan(0)
    expect(figures?.cpuSeconds).toBeGreaterThan(0)
    expect(figures?.residentBytes).toBeGreaterThan(2 ** 20)
    expect(figures?.oplogSeconds).toBeGreaterThanOrEqual(0)
    expect(figures?.operations.command).toBeGreaterThan(0)
  }
})

describe('the lag', () => {
  test('of a secondary that is held back is the true one, within 200 ms', { timeout: 60_000 }, async () => {
    const { primary, secondaries } = await hostsByRole()
    const [host = ''] = secondaries
    const truth = await startTruth(primary, host, database)
    const release = await holdBack(host)
    try {
      const misses: number[] = []
      let highest = 0
      await waitFor('three seconds of lag', 20_000, async () => {
        const { lacksMs, showsMs } = await truth.bounds()
        const lagMs = lagOf(at(host)) ?? Number.NaN
        // The truth lies between the age of what it lacks and the age of what it shows.
        misses.push(Math.max(0, lacksMs - lagMs, lagMs - showsMs))
        highest = Math.max(highest, lacksMs)
        return highest > 3_000
      })
      expect(misses.length).toBeGreaterThan(10)
      expect(misses.filter((miss) => !(miss <= 200))).toEqual([])
      const other = lagOf(at(secondaries[1] ?? '')) ?? Number.NaN
      expect(other).toBeLessThan(1_000)
    } finally {
      await release()
      await truth.stop()
    }
    await allMeasured()
  })

  test('of a member that is away is unknown; when it is back it is known again', { timeout: 60_000 }, async () => {
    const { secondaries } = await hostsByRole()
    const [host = ''] = secondaries
    const thaw = await freeze(host)
    try {
      await waitFor('it to be down', 15_000, async () => at(host).isUp === false)
      expect([lagOf(at(host)), at(host).state]).toEqual([null, 'down'])
      // Long enough that what was written meanwhile would show.
      await sleep(1_500)
    } finally {
      await thaw()
    }
    await allMeasured()
    expect(at(host).state).toBe('secondary')
    const { name } = at(host)
    expect(told).toEqual([`down ${name}`, `up ${name}`])
  })

  test('is unknown while there is no primary, and goes on with the next', { timeout: 60_000 }, async () => {
    const { primary } = await hostsByRole()
    const { name } = at(primary)
    await withMember(primary, (admin) => admin.command({ replSetStepDown: 10, secondaryCatchUpPeriodSecs: 5 }))
    await waitFor('an election', 30_000, async () => told.length > 0)
    expect(told).toEqual([expect.stringMatching(new RegExp(`^mongo-\\d after ${name}$`))])
    await allMeasured()
    // Each member is asked at moments of its own, so that the next may be known first.
    await waitFor('the former one to be a secondary', 10_000, async () => at(primary).role === 'secondary')
    // Nothing grew while nobody could write: what was written last had arrived everywhere.
    expect(Math.max(...shown)).toBeLessThan(2_000)
  })
})

/** Writes and reads on its own, much finer than what is tested. */
async function startTruth(primary: string, secondary: string, name: string) {
  const { rootPassword } = inject('servers')
  const [writer, reader] = [primary, secondary].map((host) =>
    new mongoose.mongo.MongoClient(`mongodb://${host}/`, {
      directConnection: true,
      auth: { username: rootUser, password: rootPassword },
    }).db(name),
  ) as [mongoose.mongo.Db, mongoose.mongo.Db]
  const id = { _id: 'truth' } as never
  const written: number[] = [-1]
  let goesOn = true
  const writing = (async () => {
    while (goesOn) {
      await writer.collection('truth').updateOne(id, { $set: { number: written.length } }, { upsert: true })
      written.push(performance.now())
      await sleep(5)
    }
  })()
  await waitFor('the first to arrive', 10_000, async () => (await reader.collection('truth').findOne(id)) !== null)
  return {
    async bounds() {
      const found = await reader.collection('truth').findOne(id)
      const number = Number(found?.number)
      const nowMs = performance.now()
      return {
        lacksMs: nowMs - (written[number + 1] ?? nowMs),
        showsMs: nowMs - (written[number] ?? nowMs),
      }
    },
    async stop() {
      goesOn = false
      await writing
      await Promise.all([writer, reader].map(({ client }) => client.close()))
    },
  }
}

test('the heartbeat is one document, however many are written', async () => {
  const { primary } = await hostsByRole()
  const count = await withMember(primary, async (admin) => {
    const { client } = admin as unknown as { client: mongoose.mongo.MongoClient }
    return client.db(database).collection(heartbeatCollection).countDocuments()
  })
  expect(count).toBe(1)
})

test('a member that was started again between two questions was away', { timeout: 60_000 }, async () => {
  const [before = 0, after = 0] = await Promise.all([startLoneMongod(), startLoneMongod()])
  const valve = await startValve(before)
  const events: string[] = []
  const lone = watchMembers({
    hosts: [`127.0.0.1:${valve.port}`],
    database,
    credentials: undefined,
    onError: () => {},
    events: { down: () => events.push('down'), up: () => events.push('up'), elected: () => events.push('elected') },
  })
  onTestFinished(() => lone.close())
  await waitFor('it to be up', 30_000, async () => lone.current()[0]?.isUp === true)
  valve.redirect(after)
  await waitFor('it to have come back', 10_000, async () => events.length === 2)
  expect(events).toEqual(['down', 'up'])
  expect(lone.current()[0]?.isUp).toBe(true)
})

/** @returns its port */
async function startLoneMongod(): Promise<number> {
  const { mongod } = await findTestBinaries()
  const [port = 0] = await freePorts(1)
  const dir = await mkdtemp(join(tmpdir(), 'brigade-lone-'))
  const flags = ['--wiredTigerCacheSizeGB', '0.25', '--bind_ip', '127.0.0.1']
  const child = endWithUs(spawn(mongod.path, ['--dbpath', dir, '--port', String(port), ...flags], { stdio: 'ignore' }))
  onTestFinished(async () => {
    await endProcess(child)
    await rm(dir, { recursive: true })
  })
  return port
}
