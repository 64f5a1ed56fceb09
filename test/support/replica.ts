import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inject } from 'vitest'
import { createIndexes } from '../../apps/data/indexes.ts'
import { answersOk } from '../../infra/probes.ts'
import type { ProcessIdentity } from '../../infra/process-table.ts'
import { Supervised } from '../../infra/supervisor.ts'
import { newDatabaseName, openMongo } from './api.ts'
import { freePorts, rootUser } from './servers.ts'

const root = join(import.meta.dirname, '../..')

export interface ReplicaOptions {
  settings?: Record<string, string>
  /** Of Node. */
  flags?: string[]
  /** How many files it may have open. */
  openFiles?: number
  /** Where its log goes: a file, unless given. */
  logPath?: string
}

export interface RunningReplica {
  name: string
  port: number
  /** Its process at the moment: it is started again when it ends, as by `npm start`. */
  identity(): ProcessIdentity | undefined
  restarts(): number
  /** Ends it. @returns what its supervisor had to say to that */
  end(): Promise<string[]>
  /** What it has logged, one object per line; lines that are none are left out. */
  log(): Promise<Record<string, unknown>[]>
  /** Everything that it has said. */
  said(): Promise<string>
}

export interface RunningReplicas {
  replicas: RunningReplica[]
  stop(): Promise<void>
}

/** Real replicas as processes of their own, one for each of the options, on the shared servers and a database of their own. */
export async function startReplicas(all: ReplicaOptions[]): Promise<RunningReplicas> {
  const { mongoHosts, rootPassword, redisPort, redisPassword } = inject('servers')
  const database = newDatabaseName()
  const mongo = await openMongo(database)
  await createIndexes(mongo.connection)
  const dir = await mkdtemp(join(tmpdir(), 'brigade-replicas-'))
  const ports = await freePorts(all.length)
  const told: string[] = []
  const supervised = all.map(({ settings = {}, flags = [], openFiles, logPath }, index) => {
    const name = `app-${index + 1}`
    const port = ports[index] ?? 0
    const args = [...flags, join(root, 'apps/api/main.ts')]
    const limited = ['-c', `ulimit -n ${openFiles} && exec "$0" "$@"`, process.execPath, ...args]
    return new Supervised(
      {
        role: 'app',
        name,
        port,
        command: openFiles === undefined ? process.execPath : 'bash',
        args: openFiles === undefined ? args : limited,
        env: {
          PATH: process.env.PATH,
          NAME: name,
          PORT: `${port}`,
          MONGO_URL: `mongodb://${mongoHosts.join()}/${database}?replicaSet=brigade`,
          MONGO_USER: rootUser,
          MONGO_PASSWORD: rootPassword,
          MONGO_MIN_POOL_SIZE: '0',
          REDIS_URL: `redis://127.0.0.1:${redisPort}`,
          REDIS_PASSWORD: redisPassword,
          // A replica that shares its cores with what is done to it must not take that for an outage of Redis.
          REDIS_COMMAND_TIMEOUT_MS: '10000',
          SESSION_SECRET: 'a secret of the tests and of nobody else',
          RATE_LIMIT_MAX: '1000000',
          ...settings,
        },
        cwd: root,
        logPath: logPath ?? join(dir, `${name}.log`),
        isReady: () => answersOk('127.0.0.1', port, '/readyz'),
        readyWithinMs: 30_000,
        stopSignal: 'SIGTERM',
      },
      { tell: (message) => told.push(message), onChange: () => {} },
    )
  })
  const stop = async () => {
    await Promise.all(supervised.map((each) => each.stop(10_000)))
    await mongo.connection.dropDatabase()
    await mongo.close()
    await rm(dir, { recursive: true, force: true })
  }
  try {
    const forever = new AbortController().signal
    await Promise.all(supervised.map((each) => each.start(forever)))
  } catch (error) {
    await stop()
    throw error
  }
  const replicas = supervised.map((each) => {
    const said = () => readFile(each.program.logPath, 'utf8')
    return {
      name: each.program.name,
      port: each.program.port,
      identity: () => each.identity,
      restarts: () => each.restarts,
      end: async () => {
        const before = told.length
        await each.stop(10_000)
        return told.slice(before)
      },
      said,
      log: async () =>
        (await said())
          .split('\n')
          .filter((line) => line.startsWith('{'))
          .map((line) => JSON.parse(line)),
    }
  })
  return { replicas, stop }
}
