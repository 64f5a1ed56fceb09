import { AsyncLocalStorage } from 'node:async_hooks'
import mongoose, { type mongo } from 'mongoose'
import { DomainError } from '../domain/errors.ts'
import type { Mongo } from './mongo.ts'

/**
 * How fresh a read must be. `latest` guards a decision and asks the primary; `any` shows data to somebody and asks a
 * secondary where there is one.
 */
export type Freshness = 'latest' | 'any'

/** Where one request read from, in order: `cache`, or a member's role and name. */
export interface ReadTrace {
  sources: Set<string>
}

/** What a freshness means to the driver; goes into every command of a read. */
export interface ReadOptions {
  /** Mongoose's typings know the name only, its code takes the object too. */
  readPreference: mongo.ReadPreference & mongo.ReadPreferenceMode
  maxTimeMS: number
}

/** The one place that decides which member a command goes to. Every query of a store runs through it. */
export interface Consistency {
  /**
   * Runs a query with the options that its freshness means; `run` must pass them to every command it sends.
   * @throws DomainError `unavailable` when no fitting member answers in time
   */
  read<T>(freshness: Freshness, run: (options: ReadOptions) => Promise<T>): Promise<T>
  /**
   * Runs a write, acknowledged by the majority.
   * @throws DomainError `unavailable` when it is unknown whether the write happened: a retry with the same key settles it
   */
  write<T>(run: () => Promise<T>): Promise<T>
}

const trace = new AsyncLocalStorage<ReadTrace>()

/** Runs `next` so that every read below it is noted in the trace. */
export function traceReads(into: ReadTrace, next: () => void): void {
  trace.run(into, next)
}

export function noteRead(source: string): void {
  trace.getStore()?.sources.add(source)
}

// A query that takes longer has lost its reader; without a limit a slow one holds its connection for good.
const queryTimeoutMs = 5_000

const reads = new Set(['find', 'aggregate', 'count', 'distinct', 'getMore'])

export function createConsistency(mongo: Mongo): Consistency {
  // The trace tells where a command went, not where it was meant to go: members change their role at any time.
  mongo.connection.getClient().on('commandStarted', (event) => {
    const store = trace.getStore()
    if (!store || !reads.has(event.commandName)) return
    const member = mongo.members.get(event.address)
    store.sources.add(`${member?.role ?? 'other'} ${member?.name ?? event.address}`)
  })

  const { ReadPreference } = mongoose.mongo
  const as = (preference: mongo.ReadPreference) => preference as ReadOptions['readPreference']
  const options: Record<Freshness, ReadOptions> = {
    latest: { readPreference: as(ReadPreference.primary), maxTimeMS: queryTimeoutMs },
    any: { readPreference: as(ReadPreference.secondaryPreferred), maxTimeMS: queryTimeoutMs },
  }

  return {
    read: (freshness, run) => translateOutage(() => run(options[freshness])),
    write: (run) => translateOutage(run),
  }
}

// NotWritablePrimary, NotPrimaryNoSecondaryOk, NotPrimaryOrSecondary, InterruptedAtShutdown,
// InterruptedDueToReplStateChange, ShutdownInProgress, PrimarySteppedDown, MaxTimeMSExpired, WriteConcernFailed,
// HostUnreachable, HostNotFound, NetworkTimeout, ExceededTimeLimit
const outageCodes = new Set([10107, 13435, 13436, 11600, 11602, 91, 189, 50, 64, 6, 7, 89, 262])

async function translateOutage<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    if (isOutage(error)) {
      throw new DomainError('unavailable', 'The database cannot answer right now', {
        retryAfterSeconds: 1,
        cause: error,
      })
    }
    throw error
  }
}

function isOutage(error: unknown): boolean {
  const { MongoServerError, MongoNetworkError, MongoSystemError, MongoDriverError } = mongoose.mongo
  if (error instanceof MongoServerError) return outageCodes.has(Number(error.code))
  return error instanceof MongoNetworkError || error instanceof MongoSystemError || error instanceof MongoDriverError
}

/** Whether a write was refused by the unique index that contains this field. */
export function isDuplicateOf(error: unknown, field: string): boolean {
  return error instanceof mongoose.mongo.MongoServerError && error.code === 11000 && field in (error.keyPattern ?? {})
}
