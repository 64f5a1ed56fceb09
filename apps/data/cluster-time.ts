import mongoose, { type mongo } from 'mongoose'

const { BSON } = mongoose.mongo

/**
 * A moment of a replica set's logical clock: seconds, and a counter within the second. Every write of the set has one,
 * and they are in the order of the writes.
 */
export interface ClusterTime {
  seconds: number
  counter: number
}

export const beginning: ClusterTime = { seconds: 0, counter: 0 }

export function fromTimestamp(timestamp: mongo.Timestamp): ClusterTime {
  return { seconds: timestamp.getHighBitsUnsigned(), counter: timestamp.getLowBitsUnsigned() }
}

export function toTimestamp({ seconds, counter }: ClusterTime): mongo.Timestamp {
  return new BSON.Timestamp({ t: seconds, i: counter })
}

/** Negative when `a` is earlier, 0 when they are the same, positive when it is later. */
export function compare(a: ClusterTime, b: ClusterTime): number {
  return a.seconds - b.seconds || a.counter - b.counter
}

export function later(a: ClusterTime, b: ClusterTime): ClusterTime {
  return compare(a, b) >= 0 ? a : b
}

/** As {@link parseTime} takes it back, and as scripts read it. */
export function formatTime({ seconds, counter }: ClusterTime): string {
  return `${seconds}.${counter}`
}

export function parseTime(text: string | null | undefined): ClusterTime | undefined {
  const parts = /^(\d+)\.(\d+)$/.exec(text ?? '')
  return parts ? { seconds: Number(parts[1]), counter: Number(parts[2]) } : undefined
}

/** The clock as the set signs it; without it, a member that is behind refuses a time that it has not heard of. */
export type SignedClusterTime = mongo.ClusterTime

export function laterSigned(a: SignedClusterTime | undefined, b: SignedClusterTime | undefined) {
  if (!a || !b) return a ?? b
  return a.clusterTime.greaterThan(b.clusterTime) ? a : b
}

// Extended JSON: plain JSON would turn timestamps and signatures into objects that no server takes back.
export function serializeSigned(time: SignedClusterTime | undefined): string {
  return time ? BSON.EJSON.stringify(time) : ''
}

export function parseSigned(text: string): SignedClusterTime | undefined {
  return text === '' ? undefined : (BSON.EJSON.parse(text) as SignedClusterTime)
}
