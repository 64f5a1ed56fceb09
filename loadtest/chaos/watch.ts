import type { Call } from '../consistency/history.ts'
import { groupOf, isExpected } from '../consistency/tally.ts'
import { Spread } from '../spread.ts'
import type { Who } from './row.ts'

const bucketMs = 100
/** So long success has to be normal until the service counts as recovered. */
export const normalMs = 2_000
const baselineMs = 2_000
// Of the rate before the fault: the machine is shared, and after a fault some of it still has to catch up.
const leastShare = 0.3
const mostFailing = 0.01
const forgottenAfterMs = 60_000
export const keptGapMs = 250

interface Bucket {
  reads: number
  writes: number
  failures: number
}

/** What was seen from outside while one row was inflicted, and until the stack was whole and at peace again. */
export class RowSight {
  requests = 0
  orders = 0
  /** Writes that were, of orders and restaurants. */
  acknowledged = 0
  /** By who asked, then by kind: `503 unavailable`. */
  readonly failures = new Map<Who, Map<string, number>>()
  readonly longestGapMs = { reads: 0, writes: 0 }
  /** All between two writes that were long enough to be noticed. */
  readonly writeGapsMs: number[] = []
  readonly latency = { reads: new Spread(), writes: new Spread() }
  /** The first call of each kind of failure, to look it up in the logs. */
  readonly examples: Call[] = []

  get failed(): number {
    return [...this.failures.values()].flatMap((kinds) => [...kinds.values()]).reduce((sum, each) => sum + each, 0)
  }
}

/** Hears every call, and tells what one row has done to them. */
export class Watch {
  #sight: RowSight | undefined
  #buckets = new Map<number, Bucket>()
  #lastSuccess = { reads: 0, writes: 0 }
  #baseline = { reads: 0, writes: 0 }

  /** From now on all that happens belongs to a new row. */
  open(now: number): RowSight {
    this.#baseline = this.#rateBefore(now)
    const sight = new RowSight()
    this.#sight = sight
    this.#lastSuccess = { reads: now, writes: now }
    const oldest = Math.floor((now - forgottenAfterMs) / bucketMs)
    for (const number of this.#buckets.keys()) if (number < oldest) this.#buckets.delete(number)
    return sight
  }

  /** What happens from now on belongs to no row. */
  close(now: number): void {
    this.#gap('reads', now)
    this.#gap('writes', now)
    this.#sight = undefined
  }

  add(call: Call): void {
    const group = groupOf[call.op]
    const who = whoAsked(call)
    if (group === undefined || who === undefined) return
    const bucket = this.#bucketAt(call.end)
    const failed = call.outcome !== 'ok' && !isExpected(call)
    if (failed) bucket.failures++
    else if (group !== 'sessions' && call.outcome === 'ok') bucket[group]++
    const sight = this.#sight
    if (!sight) return
    sight.requests++
    if (call.op === 'place') sight.orders++
    if (group === 'writes' && call.outcome === 'ok') sight.acknowledged++
    if (group !== 'sessions') sight.latency[group].add(call.end - call.start)
    if (failed) {
      const kinds = sight.failures.get(who) ?? new Map<string, number>()
      sight.failures.set(who, kinds)
      const kind = kindOf(call)
      if (!kinds.has(kind)) sight.examples.push(call)
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
    } else if (group !== 'sessions' && call.outcome === 'ok') {
      this.#gap(group, call.end)
      this.#lastSuccess[group] = call.end
    }
  }

  /** Milliseconds from `since` to the first moment after which service was normal; undefined while there is none. */
  recovery(since: number, now: number): number | undefined {
    const last = Math.floor((now - normalMs) / bucketMs)
    for (let first = Math.floor(since / bucketMs); first <= last; first++) {
      if (this.#isNormal(first)) return Math.max(0, first * bucketMs - since)
    }
    return undefined
  }

  #isNormal(first: number): boolean {
    const { reads, writes, failures } = this.#sum(first, first + normalMs / bucketMs)
    const all = reads + writes + failures
    const seconds = normalMs / 1_000
    return (
      failures <= mostFailing * all &&
      reads >= leastShare * this.#baseline.reads * seconds &&
      writes >= leastShare * this.#baseline.writes * seconds
    )
  }

  /** Successes per second. */
  #rateBefore(now: number): { reads: number; writes: number } {
    const until = Math.floor(now / bucketMs)
    const { reads, writes } = this.#sum(until - baselineMs / bucketMs, until)
    return { reads: (reads * 1_000) / baselineMs, writes: (writes * 1_000) / baselineMs }
  }

  #sum(first: number, until: number): Bucket {
    const sum = { reads: 0, writes: 0, failures: 0 }
    for (let number = first; number < until; number++) {
      const bucket = this.#buckets.get(number)
      if (!bucket) continue
      sum.reads += bucket.reads
      sum.writes += bucket.writes
      sum.failures += bucket.failures
    }
    return sum
  }

  #gap(group: 'reads' | 'writes', until: number): void {
    const gapMs = until - this.#lastSuccess[group]
    if (!this.#sight) return
    const { longestGapMs, writeGapsMs } = this.#sight
    longestGapMs[group] = Math.max(longestGapMs[group], gapMs)
    if (group === 'writes' && gapMs >= keptGapMs) writeGapsMs.push(gapMs)
  }

  #bucketAt(moment: number): Bucket {
    const number = Math.floor(moment / bucketMs)
    const bucket = this.#buckets.get(number) ?? { reads: 0, writes: 0, failures: 0 }
    this.#buckets.set(number, bucket)
    return bucket
  }
}

/** Undefined for what no person asks. */
export function whoAsked(call: Call): Who | undefined {
  const group = groupOf[call.op]
  return group === 'reads' && call.user === null ? 'public' : group
}

/** How a call failed, in the words of the limits. */
export function kindOf({ status, code }: Call): string {
  return status === 0 ? 'no answer' : `${status} ${code ?? 'without a code'}`
}
