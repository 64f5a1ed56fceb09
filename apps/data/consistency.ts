import { AsyncResource } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import mongoose, { type ClientSession, type mongo } from 'mongoose'
import { DomainError } from '../domain/errors.ts'
import { beginning, type ClusterTime, compare, fromTimestamp, later, toTimestamp } from './cluster-time.ts'
import { type Member, now } from './members.ts'
import type { Mongo } from './mongo.ts'
import { currentReader, noteRead, type Reader, refuseAbandoned } from './reader.ts'

/**
 * How fresh a read must be. `latest` guards a decision and asks the primary for all that was ever acknowledged; `any`
 * shows data to somebody: never less than that reader has written or seen, and never older than the stated bound.
 */
export type Freshness = 'latest' | 'any'

/**
 * `causal` is the guarantee. `secondary` asks any secondary, `primary` always the primary: both exist to measure what
 * the guarantee is worth and costs.
 */
export const readRoutings = ['causal', 'secondary', 'primary'] as const
export type ReadRouting = (typeof readRoutings)[number]

/** What a freshness means to the driver; goes into every command of a read. */
export interface ReadOptions {
  /** Mongoose's typings know the name only, its code takes the object too. */
  readPreference: mongo.ReadPreference & mongo.ReadPreferenceMode
  readConcern?: { level: 'majority' }
  maxTimeMS: number
  session: ClientSession
  /** The trace that the request belongs to. */
  comment?: string
}

/** A value, and what moments of the set's clock it can be from. */
export interface Dated<T> {
  value: T
  /** It has everything up to here. */
  from: ClusterTime
  /** It may have something up to here, and nothing later. */
  to: ClusterTime
  /** When it is as old as anything that anybody may be shown, on the clock of the members; long ago if nobody knows. */
  staleAtMs: number
}

export interface WriteOptions {
  session: ClientSession
  /** The trace that the request belongs to. */
  comment?: string
}

/** Why a read for showing went to the primary. */
export const fallbacks = [
  'behind',
  'waited',
  'slow',
  'lost',
  'failed',
  'token-lost',
  'token-refused',
  'no-secondary',
] as const
export type Fallback = (typeof fallbacks)[number]

/** Told of every read that reached MongoDB. */
export interface ReadObserver {
  read(target: 'secondary' | 'primary', freshness: Freshness): void
  waited(seconds: number): void
  fellBack(reason: Fallback): void
  /** Also of one that failed, or whose answer came too late to be used. */
  command(name: string, member: string, seconds: number): void
}

export interface ConsistencyOptions {
  routing?: ReadRouting
  /** How long a read may wait for a secondary to catch up, or to answer at all, before the primary is asked. */
  readWaitMs?: number
  /** The age of the oldest data that anybody is shown while there is a primary. */
  maxStalenessMs?: number
  observer?: ReadObserver
}

/** The one place that decides which member a command goes to. Every query of a store runs through it. */
export interface Consistency {
  /**
   * Runs a query with the options that its freshness means; `run` must pass them to every command it sends, and may be
   * called a second time.
   * @throws DomainError `unavailable` when no fitting member answers in time
   */
  read<T>(freshness: Freshness, run: (options: ReadOptions) => Promise<T>): Promise<T>
  /** As {@link read} with `any`, for an answer that is kept: never less than `after`, and dated. */
  readDated<T>(after: ClusterTime | undefined, run: (options: ReadOptions) => Promise<T>): Promise<Dated<T>>
  /**
   * Runs a write, acknowledged by the majority, unless nobody waits for it any more.
   * @throws DomainError `unavailable` when it is unknown whether the write happened: a retry with the same key settles it
   */
  write<T>(run: (options: WriteOptions) => Promise<T>): Promise<T>
}

// A query that takes longer has lost its reader; without a limit a slow one holds its connection for good.
const queryTimeoutMs = 5_000

// Waiting is worth it where the member lacks a moment at the most: what replication ordinarily takes, seen through
// heartbeats.
const worthWaitingMs = 1_000

// How long a read waits for an election: as long as the driver does, and longer than one takes.
const electionWaitMs = 5_000
const pollMs = 25

// How often a write that takes long looks whether it can still succeed.
const hopelessMs = 500

// How often a read that guards a decision is made again because another primary was elected meanwhile.
const maxElections = 2

// The share of reads that may be sent a second time because the first answer is slow, and a start for quiet times:
// more would double the load of a set that is slow because it is loaded.
const hedgeShare = 0.1
const hedgeReserve = 20

