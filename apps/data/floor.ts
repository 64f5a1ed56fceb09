import type { ClusterTime } from './cluster-time.ts'
import type { Members } from './members.ts'
import type { RedisRun } from './redis.ts'

/**
 * A moment that has all that was acknowledged before Redis last began to run: one that was restarted, or replaced by its
 * replica, may have lost the latest tokens and fences. Undefined until it is known.
 */
export type Floor = () => ClusterTime | undefined

/** What was acknowledged before a run of Redis is known is committed at the primary when that is sampled next. */
export function createFloor(run: RedisRun, members: Pick<Members, 'committedAfter'>): Floor {
  let floor: { runId: string; time: ClusterTime } | undefined
  return () => {
    const current = run.current()
    if (!current) return undefined
    if (floor?.runId !== current.id) {
      const time = members.committedAfter(current.sinceMs)
      if (!time) return undefined
      floor = { runId: current.id, time }
    }
    return floor.time
  }
}
