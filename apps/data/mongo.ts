import mongoose, { type ClientSession, type Connection } from 'mongoose'
import { watchCommands } from './commands.ts'
import { heartbeatMs, type Members, watchMembers } from './members.ts'
import { type Pools, watchPools } from './pools.ts'

export interface MongoOptions {
  /** `mongodb://host:port,…/database?replicaSet=…`, without credentials. */
  url: string
  /** Left out where the server asks for none yet. */
  user?: string | undefined
  password?: string | undefined
  appName: string
  maxPoolSize?: number
  minPoolSize?: number
  socketTimeoutMs?: number
  serverSelectionTimeoutMs?: number
  waitQueueTimeoutMs?: number
  writeTimeoutMs?: number
  monitorCommands?: boolean
}

export interface Mongo {
  connection: Connection
  members: Members
  pools: Pools
  /** Of each pool. */
  maxPoolSize: number
  /** MongoDB's name of the command that was sent last in a session. */
  commandOf(session: ClientSession): string
  /** Names the replica set: what its clock says means nothing to another. */
  epoch: string
  /** Rejects when no member can be read within the selection timeout. */
  ping(): Promise<void>
  /** Waits for what runs, then closes all pools; safe to call twice. */
  close(): Promise<void>
}

// A frozen member's pool is cleared this long after its last heartbeat; reads have left it long before.
const connectTimeoutMs = 2_000

/**
 * Connects Mongoose by a `MongoClient` of our own, so that listeners see its pools and commands from the first one.
 * Writes ask for the majority and are retried once by the driver.
 * @throws the driver's error when no member can be selected in time
 */
export async function connectMongo(options: MongoOptions): Promise<Mongo> {
  const maxPoolSize = options.maxPoolSize ?? 50
  const client = new mongoose.mongo.MongoClient(options.url, {
    ...(options.password === undefined
      ? {}
      : { auth: { username: options.user ?? '', password: options.password }, authSource: 'admin' }),
    appName: options.appName,
    maxPoolSize,
    minPoolSize: options.minPoolSize ?? 10,
    socketTimeoutMS: options.socketTimeoutMs ?? 45_000,
    serverSelectionTimeoutMS: options.serverSelectionTimeoutMs ?? 5_000,
    waitQueueTimeoutMS: options.waitQueueTimeoutMs ?? 2_000,
    connectTimeoutMS: connectTimeoutMs,
    heartbeatFrequencyMS: heartbeatMs,
    retryWrites: true,
    retryReads: true,
    writeConcern: { w: 'majority', wtimeoutMS: options.writeTimeoutMs ?? 5_000 },
    // For tests that watch what goes over the wire; costs a second parse of every answer.
    monitorCommands: options.monitorCommands ?? false,
  })
  const members = watchMembers(client)
  const pools = watchPools(client, members)
  let epoch: string
  try {
    await client.connect()
    epoch = await epochOf(client)
  } catch (error) {
    members.close()
    await client.close()
    throw error
  }
  const connection = mongoose.createConnection()
  connection.setClient(client)
  return {
    connection,
    members,
    pools,
    maxPoolSize,
    commandOf: watchCommands(connection),
    epoch,
    async ping() {
      await client.db('admin').command({ ping: 1 }, { readPreference: 'primaryPreferred' })
    },
    async close() {
      members.close()
      await connection.close()
    },
  }
}

/** Whether the credentials are wrong, so that no further try will do. */
export function isAuthenticationFailure(error: unknown): boolean {
  return error instanceof mongoose.mongo.MongoServerError && error.code === 18
}

/** The id that a replica set gets when it is initiated, and keeps; a single server has none. */
async function epochOf(client: mongoose.mongo.MongoClient): Promise<string> {
  try {
    const { config } = await client
      .db('admin')
      .command({ replSetGetConfig: 1, maxTimeMS: 5_000 }, { readPreference: 'primaryPreferred' })
    return String(config.settings.replicaSetId)
  } catch (error) {
    // NoReplicationEnabled
    if (error instanceof mongoose.mongo.MongoServerError && error.code === 76) return 'single'
    throw error
  }
}
