import { randomFillSync } from 'node:crypto'
import { Types } from 'mongoose'

/**
 * A new ObjectId that sorts by time to the millisecond, whichever replica made it: four bytes of seconds, two of the
 * fraction, six random. The driver's own sort by the second only, then by process.
 */
export function newId(nowMs = Date.now()): Types.ObjectId {
  const bytes = Buffer.alloc(12)
  bytes.writeUInt32BE(Math.floor(nowMs / 1000), 0)
  bytes.writeUInt16BE(nowMs % 1000, 4)
  randomFillSync(bytes, 6)
  return new Types.ObjectId(bytes)
}

export function toObjectId(id: string): Types.ObjectId {
  return Types.ObjectId.createFromHexString(id)
}

/** An id for things that live outside MongoDB but look the same to clients: 24 hex digits. */
export function newPublicId(): string {
  return newId().toHexString()
}
