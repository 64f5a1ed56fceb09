import mongoose from 'mongoose'

type MongoClient = mongoose.mongo.MongoClient

export interface Member {
  name: string
  port: number
}

export type Role = 'primary' | 'secondary' | 'other'

export type FailPointMode = 'off' | 'alwaysOn' | { times: number } | { activationProbability: number }

const { MongoClient, MongoServerError } = mongoose.mongo
const answerMs = 2_000

/** The members of the replica set, each by a connection of its own, as root. */
export class ReplicaSet {
  readonly members: readonly Member[]
  readonly #clients: Map<string, MongoClient>
  readonly #password: string

  constructor(members: readonly Member[], password: string) {
    this.members = members
    this.#password = password
    this.#clients = new Map(members.map((member) => [member.name, this.#client([member], { directConnection: true })]))
  }

  #client(members: readonly Member[], options: mongoose.mongo.MongoClientOptions): MongoClient {
    return new MongoClient(`mongodb://${members.map(({ port }) => `127.0.0.1:${port}`).join(',')}/`, {
      auth: { username: 'root', password: this.#password },
      authSource: 'admin',
      serverSelectionTimeoutMS: answerMs,
      connectTimeoutMS: answerMs,
      heartbeatFrequencyMS: 1_000,
      ...options,
    })
  }

  #admin(name: string): mongoose.mongo.Db {
    const client = this.#clients.get(name)
    if (!client) throw new Error(`There is no member ${name}`)
    return client.db('admin')
  }

  /** What a member says of itself; undefined while it does not answer. */
  async role(name: string): Promise<Role | undefined> {
    const hello = await within(answerMs, this.#admin(name).command({ hello: 1 })).catch(() => undefined)
    return hello && (hello.isWritablePrimary ? 'primary' : hello.secondary ? 'secondary' : 'other')
  }

  async named(role: Role): Promise<string[]> {
    const roles = await Promise.all(this.members.map(async ({ name }) => ({ name, role: await this.role(name) })))
    return roles.filter((member) => member.role === role).map(({ name }) => name)
  }

  /** How far each member is, in milliseconds since the epoch; undefined unless all of them answer in one set. */
  async progress(): Promise<number[] | undefined> {
    const [primary] = await this.named('primary')
    if (primary === undefined) return undefined
    const status = await within(answerMs, this.#admin(primary).command({ replSetGetStatus: 1 })).catch(() => undefined)
    const members = (status?.members ?? []) as { health: number; state: number; optimeDate: Date }[]
    const isWhole = members.length === this.members.length && members.every(({ state }) => state === 1 || state === 2)
    return isWhole ? members.map(({ optimeDate }) => optimeDate.getTime()) : undefined
  }

  /** Stops a member from writing anything, until it is unlocked as often; it goes on answering. */
  async lock(name: string): Promise<void> {
    await this.#admin(name).command({ fsync: 1, lock: true })
  }

  /** Undoes one lock, however long it takes to reach the member. */
  async unlock(name: string): Promise<void> {
    for (let tries = 30; ; tries--) {
      try {
        await within(answerMs, this.#admin(name).command({ fsyncUnlock: 1 }))
        return
      } catch (error) {
        // Not locked any more: it was started anew.
        if (error instanceof MongoServerError) return
        if (tries === 0) throw error
        await new Promise((resolve) => setTimeout(resolve, 500))
      }
    }
  }

  /** Undoes whatever locks there are. */
  async unlockAll(): Promise<void> {
    await Promise.all(
      this.members.map(async ({ name }) => {
        for (;;) {
          const answer = await within(answerMs, this.#admin(name).command({ fsyncUnlock: 1 })).catch(() => undefined)
          if (!answer?.lockCount) return
        }
      }),
    )
  }

  /** @throws MongoServerError when no secondary catches up in time */
  async stepDown(name: string): Promise<void> {
    // It stands for no election for so long; where all others do not either, since they were asked just before, it goes on
    // asking them, and takes no writes meanwhile.
    await this.#admin(name).command({ replSetStepDown: 4, secondaryCatchUpPeriodSecs: 2 })
  }

  /** Switches a fail point of a member; only where it was started with `enableTestCommands`. */
  async failPoint(
    name: string,
    mode: FailPointMode,
    data: Record<string, unknown> = {},
    point = 'failCommand',
  ): Promise<void> {
    const command = { configureFailPoint: point, mode, data }
    await within(answerMs, this.#admin(name).command(command))
  }

  /** Reads from the primary what the majority has. */
  async readAll<T>(read: (db: mongoose.mongo.Db) => Promise<T>): Promise<T> {
    const client = this.#client(this.members, { replicaSet: 'brigade', readConcern: { level: 'majority' } })
    try {
      return await read(client.db('brigade'))
    } finally {
      await client.close()
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#clients.values()].map((client) => client.close()))
  }
}

/** A member that is frozen keeps what it was asked for good. */
function within<T>(timeMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`There was no answer within ${timeMs} ms`)), timeMs)
  })
  return Promise.race([work, limit]).finally(() => clearTimeout(timer))
}
