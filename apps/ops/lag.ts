/** How long a written heartbeat was not yet visible at a member. */
export interface LagMeter {
  /** The value for the next heartbeat: the time of day in milliseconds, and more than any before it. */
  nextValue(): number
  /**
   * A heartbeat was acknowledged.
   *
   * @param previous what the primary held before it: of what was acknowledged and is above, nothing survived
   */
  wrote(value: number, previous: number | undefined, nowMs: number): void
  /** A member showed this value; undefined where it has no heartbeat yet. */
  saw(member: string, value: number | undefined, nowMs: number): void
  /** Nothing is known of this member any more. */
  forget(member: string): void
  /**
   * In milliseconds, never below 0. Null while it cannot be told: nobody takes writes, or the member was not read lately.
   */
  lagMs(member: string, nowMs: number): number | null
}

/** Heartbeats that are remembered: a quarter of an hour of them. What a member lacks beyond is told by the value it shows. */
const remembered = 4_096
/** Without a write, or a read, for so long, nothing is known. */
const staleMs = 1_500

interface Heartbeat {
  value: number
  /** When it was acknowledged; undefined for one of before this process. */
  atMs: number | undefined
}

interface Seen {
  value: number
  atMs: number
  /** How old the latest heartbeat was when it was first seen here; 0 where it was not. */
  delayMs: number
}

/**
 * Times are on a clock that never goes back, values of heartbeats on the time of day: it only serves for heartbeats that
 * are no longer remembered.
 */
export function createLagMeter(): LagMeter {
  const heartbeats: Heartbeat[] = []
  const seen = new Map<string, Seen>()

  return {
    nextValue: () => Math.max(Date.now(), (heartbeats.at(-1)?.value ?? 0) + 1),
    wrote(value, previous, nowMs) {
      // A primary that was replaced takes along what no other member had. Nobody will ever see it.
      while (previous !== undefined && (heartbeats.at(-1)?.value ?? 0) > previous) heartbeats.pop()
      if (heartbeats.length === 0 && previous !== undefined) heartbeats.push({ value: previous, atMs: undefined })
      heartbeats.push({ value, atMs: nowMs })
      if (heartbeats.length > remembered) heartbeats.shift()
    },
    saw(member, value = 0, nowMs) {
      const before = seen.get(member)
      const latest = heartbeats.at(-1)
      let delayMs = before?.delayMs ?? 0
      // Of one that is behind it is not known when it got what it shows.
      if (latest && latest.value > value) delayMs = 0
      else if (latest?.atMs !== undefined && before?.value !== value) delayMs = Math.max(0, nowMs - latest.atMs)
      seen.set(member, { value, atMs: nowMs, delayMs })
    },
    forget: (member) => void seen.delete(member),
    lagMs(member, nowMs) {
      const last = seen.get(member)
      const lastWriteMs = heartbeats.at(-1)?.atMs
      if (!last || lastWriteMs === undefined) return null
      if (nowMs - last.atMs > staleMs || nowMs - lastWriteMs > staleMs) return null
      // From the latest, since it is one of the last few but for a member far behind.
      const lacking = heartbeats[heartbeats.findLastIndex(({ value }) => value <= last.value) + 1]
      if (!lacking) return last.delayMs
      const isFirst = lacking === heartbeats[0] && last.value > 0
      // Those between the value that it shows and the first one remembered may be lacking too.
      const lackedMs = isFirst || lacking.atMs === undefined ? Date.now() - last.value : nowMs - lacking.atMs
      return Math.max(0, lackedMs, last.delayMs)
    },
  }
}
