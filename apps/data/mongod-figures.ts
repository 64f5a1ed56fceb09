import type { mongo } from 'mongoose'
import type { DirectLine } from './direct-line.ts'

/** What a mongod says of its place in the replica set. */
export interface MemberHello {
  role: 'primary' | 'secondary' | 'other'
  /** The tag `member` of the set's configuration, else its address. */
  name: string
  /** Another one after each start. */
  processId: string
  /** Orders the elections of primaries; empty where it is none. */
  election: string
  /** All members that hold data, `host:port`. */
  hosts: string[]
}

/** What a mongod says of itself. Totals count from its start. */
export interface MongodFigures {
  /** As MongoDB calls it, in small letters: `primary`, `secondary`, `recovering`, `startup2` … */
  state: string
  connections: number
  cpuSeconds: number
  residentBytes: number
  operations: Record<string, number>
  /** Between the oldest and the newest entry of its oplog. */
  oplogSeconds: number | undefined
}

/** @throws the driver's error where the mongod does not answer */
export async function helloOf(line: DirectLine): Promise<MemberHello> {
  const hello = await line.command('admin', { hello: 1, maxTimeMS: 500 })
  return {
    role: hello.isWritablePrimary ? 'primary' : hello.secondary ? 'secondary' : 'other',
    name: hello.tags?.member ?? line.address,
    processId: String(hello.topologyVersion.processId),
    election: hello.electionId ? String(hello.electionId) : '',
    hosts: [...(hello.hosts ?? []), ...(hello.passives ?? [])],
  }
}

/** Names of all members by their addresses, as the set's configuration has them. @throws the driver's error */
export async function memberNamesOf(line: DirectLine): Promise<Map<string, string>> {
  const { config } = await line.command('admin', { replSetGetConfig: 1, maxTimeMS: 500 })
  return new Map(config.members.map(({ host, tags }: mongo.Document) => [host, tags?.member ?? host]))
}

const named = (names: string, value: 0 | false) => Object.fromEntries(names.split(' ').map((name) => [name, value]))

// Most of its 70 KB are of no use here. Not all of `metrics`: without it there is no `mem` either.
const leftOut = {
  ...named('asserts catalogStats electionMetrics flowControl globalLock indexBulkBuilder indexStats locks', 0),
  ...named('logicalSessionRecordCache network opLatencies readConcernCounters repl scramCache security', 0),
  ...named('storageEngine tcmalloc tenantMigrations transactions twoPhaseCommitCoordinator wiredTiger', 0),
  metrics: named(
    'aggStageCounters commands cursor document operation operatorCounters query queryExecutor repl',
    false,
  ),
}

/** @throws the driver's error where the mongod does not answer, or lets this user see nothing */
export async function figuresOf(line: DirectLine): Promise<MongodFigures> {
  const [status, set] = await Promise.all([
    line.command('admin', { serverStatus: 1, ...leftOut, oplog: 1, maxTimeMS: 500 }),
    line.command('admin', { replSetGetStatus: 1, maxTimeMS: 500 }),
  ])
  const { insert, query, update, delete: deleted, getmore, command } = status.opcounters
  const { user_time_us = 0, system_time_us = 0 } = status.extra_info ?? {}
  const oldest = seconds(status.oplog?.earliestOptime)
  const newest = seconds(status.oplog?.latestOptime)
  return {
    state: String(set.members.find(({ self }: mongo.Document) => self)?.stateStr ?? 'unknown').toLowerCase(),
    connections: Number(status.connections.current),
    cpuSeconds: (Number(user_time_us) + Number(system_time_us)) / 1e6,
    residentBytes: Number(status.mem?.resident ?? 0) * 2 ** 20,
    operations: Object.fromEntries(
      Object.entries({ insert, query, update, delete: deleted, getmore, command }).map(([type, count]) => [
        type,
        Number(count),
      ]),
    ),
    oplogSeconds: oldest === undefined || newest === undefined ? undefined : newest - oldest,
  }
}

function seconds(timestamp: mongo.Timestamp | undefined): number | undefined {
  return timestamp?.getHighBitsUnsigned()
}
