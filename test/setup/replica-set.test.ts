import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import mongoose from 'mongoose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { endProcess, findTestBinaries, freePorts } from '../support/servers.ts'
import { runProgram } from './programs.ts'

/** Mongods that nobody has initiated, each with a folder of its own that it keeps when it is started anew. */
class Mongods {
  readonly #dir: string
  readonly #path: string
  readonly #running = new Map<number, ChildProcess>()

  constructor(dir: string, path: string) {
    this.#dir = dir
    this.#path = path
  }

  start(index: number, port: number, flags = this.flagsOfSet): void {
    const data = join(this.#dir, `member-${index}`)
    this.#running.set(
      index,
      spawn(
        this.#path,
        ['--dbpath', data, '--bind_ip', '127.0.0.1', '--port', String(port), ...flags].concat(
          ...['--wiredTigerCacheSizeGB', '0.25', '--oplogSize', '32'],
          ...['--setParameter', 'shutdownTimeoutMillisForSignaledShutdown=0'],
        ),
        { stdio: 'ignore' },
      ),
    )
  }

  get flagsOfSet(): string[] {
    return ['--replSet', 'brigade', '--keyFile', join(this.#dir, 'key')]
  }

  async stop(...indexes: number[]): Promise<void> {
    await Promise.all(
      (indexes.length > 0 ? indexes : [...this.#running.keys()]).map(async (index) => {
        const child = this.#running.get(index)
        this.#running.delete(index)
        if (child) await endProcess(child)
      }),
    )
  }
}

let path: string
beforeAll(async () => {
  const binaries = await findTestBinaries()
  path = binaries.mongod.path
})

async function newMongods(count: number): Promise<{ mongods: Mongods; close(): Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), 'brigade-setup-'))
  await writeFile(join(dir, 'key'), randomBytes(96).toString('base64'), { mode: 0o600 })
  for (let index = 0; index < count; index++) await mkdir(join(dir, `member-${index}`))
  const mongods = new Mongods(dir, path)
  return {
    mongods,
    async close() {
      await mongods.stop()
      await rm(dir, { recursive: true })
    },
  }
}

const settings = (ports: number[], changes: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  MONGO_URL: `mongodb://${ports.map((port) => `127.0.0.1:${port}`).join(',')}/brigade?replicaSet=brigade`,
  MONGO_ROOT_PASSWORD: 'root password',
  MONGO_PASSWORD: 'user password',
  SAMPLE_DATA: 'false',
  ...changes,
})

async function asUser<T>(
  port: number,
  user: string,
  password: string,
  run: (admin: mongoose.mongo.Db) => Promise<T>,
): Promise<T> {
  const client = new mongoose.mongo.MongoClient(`mongodb://127.0.0.1:${port}/`, {
    auth: { username: user, password },
    directConnection: true,
  })
  try {
    return await run(client.db('admin'))
  } finally {
    await client.close()
  }
}

