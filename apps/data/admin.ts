import mongoose, { type mongo } from 'mongoose'
import type { Mongo } from './mongo.ts'

export interface Credentials {
  user: string
  password: string
}

/** What one mongod says about its place in a replica set. */
export type MongodState =
  | { kind: 'unreachable'; reason: string }
  /** Runs without `--replSet`. */
  | { kind: 'standalone' }
  /** Waits for an initiation, or was left out of its set's configuration. */
  | { kind: 'uninitiated' }
  | { kind: 'primary' | 'secondary' | 'starting'; setName: string; me: string; hosts: string[] }

export interface ReplicaSetPlan {
  name: string
  /** `host:port`; the first becomes `mongo-1`. */
  hosts: string[]
}

export interface Role {
  role: string
  db: string
}

/** Why a mongod did not do as it was told. */
export type Refusal = 'unauthorized' | 'already_initiated' | 'unreachable' | 'apart'

/** A direct line to one mongod, whatever state its replica set is in. */
export interface Mongod {
  address: string
  /** Never throws: a mongod that does not answer is `unreachable`. */
  state(): Promise<MongodState>
  /** What this line may do. @throws when the credentials are wrong; see {@link refusalOf} */
  roles(): Promise<Role[]>
  /** @throws see {@link refusalOf} */
  initiate(plan: ReplicaSetPlan): Promise<void>
  /**
   * Gives the members of a set, whose configuration names none of its mongods by its present address, these addresses.
   * @returns the addresses they had; where there are not as many, nothing was changed
   * @throws see {@link refusalOf}
   */
  readdress(plan: ReplicaSetPlan): Promise<string[]>
  /** Creates the user, or gives it this password and these roles. @throws see {@link refusalOf} */
  putUser(credentials: Credentials, roles: Role[]): Promise<void>
  close(): Promise<void>
}

// A mongod that is there answers in milliseconds, unless the machine is busy starting all of them.
const answerMs = 10_000
// Adding a user waits for a second member, which on the first start copies its data before it can acknowledge.
const acknowledgeMs = 60_000

/**
 * Opens a line as this user, or as nobody; no traffic before the first question.
 *
 * @param patienceMs after which it counts as unreachable
 */
export function openMongod(address: string, credentials?: Credentials, patienceMs = answerMs): Mongod {
  let client: mongo.MongoClient | undefined

  async function command(document: mongo.Document, timeoutMs: number): Promise<mongo.Document> {
    client ??= new mongoose.mongo.MongoClient(`mongodb://${address}/`, {
      ...(credentials ? { auth: { username: credentials.user, password: credentials.password } } : {}),
      appName: 'brigade-setup',
      directConnection: true,
      serverSelectionTimeoutMS: patienceMs,
      connectTimeoutMS: patienceMs,
      maxPoolSize: 1,
    })
    try {
      return await client.db('admin').command(document, { timeoutMS: timeoutMs })
    } catch (error) {
      if (!(error instanceof mongoose.mongo.MongoServerError)) await close()
      throw error
    }
  }

  async function close(): Promise<void> {
    const open = client
    client = undefined
    await open?.close()
  }

  return {
    address,
    close,
    async state() {
      try {
        return stateOf(await command({ hello: 1 }, patienceMs))
      } catch (error) {
        return { kind: 'unreachable', reason: reasonOf(error) }
      }
    },
    async roles() {
      const { authInfo } = await command({ connectionStatus: 1 }, patienceMs)
      return authInfo.authenticatedUserRoles
    },
    async initiate({ name, hosts }) {
      await command(
        {
          replSetInitiate: {
            _id: name,
            members: hosts.map((host, index) => ({ _id: index, host, tags: { member: `mongo-${index + 1}` } })),
            settings: {
              // A frozen secondary from which others copy stops all majority writes.
              chainingAllowed: false,
              electionTimeoutMillis: 2_000,
              // Members notice sooner that one is frozen; by the defaults they wait ten seconds for its answer.
              heartbeatIntervalMillis: 500,
              heartbeatTimeoutSecs: 1,
              // What a new primary may still fetch was never acknowledged.
              catchUpTimeoutMillis: 1_000,
            },
          },
        },
        acknowledgeMs,
      )
    },
    async readdress({ hosts }) {
      const { config } = await command({ replSetGetConfig: 1 }, patienceMs)
      const before: string[] = config.members.map(({ host }: mongo.Document) => host)
      if (before.length !== hosts.length) return before
      const members = config.members.map((member: mongo.Document, index: number) => ({ ...member, host: hosts[index] }))
      // By force, since nobody can be primary until somebody is a member.
      await command(
        { replSetReconfig: { ...config, members, version: config.version + 1 }, force: true },
        acknowledgeMs,
      )
      return before
    },
    async putUser({ user, password }, roles) {
      const rest = {
        pwd: password,
        roles,
        mechanisms: ['SCRAM-SHA-256'],
        writeConcern: { w: 'majority', wtimeout: acknowledgeMs },
      }
      try {
        await command({ createUser: user, ...rest }, acknowledgeMs + patienceMs)
      } catch (error) {
        if (codeOf(error) !== userExists) throw error
        await command({ updateUser: user, ...rest }, acknowledgeMs + patienceMs)
      }
    },
  }
}

