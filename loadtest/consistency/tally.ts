import { Spread } from '../spread.ts'
import type { Call, Op } from './history.ts'

export type Group = 'reads' | 'writes' | 'sessions'

export const groupOf: Partial<Record<Op, Group>> = {
  place: 'writes',
  cancel: 'writes',
  advance: 'writes',
  'edit-name': 'writes',
  'edit-menu': 'writes',
  'open-restaurant': 'writes',
  'get-order': 'reads',
  'list-orders': 'reads',
  'list-queue': 'reads',
  'get-restaurant': 'reads',
  search: 'reads',
  'log-in': 'sessions',
  revoke: 'sessions',
  'list-sessions': 'sessions',
}

/** Refusals that belong to the game: a lost race for an order, a tag that is not the latest, a session that was revoked. */
export function isExpected({ op, status }: Call): boolean {
  return status === 401 || status === 409 || status === 412 || (op === 'revoke' && status === 404)
}

export const slowReadMs = 500
const keptExamples = 100
const quiet = 'none'

export interface FaultTally {
  name: string
  /** How often it was done, and for how long in total. */
  times: number
  totalMs: number
  calls: number
  /** By `reads 503 unavailable`. */
  errors: Map<string, number>
  latency: Record<Group, Spread>
  waits: Spread
  /** Between two that succeeded, whoever made them. */
  longestGapMs: { reads: number; writes: number }
  slowReads: number
  slowReadErrors: number
}

/** Counts calls: where they were read from, how long they took, what went wrong during which fault. */
export class Tally {
  readonly faults = new Map<string, FaultTally>()
  /** Answers of reads by where their data came from: `secondary mongo-2`. */
  readonly sources = new Map<string, number>()
  /** Time that each read of the database had waited. */
  readonly waits = new Spread()
  readonly latency = new Map<Op, Spread>()
  calls = 0
  /** Errors that have no excuse: 500, what no client should ever be told here, and any while nothing is being done. */
  readonly unexplained: Call[] = []
  readonly slowReads: Call[] = []
  unexplainedCount = 0
  #isOpen = false
  #lastSuccess: Partial<Record<Group, { at: number; fault: string | null }>> = {}

  /** What comes before and after the run is no part of it. */
  open(): void {
    this.#isOpen = true
  }

  close(): void {
    this.#isOpen = false
  }

  get hasErrors(): boolean {
    return [...this.faults.values()].some(({ errors }) => errors.size > 0)
  }

  add(call: Call): void {
    if (!this.#isOpen) return
    if (call.op === 'fault') {
      const tally = this.#of(call.fault)
      tally.times++
      tally.totalMs += call.end - call.start
      return
    }
    const group = groupOf[call.op]
    if (group === undefined) return
    const tally = this.#of(call.fault)
    const timeMs = call.end - call.start
    this.calls++
    tally.calls++
    tally.latency[group].add(timeMs)
    const spread = this.latency.get(call.op) ?? new Spread()
    this.latency.set(call.op, spread)
    spread.add(timeMs)
    if (call.outcome === 'ok') {
      this.#succeed(call, group)
    } else if (!isExpected(call)) {
      const error = `${group} ${call.status || 'no answer'} ${call.code ?? ''}`.trim()
      tally.errors.set(error, (tally.errors.get(error) ?? 0) + 1)
      const isFault = call.status === 0 || call.status > 500
      if (!isFault || call.fault === null) this.#keepUnexplained(call)
    }
    if (group !== 'reads') return
    this.#countSource(call, tally)
    if (timeMs <= slowReadMs) return
    tally.slowReads++
    if (call.outcome !== 'ok') tally.slowReadErrors++
    // Failures are always kept: they are few, and what one looks for.
    if (call.outcome !== 'ok' || this.slowReads.length < keptExamples) this.slowReads.push(call)
  }

  #of(fault: string | null): FaultTally {
    const name = fault?.split(' ')[0] ?? quiet
    const known = this.faults.get(name)
    if (known) return known
    const fresh: FaultTally = {
      ...{ name, times: 0, totalMs: 0, calls: 0, errors: new Map<string, number>(), waits: new Spread() },
      latency: { reads: new Spread(), writes: new Spread(), sessions: new Spread() },
      longestGapMs: { reads: 0, writes: 0 },
      ...{ slowReads: 0, slowReadErrors: 0 },
    }
    this.faults.set(name, fresh)
    return fresh
  }

  #succeed(call: Call, group: Group): void {
    const last = this.#lastSuccess[group]
    this.#lastSuccess[group] = { at: call.end, fault: call.fault }
    if (!last || group === 'sessions') return
    const { longestGapMs } = this.#of(call.fault ?? last.fault)
    longestGapMs[group] = Math.max(longestGapMs[group], call.end - last.at)
  }

  #countSource(call: Call, tally: FaultTally): void {
    if (call.outcome !== 'ok') return
    for (const source of call.from?.split(', ') ?? ['unknown']) {
      this.sources.set(source, (this.sources.get(source) ?? 0) + 1)
      if (source === 'cache' || source.startsWith('edge')) continue
      this.waits.add(call.waitMs)
      tally.waits.add(call.waitMs)
    }
  }

  #keepUnexplained(call: Call): void {
    this.unexplainedCount++
    if (this.unexplained.length < keptExamples) this.unexplained.push(call)
  }
}