/** To be thrown by what runs in a write, where its errors do not tell that nobody knows what has happened. */
export class InDoubt extends Error {}

export function createConsistency(
  mongo: Pick<Mongo, 'connection' | 'members' | 'epoch' | 'commandOf'>,
  options: ConsistencyOptions = {},
): Consistency {
  const { routing = 'causal', readWaitMs = 50, maxStalenessMs = 2_000, observer } = options
  const { members, epoch } = mongo
  const client = mongo.connection.getClient()
  const { ReadPreference } = mongoose.mongo
  const primary = ReadPreference.primary as ReadOptions['readPreference']
  let hedges = hedgeReserve

  interface Attempt {
    freshness: Freshness
    reader: Reader | undefined
    /** What the answer must have; nothing where any will do. */
    needs: ClusterTime | undefined
    maxTimeMs: number
  }

  /** What a member has answered. Only the answer that is used has been seen: it arrives. */
  interface Answer<T> {
    arrive(): Dated<T>
  }

  type Run<T> = (options: ReadOptions) => Promise<T>

  /** One try at one place. What its answer says of the clock is kept for the reader and of the member. */
  async function attempt<T>(member: Member | undefined, read: Attempt, run: Run<T>): Promise<Answer<T>> {
    const { freshness, reader, needs } = read
    // Before it is asked: what it commits while it answers may be missing from the answer.
    const asked = member ?? members.primary()
    const known = asked?.committed ?? beginning
    const ageMs = asked && routing === 'causal' ? members.stalenessMs(asked) : Number.POSITIVE_INFINITY
    const session = client.startSession({ causalConsistency: routing === 'causal' }) as ClientSession
    const startedMs = now()
    try {
      if (needs) session.advanceOperationTime(toTimestamp(needs))
      if (needs && reader?.token?.signed) session.advanceClusterTime(reader.token.signed)
      const value = await run({
        readPreference: member ? targetOf(member) : primary,
        // What the majority lacks may never have happened: nothing is decided by it, nor shown.
        ...(freshness === 'latest' || routing === 'causal' ? { readConcern: { level: 'majority' as const } } : {}),
        maxTimeMS: Math.max(1, Math.round(read.maxTimeMs)),
        session,
        ...commentOf(reader),
      })
      const { operationTime, clusterTime } = session
      if (member && operationTime) members.learn(member.name, fromTimestamp(operationTime))
      return {
        arrive() {
          const shown = member ?? members.latestPrimary()
          const role = shown?.role ?? 'primary'
          noteRead(`${role} ${shown?.name ?? 'unknown'}`)
          observer?.read(role === 'secondary' ? 'secondary' : 'primary', freshness)
          if (routing === 'causal' && operationTime) reader?.saw(epoch, fromTimestamp(operationTime), clusterTime)
          const from = needs ? later(known, needs) : known
          const to = operationTime ? fromTimestamp(operationTime) : from
          return { value, from, to, staleAtMs: startedMs + maxStalenessMs - ageMs }
        },
      }
    } finally {
      noteCommand(session, member, startedMs)
      // Ends at the server later, together with others; nothing waits for it.
      void session.endSession()
    }
  }

  /** What a reader must be shown, and what is asked for beyond that. */
  function needsOf(reader: Reader | undefined, after: ClusterTime | undefined): ClusterTime | undefined {
    return routing === 'causal' ? laterOf(reader?.needs, after) : undefined
  }

  /** Where this primary has not committed anything yet, it may not show all that was acknowledged before it. */
  function notYetShown(primary: Member | undefined): ClusterTime | undefined {
    const elected = primary?.elected?.at
    return elected && compare(primary.committed, elected) < 0 ? elected : undefined
  }

  async function askPrimary<T>(freshness: Freshness, after: ClusterTime | undefined, run: Run<T>): Promise<Answer<T>> {
    const reader = currentReader()
    for (let elections = 0; ; elections++) {
      const primary = members.latestPrimary()
      const guarded = freshness === 'latest' ? laterOf(after, notYetShown(primary)) : after
      const read = { freshness, reader, maxTimeMs: queryTimeoutMs }
      const answer = await attempt(undefined, { ...read, needs: needsOf(reader, guarded) }, run).catch((error) => {
        if (!reader?.token || !isClockRefusal(error)) throw error
        observer?.fellBack('token-refused')
        reader.dropToken()
        return attempt(undefined, { ...read, needs: guarded }, run)
      })
      const answeredBySame = members.latestPrimary()?.elected?.id === primary?.elected?.id
      if (freshness === 'any' || answeredBySame || elections >= maxElections) return answer
    }
  }

  /** From the primary or, when there is none or it is lost on the way, from what is left. */
  async function askPrimaryOrRest<T>(after: ClusterTime | undefined, run: Run<T>): Promise<Answer<T>> {
    const primary = members.primary()
    if (primary) {
      try {
        const answer = await untilLost(primary, askPrimary('any', after, run))
        if (answer) return answer
      } catch (error) {
        if (!isOutage(error) || members.primary()) throw error
      }
    }
    return askRest(after, run)
  }

  /**
   * Without a primary nothing new is acknowledged, so that members that are left show all there is. Whom that is not
   * enough waits for an election.
   */
  async function askRest<T>(after: ClusterTime | undefined, run: Run<T>): Promise<Answer<T>> {
    const reader = currentReader()
    const deadlineMs = now() + electionWaitMs
    do {
      const needs = needsOf(reader, after)
      const left = reader?.tokenLost ? undefined : furthest(members.secondaries())
      if (left && (!needs || compare(left.committed, needs) >= 0)) {
        const read: Attempt = { freshness: 'any', reader, needs, maxTimeMs: queryTimeoutMs }
        const answer = await untilLost(left, attempt(left, read, run))
        if (answer) return answer
      }
      if (members.primary()) return askPrimary('any', after, run)
      await sleep(pollMs)
    } while (now() < deadlineMs)
    throw new DomainError('unavailable', 'The database has no primary right now', { retryAfterSeconds: 1 })
  }

  /** Undefined when the member is lost before it answers. */
  async function untilLost<T>(member: Member, answer: Promise<T>): Promise<T | undefined> {
    // It may fail after nobody waits for it any more.
    answer.catch(() => {})
    let unsubscribe = () => {}
    const lost = new Promise<undefined>((resolve) => {
      unsubscribe = members.onLost(member.name, () => resolve(undefined))
    })
    try {
      return await Promise.race([answer, lost])
    } finally {
      unsubscribe()
    }
  }

  async function askSecondaries<T>(after: ClusterTime | undefined, run: Run<T>): Promise<Answer<T>> {
    const reader = currentReader()
    const needs = needsOf(reader, after)
    const read: Attempt = { freshness: 'any', reader, needs, maxTimeMs: queryTimeoutMs }
    const fallBack = (reason: Fallback) => {
      observer?.fellBack(reason)
      return askPrimaryOrRest(after, run)
    }
    if (reader?.tokenLost) return fallBack('token-lost')
    const candidates = shuffle(members.secondaries())
    // What a reader has seen is one bound, what anybody may be shown another: a member that comes back may keep the first
    // and not the second.
    const fresh = candidates.find(
      (member) => (!needs || compare(member.committed, needs) >= 0) && members.stalenessMs(member) <= maxStalenessMs,
    )
    if (fresh) return hedged(fresh, read, run, fallBack)
    const nearest = furthest(candidates)
    if (!nearest) return fallBack('no-secondary')
    if (needs && members.stalenessMs(nearest) <= worthWaitingMs) return waiting(nearest, read, run, fallBack)
    return fallBack('behind')
  }

  /** From a member that is known to be fresh enough, and from the primary too if no answer comes. */
  function hedged<T>(
    member: Member,
    read: Attempt,
    run: Run<T>,
    fallBack: (reason: Fallback) => Promise<Answer<T>>,
  ): Promise<Answer<T>> {
    hedges = Math.min(hedgeReserve, hedges + hedgeShare)
    return new Promise((resolve, reject) => {
      let settled = false
      let second = false
      const settle = (finish: () => void) => {
        if (settled) return
        settled = true
        clearTimeout(timer)
        unsubscribe()
        finish()
      }
      const goSecond = (reason: Fallback) => {
        if (settled || second) return
        second = true
        noteWait(read.reader, (now() - startedMs) / 1000)
        fallBack(reason).then(
          (answer) =>
            settle(() => {
              // The primary was faster although it started later: the member is stuck, or nearly so.
              if (reason === 'slow') members.giveUp(member.name)
              resolve(answer)
            }),
          (error) => settle(() => reject(error)),
        )
      }
      const startedMs = now()
      const timer = setTimeout(() => {
        if (hedges < 1) return
        hedges--
        goSecond('slow')
      }, readWaitMs)
      // Called back by a heartbeat, which is nobody's request.
      const unsubscribe = members.onLost(
        member.name,
        AsyncResource.bind(() => goSecond('lost')),
      )
      attempt(member, read, run).then(
        (answer) => settle(() => resolve(answer)),
        (error) => {
          if (second) return
          if (isClockRefusal(error)) goSecond('behind')
          else if (isOutage(error)) goSecond('failed')
          else settle(() => reject(error))
        },
      )
    })
  }

  /** From a member that should be there in a moment; the server holds the read until it is. */
  async function waiting<T>(
    member: Member,
    read: Attempt,
    run: Run<T>,
    fallBack: (reason: Fallback) => Promise<Answer<T>>,
  ): Promise<Answer<T>> {
    const startedMs = now()
    let timer: NodeJS.Timeout | undefined
    // The member cannot keep the limit when it is frozen, so it is kept here too.
    const limit = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), readWaitMs)
    })
    const first = attempt(member, { ...read, maxTimeMs: readWaitMs }, run)
    // It may fail after nobody waits for it any more.
    first.catch(() => {})
    try {
      const answer = await Promise.race([first, limit])
      noteWait(read.reader, (now() - startedMs) / 1000)
      if (answer !== 'late') return answer
    } catch (error) {
      noteWait(read.reader, (now() - startedMs) / 1000)
      if (!isClockRefusal(error) && !isOutage(error)) throw error
    } finally {
      clearTimeout(timer)
    }
    members.giveUp(member.name)
    return fallBack('waited')
  }

  function noteCommand(session: ClientSession, member: Member | undefined, startedMs: number): void {
    const { name = 'unknown' } = member ?? members.latestPrimary() ?? {}
    observer?.command(mongo.commandOf(session), name, (now() - startedMs) / 1000)
  }

  function noteWait(reader: Reader | undefined, seconds: number): void {
    observer?.waited(seconds)
    if (reader) reader.waitMs += seconds * 1000
  }

  function targetOf(member: Member): ReadOptions['readPreference'] {
    // `nearest`, since it may have become the primary meanwhile; the tag names it alone.
    return new ReadPreference('nearest', [{ member: member.name }]) as ReadOptions['readPreference']
  }

  function askAnySecondary<T>(run: Run<T>): Promise<Answer<T>> {
    const [member] = shuffle(members.secondaries())
    return attempt(
      member,
      { freshness: 'any', reader: currentReader(), needs: undefined, maxTimeMs: queryTimeoutMs },
      run,
    )
  }

  function askAny<T>(after: ClusterTime | undefined, run: Run<T>): Promise<Answer<T>> {
    if (routing === 'primary') return askPrimary('any', after, run)
    return routing === 'secondary' ? askAnySecondary(run) : askSecondaries(after, run)
  }

  async function arrived<T>(answer: Promise<Answer<T>>): Promise<Dated<T>> {
    return (await answer).arrive()
  }

  /** What is under way to the primary when there can be none would wait for one that cannot come. */
  async function unlessHopeless<T>(underway: Promise<T>): Promise<T> {
    // It goes on where it can, and nobody hears of how it ends.
    underway.catch(() => {})
    let timer: NodeJS.Timeout | undefined
    const hopeless = new Promise<never>((_, reject) => {
      timer = setInterval(() => {
        try {
          refuseHopeless()
        } catch (error) {
          reject(error)
        }
      }, hopelessMs)
    })
    try {
      return await Promise.race([underway, hopeless])
    } finally {
      clearInterval(timer)
    }
  }

  /**
   * How far the primary is. A member that was just started has no key to sign its clock with, and tells nobody by its
   * answers when they were.
   */
  async function lastWriteOfPrimary(): Promise<mongo.Timestamp> {
    const { lastWrite } = await client.db('admin').command({ hello: 1 }, { readPreference: 'primary' })
    return lastWrite.opTime.ts
  }

  /** Where no election can bring one, or others have one that this process cannot reach, it is of no use to wait for it. */
  function refuseHopeless(): void {
    const message = !members.mayHavePrimary()
      ? 'The database has lost its majority'
      : members.isCutOff()
        ? 'The primary of the database cannot be reached from here'
        : undefined
    if (message) throw new DomainError('unavailable', message, { retryAfterSeconds: 1, isLocal: true })
  }

  return {
    read: (freshness, run) =>
      translateOutage(async () => {
        if (freshness === 'any') return (await arrived(askAny(undefined, run))).value
        refuseHopeless()
        return (await unlessHopeless(arrived(askPrimary('latest', undefined, run)))).value
      }),
    readDated: (after, run) => translateOutage(() => arrived(askAny(after, run))),
    write: (run) =>
      translateOutage(async () => {
        refuseAbandoned()
        refuseHopeless()
        const session = client.startSession({ causalConsistency: true }) as ClientSession
        const startedMs = now()
        let inDoubt = false
        try {
          const value = await unlessHopeless(run({ session, ...commentOf(currentReader()) }))
          if (!session.operationTime) session.advanceOperationTime(await lastWriteOfPrimary())
          return value
        } catch (error) {
          inDoubt = isOutage(error) || error instanceof DomainError
          throw error
        } finally {
          noteCommand(session, undefined, startedMs)
          // Also of a refusal, which tells of what is there. In doubt, the majority may never come to that moment, and
          // whoever had to be shown it could be shown nothing.
          if (session.operationTime && !inDoubt) {
            currentReader()?.wrote(epoch, fromTimestamp(session.operationTime), session.clusterTime)
          }
          void session.endSession()
        }
      }),
  }
}

