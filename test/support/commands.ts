import type mongoose from 'mongoose'
import { afterAll, beforeAll, beforeEach, inject } from 'vitest'
import { compare } from '../../apps/data/cluster-time.ts'
import { type Consistency, createConsistency } from '../../apps/data/consistency.ts'
import type { CacheObserver } from '../../apps/data/fenced-cache.ts'
import { createFloor, type Floor } from '../../apps/data/floor.ts'
import { createIndexes } from '../../apps/data/indexes.ts'
import { connectMongo, type Mongo } from '../../apps/data/mongo.ts'
import { mongoOptions, newDatabaseName, type RedisBench } from './api.ts'
import { waitFor } from './servers.ts'

type Command = mongoose.mongo.Document

/** What went over the wire to a member. */
export interface Sent {
  name: string
  command: Command
  /** `primary` or `secondary` at that moment. */
  role: string
}

export interface StoreBench {
  readonly mongo: Mongo
  readonly consistency: Consistency
  /** What was sent since the test began, in order. */
  readonly sent: Sent[]
}

/** A database with its indexes for the tests of one file, whose traffic is seen. */
export function benchForFile(options: { writeTimeoutMs?: number } = {}): StoreBench {
  let mongo: Mongo
  let consistency: Consistency
  const sent: Sent[] = []
  beforeAll(async () => {
    mongo = await connectMongo({ ...mongoOptions(newDatabaseName()), ...options, monitorCommands: true })
    await createIndexes(mongo.connection)
    // No second tries on a machine that is slow just now: what is counted here is what the stores ask for.
    consistency = createConsistency(mongo, { readWaitMs: 10_000 })
    mongo.connection.getClient().on('commandStarted', ({ commandName, command, address }) => {
      sent.push({ name: commandName, command, role: mongo.members.byAddress(address)?.role ?? 'other' })
    })
    await level(mongo)
  })
  beforeEach(() => {
    sent.length = 0
  })
  afterAll(async () => {
    await mongo.connection.dropDatabase()
    await mongo.close()
  })
  return {
    get mongo() {
      return mongo
    },
    get consistency() {
      return consistency
    },
    sent,
  }
}

/** The floor of the run of Redis, which what is read from now on reaches. */
export function floorForFile(bench: StoreBench, redis: RedisBench): { readonly floor: Floor } {
  let floor: Floor
  beforeAll(async () => {
    floor = createFloor(redis.run, bench.mongo.members)
    await waitFor('the members to reach the floor', 30_000, async () => {
      const least = floor()
      return (
        least !== undefined &&
        bench.mongo.members.secondaries().every(({ committed }) => compare(committed, least) >= 0)
      )
    })
  })
  return {
    get floor() {
      return floor
    },
  }
}

/** What caches have told of their look-ups since the test began, in order. */
export function lookupsForFile(): { seen: string[]; observer: CacheObserver } {
  const seen: string[] = []
  beforeEach(() => {
    seen.length = 0
  })
  return { seen, observer: { looked: (outcome) => seen.push(outcome) } }
}

/** Both secondaries are there and show what was just written. */
export function level(mongo: Mongo): Promise<void> {
  return waitFor('the members to be level', 30_000, async () => {
    const secondaries = mongo.members.secondaries()
    return (
      mongo.members.primary() !== undefined &&
      secondaries.length === inject('servers').mongoHosts.length - 1 &&
      secondaries.every((member) => mongo.members.stalenessMs(member) < 1_000)
    )
  })
}

export interface Explained {
  stages: string[]
  indexes: string[]
  examined: number
  returned: number
}

/** How the server runs a command that was sent, as it was sent. */
export async function explain({ mongo }: StoreBench, { name, command }: Sent): Promise<Explained> {
  const parts = ['filter', 'sort', 'limit', 'projection', 'pipeline', 'cursor', 'query', 'update', 'hint']
  const plain = Object.fromEntries([name, ...parts].flatMap((key) => (key in command ? [[key, command[key]]] : [])))
  const { db } = mongo.connection
  if (!db) throw new Error('There is no connection')
  const told = await db.command({ explain: plain, verbosity: 'executionStats' }, { readPreference: 'primary' })
  const stages = new Set<string>()
  const indexes = new Set<string>()
  let examined = 0
  let returned = 0
  // What runs, not the plans that were considered.
  for (const { executionStages, totalDocsExamined, nReturned } of executionsIn(told)) {
    examined = Math.max(examined, totalDocsExamined)
    returned = Math.max(returned, nReturned)
    walk(executionStages, ({ stage, indexName }) => {
      if (typeof stage === 'string') stages.add(stage)
      if (typeof indexName === 'string') indexes.add(indexName)
    })
  }
  return { stages: [...stages].sort(), indexes: [...indexes].sort(), examined, returned }
}

interface Execution {
  executionStages: unknown
  totalDocsExamined: number
  nReturned: number
}

function executionsIn(told: Command): Execution[] {
  const found: Execution[] = []
  walk(told, ({ executionStats }) => {
    if (executionStats) found.push(executionStats as Execution)
  })
  return found
}

function walk(value: unknown, visit: (node: Record<string, unknown>) => void): void {
  if (typeof value !== 'object' || value === null) return
  if (!Array.isArray(value)) visit(value as Record<string, unknown>)
  for (const inner of Object.values(value)) walk(inner, visit)
}
