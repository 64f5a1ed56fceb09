import type { OpsEvent } from './wire.ts'

export interface EventLog {
  add(kind: OpsEvent['kind'], text: string): void
  /** The latest of those that were taken, oldest first: what is still to be taken would else be told twice. */
  all(): OpsEvent[]
  /** Those that came since the last call. */
  take(): OpsEvent[]
}

const kept = 200

/** What has happened, the latest of it. */
export function createEventLog(): EventLog {
  const events: OpsEvent[] = []
  let fresh: OpsEvent[] = []
  return {
    add(kind, text) {
      const event = { timeMs: Date.now(), kind, text }
      events.push(event)
      fresh.push(event)
      if (events.length > kept) events.shift()
      if (fresh.length > kept) fresh.shift()
    },
    all: () => events.slice(0, events.length - fresh.length),
    take() {
      const taken = fresh
      fresh = []
      return taken
    },
  }
}