function furthest(candidates: Member[]): Member | undefined {
  return candidates.reduce<Member | undefined>(
    (best, member) => (best && compare(best.committed, member.committed) >= 0 ? best : member),
    undefined,
  )
}

function laterOf(a: ClusterTime | undefined, b: ClusterTime | undefined): ClusterTime | undefined {
  return a && b ? later(a, b) : (a ?? b)
}

function commentOf(reader: Reader | undefined): { comment?: string } {
  return reader?.traceId === undefined ? {} : { comment: reader.traceId }
}

function shuffle<T>(items: T[]): T[] {
  // Two secondaries are the rule, and for a few more a biased shuffle does as well.
  return items.sort(() => Math.random() - 0.5)
}

// InvalidOptions for a time that the member has not heard of; OperationFailed, KeyNotFound, CannotVerifyAndSignLogicalTime
// and TimeProofMismatch for one that another cluster signed, or nobody.
const clockRefusals = new Set([72, 96, 204, 206, 210, 211])

function isClockRefusal(error: unknown): boolean {
  return error instanceof mongoose.mongo.MongoServerError && clockRefusals.has(Number(error.code))
}

// NotWritablePrimary, NotPrimaryNoSecondaryOk, NotPrimaryOrSecondary, InterruptedAtShutdown,
// InterruptedDueToReplStateChange, ShutdownInProgress, PrimarySteppedDown, MaxTimeMSExpired, WriteConcernFailed,
// HostUnreachable, HostNotFound, NetworkTimeout, ExceededTimeLimit
const outageCodes = new Set([10107, 13435, 13436, 11600, 11602, 91, 189, 50, 64, 6, 7, 89, 262])

