import type { mongo } from 'mongoose'
import { beginning, type ClusterTime, compare, fromTimestamp, later } from './cluster-time.ts'

export type Role = 'primary' | 'secondary' | 'other'

/** What this process knows of a member of the replica set. */
export interface Member {
  readonly address: string
  /** By the tag `member` of the set's configuration, else its address. */
  readonly name: string
  /** Whether it carries the tag `member`: only then can a read be sent to it and to no other. */
  readonly tagged: boolean
  readonly role: Role
  /** Everything up to here is committed by the majority and can be read from it. */
  readonly committed: ClusterTime
  /** When it last gave a sign of life, on the clock of {@link now}. */
  readonly seenAtMs: number
  /** Of a primary: its election, and a moment that has all that was acknowledged before it. */
  readonly elected: { id: string; at: ClusterTime } | undefined
}

/** What is known of all members, by the driver's own heartbeats and by every answer that says how far a member is. */
export interface Members {
  byAddress(address: string): Member | undefined
  /** Members that may serve reads: up, a secondary, seen lately, and not given up since. */
  secondaries(): Member[]
  primary(): Member | undefined
  /** As {@link primary}, however long ago it was heard of: where the driver sends what is for the primary. */
  latestPrimary(): Member | undefined
  /** Whether there is a primary, or enough members are up to elect one. */
  mayHavePrimary(): boolean
  /** Whether members go on to follow a primary, long after this process could last reach one. */
  isCutOff(): boolean
  /**
   * What the primary had committed when it was first sampled after this moment, or as soon after it as is remembered;
   * undefined until it has been.
   */
  committedAfter(atMs: number): ClusterTime | undefined
  /** An upper bound of how old the data is that this member shows; infinite when it cannot be told. */
  stalenessMs(member: Member): number
  /** A member's answer showed that it is at least this far. */
  learn(name: string, committed: ClusterTime): void
  /** Sends no more reads there until it shows a sign of life that is younger than this. */
  giveUp(name: string): void
  /** Calls back once, as soon as the member is given up, has another role or is silent. The result unsubscribes. */
  onLost(name: string, callback: () => void): () => void
  close(): void
}

/** The driver samples each member this often, without being asked: that is all that sampling costs. */
export const heartbeatMs = 250

// A member that has been silent for this long is not asked any more: four heartbeats.
const silentMs = 1_000

// Secondaries follow a primary that is lost until they have missed it: for two seconds when it was killed, three when it
// is frozen.
const cutOffMs = 4_000

// Staleness beyond this much history counts as infinite.
const historyMs = 60_000

/** A clock that no correction of the time of day moves. */
export function now(): number {
  return performance.now()
}

interface State {
  address: string
  name: string
  tagged: boolean
  role: Role
  committed: ClusterTime
  seenAtMs: number
  elected: Member['elected']
  /** Whom it takes for the primary. */
  follows: { address: string; sinceMs: number } | undefined
  givenUp: boolean
  waiters: Set<() => void>
}

interface Hello {
  isWritablePrimary?: boolean
  secondary?: boolean
  electionId?: mongo.ObjectId
  primary?: string
  hosts?: string[]
  tags?: Record<string, string>
  lastWrite?: { opTime?: { ts: mongo.Timestamp }; majorityOpTime?: { ts: mongo.Timestamp } }
}

