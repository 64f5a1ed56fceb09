import { type Adviser, createAdviser } from './adviser.ts'
import { createEventLog, type EventLog } from './events.ts'
import { createHistory } from './history.ts'
import type { Machine } from './machine.ts'
import type { Members } from './members.ts'
import type { NginxWatch } from './nginx.ts'
import { nodesOf } from './nodes.ts'
import type { OwnUsage } from './own-usage.ts'
import { poll } from './poll.ts'
import type { RedisWatch } from './redis.ts'
import type { Replicas } from './replicas.ts'
import type { StackProcess } from './stack-file.ts'
import { createGroupTotals, type GroupTotals, type ProcessUsage, processUsage } from './usage.ts'
import { valuesOf } from './values.ts'
import type { Sample, Snapshot, State, Update } from './wire.ts'

/** Everything that is sampled. */
export interface Sources {
  /** What the launcher's list names; empty where there is none. */
  stack: () => StackProcess[]
  replicas: Replicas
  nginx: NginxWatch
  redis: RedisWatch
  members: Members
  machine: Machine
  own: (nowMs: number) => OwnUsage
}

export interface Watch {
  readonly events: EventLog
  snapshot(): Snapshot
  /** What each process used at the last second. */
  usage(): ProcessUsage[]
  totals: GroupTotals
  /** Calls back each second until the result is called. */
  subscribe(listener: (update: Update) => void): () => void
  close(): Promise<void>
}

const everyMs = 1_000
/** The samplers begin with it and every second: by then most of their answers are there, and none is a second old. */
const startMs = 500

/** Looks once a second at what the samplers have, without waiting for any of them. */
export function createWatch(sources: Sources, events: EventLog = createEventLog()): Watch {
  const history = createHistory()
  const totals = createGroupTotals()
  const listeners = new Set<(update: Update) => void>()
  const adviser: Adviser = createAdviser({
    fired: ({ title, advice }, figure) => events.add('alert-fired', `${title}: ${figure}. ${advice}`),
    cleared: ({ title }, figure) => events.add('alert-cleared', `${title} cleared: ${figure}`),
  })
  let usage: ProcessUsage[] = []
  let state: State = { nodes: [], advice: [] }

  const look = async () => {
    const nowMs = performance.now()
    usage = processUsage(sources, nowMs)
    totals.add(usage)
    const values = valuesOf(sources, usage, nowMs)
    const sample: Sample = { timeMs: Date.now(), values }
    history.add(sample)
    state = { nodes: nodesOf(sources, usage, nowMs), advice: adviser.judge(values, nowMs) }
    const update = { sample, state, events: events.take() }
    for (const listener of listeners) listener(update)
  }
  const stop = poll(everyMs, everyMs, look, startMs)
  return {
    events,
    totals,
    usage: () => usage,
    snapshot: () => ({ history: history.snapshot(), state, events: events.all() }),
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close: stop,
  }
}
