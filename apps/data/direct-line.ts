import mongoose, { type mongo } from 'mongoose'
import type { Credentials } from './admin.ts'

/** A connection to one mongod, kept for as long as it is watched. What it is asked ends within bounded time. */
export interface DirectLine {
  readonly address: string
  /** @throws the driver's error, within about three seconds when the mongod is silent */
  command(database: string, document: mongo.Document): Promise<mongo.Document>
  /** Closes it at once; commands under way fail. */
  close(): Promise<void>
}

// What is watched is on the same network: it answers in milliseconds or not at all.
const silenceMs = 900

/** Opens a line; no traffic before the first command. It connects again by itself. */
export function openDirectLine(address: string, credentials: Credentials | undefined, appName: string): DirectLine {
  let client: Promise<mongo.MongoClient> | undefined
  let isClosed = false

  // The driver gives a client up for good whose first connection fails, so that the next command takes a new one.
  function connect(): Promise<mongo.MongoClient> {
    if (isClosed) throw new mongoose.mongo.MongoClientClosedError()
    client ??= clientOf(address, credentials, appName)
      .connect()
      .catch((error) => {
        client = undefined
        throw error
      })
    return client
  }

  return {
    address,
    command: async (database, document) => (await connect()).db(database).command(document),
    async close() {
      isClosed = true
      const open = await client?.catch(() => undefined)
      await open?.close()
    },
  }
}

/** Whether the other side has ended the connection, or refuses one, as a mongod does that ends, and not one that is slow. */
export function isEnded(error: unknown): boolean {
  const { MongoNetworkError, MongoNetworkTimeoutError } = mongoose.mongo
  return error instanceof MongoNetworkError && !(error instanceof MongoNetworkTimeoutError)
}

function clientOf(address: string, credentials: Credentials | undefined, appName: string): mongo.MongoClient {
  return new mongoose.mongo.MongoClient(`mongodb://${address}/`, {
    ...(credentials
      ? { auth: { username: credentials.user, password: credentials.password }, authSource: 'admin' }
      : {}),
    appName,
    directConnection: true,
    serverSelectionTimeoutMS: silenceMs,
    connectTimeoutMS: silenceMs,
    socketTimeoutMS: silenceMs,
    waitQueueTimeoutMS: silenceMs,
    heartbeatFrequencyMS: 1_000,
    serverMonitoringMode: 'poll',
    maxPoolSize: 2,
    retryReads: false,
  })
}
