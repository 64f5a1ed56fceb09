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
  const client = new mongoose.mongo.MongoClient(`mongodb://${address}/`, {
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
  return {
    address,
    command: (database, document) => client.db(database).command(document),
    close: () => client.close(),
  }
}