const userExists = 51_003

const unacknowledged = 64

/**
 * Waits at most this long until every member that is up has copied what was written before the call.
 * @returns those that have not, each with its state
 * @throws the driver's error when no primary answers
 */
export async function awaitCopies(mongo: Mongo, timeoutMs: number): Promise<string[]> {
  const client = mongo.connection.getClient()
  const status = () => client.db('admin').command({ replSetGetStatus: 1 })
  const up = (await status()).members.filter(({ health }: mongo.Document) => health === 1)
  try {
    // The members' own progress reports reach the primary at once, those in its status every two seconds.
    await mongo.connection
      .collection<{ _id: string; at: Date }>('setup')
      .updateOne(
        { _id: 'copies' },
        { $set: { at: new Date() } },
        { upsert: true, writeConcern: { w: up.length, wtimeoutMS: timeoutMs } },
      )
    return []
  } catch (error) {
    if (codeOf(error) !== unacknowledged) throw error
    const { members } = await status()
    const written = members.find(({ stateStr }: mongo.Document) => stateStr === 'PRIMARY')?.optime.ts
    return members
      .filter(({ health, stateStr }: mongo.Document) => health === 1 && stateStr !== 'PRIMARY')
      .filter(({ stateStr, optime }: mongo.Document) => stateStr !== 'SECONDARY' || written?.greaterThan(optime.ts))
      .map(({ name, stateStr }: mongo.Document) => `${name} (${stateStr.toLowerCase()})`)
  }
}

function stateOf(hello: mongo.Document): MongodState {
  if (hello.isreplicaset) return { kind: 'uninitiated' }
  if (!hello.setName) return { kind: 'standalone' }
  const kind = hello.isWritablePrimary ? 'primary' : hello.secondary ? 'secondary' : 'starting'
  return { kind, setName: hello.setName, me: hello.me ?? '', hosts: hello.hosts ?? [] }
}

function codeOf(error: unknown): number | undefined {
  return error instanceof mongoose.mongo.MongoServerError ? Number(error.code) : undefined
}

/** The refusals that the caller can do something about; undefined for all other errors. */
export function refusalOf(error: unknown): Refusal | undefined {
  if (error instanceof mongoose.mongo.MongoServerSelectionError) return 'unreachable'
  switch (codeOf(error)) {
    case 13: // Unauthorized
    case 18: // AuthenticationFailed
      return 'unauthorized'
    case 23: // AlreadyInitialized
      return 'already_initiated'
    case 74: // NodeNotFound, of members that do not reach one another, or not in time
      return 'apart'
    default:
      return undefined
  }
}

/** Whether an error is the database's or its driver's own, rather than a mistake of this program. */
export function isDatabaseError(error: unknown): boolean {
  return error instanceof mongoose.mongo.MongoError
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { cause } = error
  return cause instanceof Error ? cause.message : error.message
}
