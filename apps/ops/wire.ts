/** What the page gets, by the stream and as a snapshot. Types only: the page checks itself against them. */

/** One second. Values are null where they are unknown; README.md lists the names of the series. */
export interface Sample {
  timeMs: number
  values: Record<string, number | null>
}

/** Up to half an hour, a column a second; every series is as long as `timesMs`. */
export interface History {
  timesMs: number[]
  series: Record<string, (number | null)[]>
}

export type Health = 'ok' | 'starting' | 'warning' | 'down' | 'unknown'

/** A process of the stack. */
export interface Node {
  id: string
  kind: 'nginx' | 'app' | 'redis' | 'mongod' | 'ops'
  name: string
  health: Health
  role?: 'primary' | 'secondary' | 'other'
  /** One short line: "412 req/s", "lag 12 ms". */
  detail: string
  /** 0 to 1: of the requests for a replica, of the reads from the database for a mongod. */
  share?: number
  /** In cores. */
  cpu?: number
  memoryBytes?: number
}

/** A figure held against its threshold. */
export interface Advice {
  id: string
  title: string
  figure: string
  threshold: string
  advice: string
  state: 'ok' | 'act' | 'unknown'
}

export interface OpsEvent {
  timeMs: number
  kind:
    | 'election'
    | 'replica-joined'
    | 'replica-left'
    | 'replica-down'
    | 'replica-up'
    | 'member-down'
    | 'member-up'
    | 'server-restarted'
    | 'alert-fired'
    | 'alert-cleared'
  text: string
}

export interface State {
  nodes: Node[]
  advice: Advice[]
}

/** Data of the stream's `history` event, the first on each connection, and of `/ops/snapshot`. */
export interface Snapshot {
  history: History
  state: State
  /** The latest, oldest first. */
  events: OpsEvent[]
}

/** Data of the stream's `sample` event, one a second. */
export interface Update {
  sample: Sample
  state: State
  /** Those since the event before. */
  events: OpsEvent[]
}
