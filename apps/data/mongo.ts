import mongoose, { type Connection } from 'mongoose'

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
}

/** A member of the replica set as this process sees it. */
export interface Member {
  /** By the tag `member` of the set's configuration, else its address. */
  name: string
  role: 'primary' | 'secondary' | 'other'
}

export interface Mongo {
  connection: Connection
  /** By address, kept current. */
  members: ReadonlyMap<string, Member>
  /** Rejects when no member can be read within the selection timeout. */
  ping(): Promise<void>
  /** Waits for what runs, then closes all pools; safe to call twice. */
  close(): Promise<void>
}

// A frozen member is found after two heartbeats; until then, only its own pool suffers.
const heartbeatMs = 1_000
const connectTimeoutMs = 2_000

const roles: Record<string, Member['role']> = {
  RSPrimary: 'primary',
  Standalone: 'primary',
  Mongos: 'primary',
  RSSecondary: 'secondary',
}

/**
 * Connects Mongoose by a `MongoClient` of our own, so that listeners see its pools and commands from the first one.
 * Writes ask for the majority and are retried once by the driver.
 * @throws the driver's error when no member can be selected in time
 */
export async function connectMongo(options: MongoOptions): Promise<Mongo> {
  const client = new mongoose.mongo.MongoClient(options.url, {
    ...(options.password === undefined
      ? {}
      : { auth: { username: options.user ?? '', password: options.password }, authSource: 'admin' }),
    appName: options.appName,
    maxPoolSize: options.maxPoolSize ?? 50,
    minPoolSize: options.minPoolSize ?? 10,
    socketTimeoutMS: options.socketTimeoutMs ?? 45_000,
    serverSelectionTimeoutMS: options.serverSelectionTimeoutMs ?? 5_000,
    waitQueueTimeoutMS: options.waitQueueTimeoutMs ?? 2_000,
    connectTimeoutMS: connectTimeoutMs,
    heartbeatFrequencyMS: heartbeatMs,
    retryWrites: true,
    retryReads: true,
    writeConcern: { w: 'majority', wtimeoutMS: options.writeTimeoutMs ?? 5_000 },
    monitorCommands: true,
  })
  const members = new Map<string, Member>()
  client.on('serverDescriptionChanged', ({ address, newDescription }) => {
    members.set(address, { name: newDescription.tags.member ?? address, role: roles[newDescription.type] ?? 'other' })
  })
  client.on('serverClosed', ({ address }) => members.delete(address))
  try {
    await client.connect()
  } catch (error) {
    await client.close()
    throw error
  }
  const connection = mongoose.createConnection()
  connection.setClient(client)
  return {
    connection,
    members,
    async ping() {
      await client.db('admin').command({ ping: 1 }, { readPreference: 'primaryPreferred' })
    },
    async close() {
      await connection.close()
    },
  }
}