/** Listens to a client from before it connects. */
export function watchMembers(client: mongo.MongoClient): Members {
  const states = new Map<string, State>()
  // How far the primary was when: tells since when a member lacks something.
  const history: { atMs: number; time: ClusterTime; committed: ClusterTime }[] = []
  let memberCount = 1
  let primarySeenAtMs = now()

  function lose(state: State): void {
    const waiters = [...state.waiters]
    state.waiters.clear()
    for (const callback of waiters) callback()
  }

  client.on('serverHeartbeatSucceeded', ({ connectionId: address, reply }) => {
    const hello = reply as Hello
    const state: State = states.get(address) ?? {
      address,
      name: address,
      tagged: false,
      role: 'other',
      committed: beginning,
      seenAtMs: 0,
      elected: undefined,
      follows: undefined,
      givenUp: false,
      waiters: new Set(),
    }
    states.set(address, state)
    state.name = hello.tags?.member ?? address
    state.tagged = hello.tags?.member !== undefined
    const formerRole = state.role
    state.role = hello.isWritablePrimary ? 'primary' : hello.secondary ? 'secondary' : 'other'
    memberCount = hello.hosts?.length ?? memberCount
    state.seenAtMs = now()
    if (state.follows?.address !== hello.primary) {
      state.follows = hello.primary === undefined ? undefined : { address: hello.primary, sinceMs: state.seenAtMs }
    }
    if (state.role === 'primary') primarySeenAtMs = state.seenAtMs
    state.givenUp = false
    const committed = hello.lastWrite?.majorityOpTime
    if (committed) state.committed = later(state.committed, fromTimestamp(committed.ts))
    const applied = hello.lastWrite?.opTime
    if (state.role === 'primary' && applied) {
      const at = fromTimestamp(applied.ts)
      remember({ atMs: state.seenAtMs, time: at, committed: state.committed })
      const id = String(hello.electionId)
      if (state.elected?.id !== id) state.elected = { id, at }
    }
    if (state.role !== formerRole) lose(state)
    // Being rebuilt: it may come back with less than it had.
    if (state.role === 'other') state.committed = beginning
  })
  client.on('serverHeartbeatFailed', ({ connectionId: address }) => {
    const state = states.get(address)
    if (!state) return
    state.role = 'other'
    lose(state)
  })
  client.on('serverClosed', ({ address }) => {
    const state = states.get(address)
    if (state) lose(state)
    states.delete(address)
  })

  function remember(sample: (typeof history)[number]): void {
    const { time, atMs } = sample
    const last = history.at(-1)
    // Another primary with an older clock: what was known of the former one no longer counts.
    if (last && compare(time, last.time) < 0) history.length = 0
    if (last && compare(time, last.time) === 0) history.pop()
    history.push(sample)
    while (history.length > 2 && (history[1]?.atMs ?? 0) < atMs - historyMs) history.shift()
  }

  const timer = setInterval(() => {
    for (const state of states.values()) if (now() - state.seenAtMs > silentMs) lose(state)
  }, heartbeatMs)
  timer.unref()

  function find(name: string): State | undefined {
    for (const state of states.values()) if (state.name === name) return state
    return undefined
  }

  const isSeen = ({ role, seenAtMs }: State) => role !== 'other' && now() - seenAtMs <= silentMs
  const latestPrimary = () => [...states.values()].find(({ role }) => role === 'primary')

  return {
    byAddress: (address) => states.get(address),
    secondaries: () =>
      [...states.values()].filter(
        (state) => state.role === 'secondary' && state.tagged && !state.givenUp && isSeen(state),
      ),
    primary: () => [...states.values()].find((state) => state.role === 'primary' && isSeen(state)),
    latestPrimary,
    mayHavePrimary: () => latestPrimary() !== undefined || [...states.values()].filter(isSeen).length > memberCount / 2,
    isCutOff() {
      const longAgo = now() - cutOffMs
      const follows = (state: State) => isSeen(state) && (state.follows?.sinceMs ?? now()) < longAgo
      return primarySeenAtMs < longAgo && [...states.values()].some(follows)
    },
    committedAfter: (atMs) => history.find((sample) => sample.atMs > atMs)?.committed,
    stalenessMs(member) {
      for (let index = history.length - 1; index >= 0; index--) {
        const sample = history[index]
        if (sample && compare(sample.time, member.committed) <= 0) return now() - sample.atMs
      }
      return Number.POSITIVE_INFINITY
    },
    learn(name, committed) {
      const state = find(name)
      if (state) state.committed = later(state.committed, committed)
    },
    giveUp(name) {
      const state = find(name)
      if (!state) return
      state.givenUp = true
      lose(state)
    },
    onLost(name, callback) {
      const state = find(name)
      if (!state || state.givenUp || !isSeen(state)) {
        queueMicrotask(callback)
        return () => {}
      }
      state.waiters.add(callback)
      return () => state.waiters.delete(callback)
    },
    close() {
      clearInterval(timer)
      for (const state of states.values()) lose(state)
    },
  }
}
