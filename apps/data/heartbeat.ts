import mongoose, { type mongo } from 'mongoose'
import type { DirectLine } from './direct-line.ts'

/** The collection of the one document that ops writes at the primary and reads at the secondaries. */
export const heartbeatCollection = 'ops.heartbeat'
const filter = { _id: 'heartbeat' }

/** When, on the set's own clock, a heartbeat was written. */
export interface Stamp {
  readonly operationTime: mongo.Timestamp
  readonly signed: mongo.Document | undefined
}

/**
 * Writes a heartbeat at the primary, which alone acknowledges it.
 *
 * @returns the value that it had there before; undefined for the very first
 * @throws the driver's error, also where this member is not the primary
 */
export async function writeHeartbeat(
  line: DirectLine,
  database: string,
  value: number,
): Promise<{ previous: number | undefined; stamp: Stamp }> {
  const answer = await line.command(database, {
    findAndModify: heartbeatCollection,
    query: filter,
    update: { $set: { at: value } },
    upsert: true,
    writeConcern: { w: 1 },
    maxTimeMS: 500,
  })
  return {
    previous: answer.value?.at,
    stamp: { operationTime: answer.operationTime, signed: answer.$clusterTime },
  }
}

/**
 * Reads the heartbeat that a member shows, once it shows that of `after` or `waitMs` are over.
 *
 * @returns undefined where there is none
 * @throws the driver's error where the member cannot be read
 */
export async function readHeartbeat(
  line: DirectLine,
  database: string,
  after: Stamp,
  waitMs: number,
): Promise<number | undefined> {
  const find = { find: heartbeatCollection, filter, limit: 1 }
  const read = async (options: mongo.Document) => {
    const answer = await line.command(database, { ...find, ...options })
    return answer.cursor.firstBatch[0]?.at as number | undefined
  }
  try {
    const readConcern = { level: 'local', afterClusterTime: after.operationTime }
    const signed = after.signed ? { $clusterTime: after.signed } : {}
    return await read({ readConcern, ...signed, maxTimeMS: waitMs })
  } catch (error) {
    if (!isBehind(error)) throw error
    return read({ maxTimeMS: 500 })
  }
}

/** MaxTimeMSExpired, or InvalidOptions for a moment that the member has not heard of. */
function isBehind(error: unknown): boolean {
  return error instanceof mongoose.mongo.MongoServerError && [50, 72].includes(Number(error.code))
}