describe('three members that nobody has initiated', () => {
  let mongods: Mongods
  let close: () => Promise<void>
  let ports: number[]
  beforeAll(async () => {
    ;({ mongods, close } = await newMongods(3))
    ports = await freePorts(3)
  })
  afterAll(() => close())

  test('are named while they do not answer, within the bound', async () => {
    mongods.start(0, ports[0] ?? 0)
    const ended = await runProgram('main.ts', settings(ports, { SETUP_WAIT_SECONDS: '2' }))
    expect(ended.status).toBe(1)
    expect(ended.stdout).toContain(`Waiting for `)
    expect(ended.stderr).toContain(`After 2 s there is no answer from 127.0.0.1:${ports[1]}`)
    expect(ended.stderr).toContain(`127.0.0.1:${ports[2]}`)
  })

  test('become a set with users and indexes, while they still start and do not all reach one another', async () => {
    const running = runProgram('main.ts', settings(ports))
    const data = { failCommands: ['replSetHeartbeat'], errorCode: 6, failInternalCommands: true }
    const failing = `failpoint.failCommand=${JSON.stringify({ mode: { times: 1 }, data })}`
    const parameters = ['enableTestCommands=1', failing].flatMap((parameter) => ['--setParameter', parameter])
    mongods.start(1, ports[1] ?? 0, [...mongods.flagsOfSet, ...parameters])
    mongods.start(2, ports[2] ?? 0)
    const ended = await running
    expect(ended).toMatchObject({ status: 0, stderr: '', stdout: expect.stringMatching(/The database is ready\n$/) })
    expect(ended.stdout).toContain('The members do not reach one another yet')
    expect(ended.stdout).toContain('Initiated the replica set brigade')
    await asUser(ports[0] ?? 0, 'root', 'root password', async (admin) => {
      const { config } = await admin.command({ replSetGetConfig: 1 })
      expect(config.settings).toMatchObject({
        chainingAllowed: false,
        electionTimeoutMillis: 2_000,
        heartbeatIntervalMillis: 500,
        heartbeatTimeoutSecs: 1,
        catchUpTimeoutMillis: 1_000,
      })
      expect(config.members).toMatchObject(
        ports.map((port, index) => ({
          _id: index,
          host: `127.0.0.1:${port}`,
          tags: { member: `mongo-${index + 1}` },
        })),
      )
      const { users } = await admin.command({ usersInfo: 'brigade' })
      expect(users[0].roles).toEqual(
        expect.arrayContaining([
          { role: 'readWrite', db: 'brigade' },
          { role: 'clusterMonitor', db: 'admin' },
        ]),
      )
    })
    // The replicas log in at the secondaries too.
    for (const port of ports) await asUser(port, 'brigade', 'user password', (admin) => admin.command({ ping: 1 }))
  })

  test('are left alone the next time', async () => {
    expect(await runProgram('main.ts', settings(ports))).toEqual({
      status: 0,
      stdout: 'The database is ready\n',
      stderr: '',
    })
  })

  test('give the user a changed password, but refuse a changed root password', async () => {
    const wrongRoot = await runProgram('main.ts', settings(ports, { MONGO_PASSWORD: 'new', MONGO_ROOT_PASSWORD: 'x' }))
    expect(wrongRoot).toMatchObject({ status: 1, stderr: expect.stringContaining('MongoDB refuses the user root') })
    expect(await runProgram('main.ts', settings(ports, { MONGO_PASSWORD: 'new password' }))).toMatchObject({
      status: 0,
    })
    await asUser(ports[1] ?? 0, 'brigade', 'new password', (admin) => admin.command({ ping: 1 }))
    expect(await runProgram('main.ts', settings(ports))).toMatchObject({ status: 0 })
  })

  test('refuse to belong to another set', async () => {
    const url = settings(ports).MONGO_URL?.replace('replicaSet=brigade', 'replicaSet=other')
    expect(await runProgram('main.ts', settings(ports, { MONGO_URL: url }))).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('belongs to the replica set brigade, not to other'),
    })
  })

  test('import the sample data, also when the first try is killed', async () => {
    const withSample = settings(ports, { SAMPLE_DATA: 'true', DEMO_PASSWORD: 'demo password' })
    const killed = await runProgram('main.ts', withSample, { killAt: /Restaurants: [1-9]\d %/ })
    expect(killed.status).toBeNull()
    const ended = await runProgram('main.ts', withSample)
    expect(ended).toMatchObject({ status: 0, stderr: '' })
    expect(ended.stdout).toContain('Past orders: 100 %')
    expect(ended.stdout).toContain('customer@brigade.example and owner@brigade.example, password demo password')
    expect((await runProgram('main.ts', withSample)).stdout).not.toContain('Importing')
  })

  test('do without one of them, and say so; not without two', async () => {
    await mongods.stop(0)
    const ended = await runProgram('main.ts', settings(ports))
    expect(ended).toMatchObject({
      status: 0,
      stdout: expect.stringContaining(`Going on without 127.0.0.1:${ports[0]}`),
    })
    await mongods.stop(1)
    const alone = await runProgram('main.ts', settings(ports, { SETUP_WAIT_SECONDS: '2' }))
    expect(alone).toMatchObject({ status: 1, stderr: expect.stringContaining(`127.0.0.1:${ports[1]}`) })
  })

  test('are found at other addresses, if they all moved', { timeout: 60_000 }, async () => {
    await mongods.stop()
    const moved = await freePorts(3)
    for (const [index, port] of moved.entries()) mongods.start(index, port)
    const ended = await runProgram('main.ts', settings(moved))
    expect(ended).toMatchObject({ status: 0, stderr: '', stdout: expect.stringContaining('Moved the replica set') })
    expect(await runProgram('main.ts', settings(moved))).toMatchObject({ status: 0, stdout: 'The database is ready\n' })
  })
})

test('a single member is a set as well, with a root user that exists already', async () => {
  const { mongods, close } = await newMongods(1)
  try {
    const [port = 0] = await freePorts(1)
    mongods.start(0, port, [])
    const plain = await runProgram('main.ts', settings([port]))
    expect(plain).toMatchObject({ status: 1, stderr: expect.stringContaining('runs without --replSet brigade') })
    const client = new mongoose.mongo.MongoClient(`mongodb://127.0.0.1:${port}/`)
    await client
      .db('admin')
      .command({ createUser: 'root', pwd: 'root password', roles: ['root'], writeConcern: { w: 1, j: true } })
    await client.close()
    await mongods.stop()
    mongods.start(0, port)
    const wrong = await runProgram('main.ts', settings([port], { MONGO_ROOT_PASSWORD: 'wrong' }))
    expect(wrong).toMatchObject({ status: 1, stderr: expect.stringContaining('lets the user root initiate') })
    const ended = await runProgram('main.ts', settings([port]))
    expect(ended).toMatchObject({ status: 0, stderr: '' })
    expect(ended.stdout).not.toContain('Created the user root')
  } finally {
    await close()
  }
})

test('settings that cannot be used are all named, and nothing is tried', async () => {
  const ended = await runProgram('main.ts', { MONGO_URL: 'x', SAMPLE_DATA: 'maybe' })
  expect(ended).toMatchObject({ status: 1, stdout: '' })
  for (const name of ['MONGO_URL', 'MONGO_PASSWORD', 'MONGO_ROOT_PASSWORD', 'SAMPLE_DATA']) {
    expect(ended.stderr).toContain(name)
  }
})