// What failed sooner was no wait for an election, which is the same for all replicas and long enough without a second one.
const quickMs = 1_000

async function translateOutage<T>(run: () => Promise<T>): Promise<T> {
  const startedMs = now()
  try {
    return await run()
  } catch (error) {
    if (isOutage(error)) {
      throw new DomainError('unavailable', 'The database cannot answer right now', {
        retryAfterSeconds: 1,
        isLocal: now() - startedMs < quickMs,
        cause: error,
      })
    }
    throw error
  }
}

// The other side has closed a connection, or this one has, while a command was written to it.
const socketErrors = new Set(['EPIPE', 'ECONNRESET', 'ECONNABORTED', 'ETIMEDOUT', 'ERR_STREAM_DESTROYED'])

function isOutage(error: unknown): boolean {
  const { MongoServerError, MongoNetworkError, MongoSystemError, MongoDriverError } = mongoose.mongo
  if (error instanceof MongoServerError) return outageCodes.has(Number(error.code))
  if (error instanceof InDoubt) return true
  // The driver wraps errors of its sockets, but not while it waits for one to take more of a command.
  if (error instanceof Error && 'code' in error && socketErrors.has(String(error.code))) return true
  return error instanceof MongoNetworkError || error instanceof MongoSystemError || error instanceof MongoDriverError
}

/** Whether a write was refused by the unique index that contains this field. */
export function isDuplicateOf(error: unknown, field: string): boolean {
  return error instanceof mongoose.mongo.MongoServerError && error.code === 11000 && field in (error.keyPattern ?? {})
}
