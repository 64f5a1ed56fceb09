import { setTimeout as sleep } from 'node:timers/promises'
import mongoose from 'mongoose'
import { Failure } from '../../infra/failure.ts'
import { CpuMeter } from '../cpu.ts'
import type { Stack } from '../stack.ts'
import type { Examined, Size } from './data-result.ts'

export type Document = mongoose.mongo.BSON.Document
type MongoClient = mongoose.mongo.MongoClient
const { MongoClient } = mongoose.mongo

/** Where the sample's data is kept beside what it grows into, so that both can be asked in turns. */
export const copyName = 'brigade_before'
const databaseName = 'brigade'
const collections = ['restaurants', 'orders'] as const

const atATime = 4
const idleMs = 2_000

interface Member {
  pid: number
  client: MongoClient
}

/** The database of a stack, past its API. */
export class Database {
  readonly #members: Member[]
  readonly #set: MongoClient

  constructor(stack: Stack) {
    const auth = { username: 'root', password: stack.rootPassword }
    const members = stack.processes.filter(({ role }) => role === 'mongod')
    const hosts = members.map(({ port }) => `127.0.0.1:${port}`)
    const client = (host: string, options: mongoose.mongo.MongoClientOptions) =>
      new MongoClient(`mongodb://${host}/`, { auth, authSource: 'admin', ...options })
    this.#members = members.map(({ pid, port }) => ({
      pid,
      client: client(`127.0.0.1:${port}`, { directConnection: true, readPreference: 'secondaryPreferred' }),
    }))
    // Waits for all members: the oplog is short, and one that falls behind for longer than it lasts must be copied anew.
    this.#set = client(hosts.join(','), { replicaSet: 'brigade', writeConcern: { w: hosts.length } })
  }

  collection(name: (typeof collections)[number]): mongoose.mongo.Collection<Document> {
    return this.#set.db(databaseName).collection(name)
  }

  async size(): Promise<Size> {
    const [restaurants = 0, orders = 0] = await Promise.all(
      collections.map((name) => this.collection(name).estimatedDocumentCount()),
    )
    return { restaurants, orders }
  }

  /** Ids of the restaurants that somebody owns. */
  async restaurantsOf(ownerId: string): Promise<string[]> {
    const owned = await this.collection('restaurants')
      .find({ ownerId: new mongoose.mongo.ObjectId(ownerId) }, { projection: { _id: 1 } })
      .toArray()
    return owned.map(({ _id }) => String(_id))
  }

  /** Copies what there is, with its indexes. */
  async keepCopy(): Promise<void> {
    for (const name of collections) {
      const indexes = await this.collection(name).indexes()
      await this.#set
        .db(copyName)
        .command({ createIndexes: name, indexes: indexes.map(({ v: _, ...index }) => index), writeConcern: { w: 3 } })
      const stage = { $merge: { into: { db: copyName, coll: name } } }
      await this.collection(name).aggregate([stage]).toArray()
    }
  }

  /** Has every member note what it does, for as long as `work` takes. */
  async profiled<T>(work: () => Promise<T>): Promise<T> {
    const all = this.#members.map(({ client }) => client.db(databaseName))
    for (const db of all) await db.command({ profile: 2 })
    try {
      return await work()
    } finally {
      for (const db of all) {
        await db.command({ profile: 0 })
        await db.dropCollection('system.profile').catch(() => {})
      }
    }
  }

  /** The commands that a request has led to, by its id, which goes along as their comment, with what they examined. */
  async commandsOf(requestId: string): Promise<{ commands: Document[]; examined: Examined }> {
    const noted = await Promise.all(
      this.#members.map(({ client }) =>
        client
          .db(databaseName)
          .collection('system.profile')
          .find({ 'command.comment': requestId, op: { $in: ['query', 'command', 'getmore'] } })
          .toArray(),
      ),
    )
    // A read that takes too long is sent to another member as well: that is one and the same query.
    const all = [...new Map(noted.flat().map((each) => [JSON.stringify(plainCommand(each.command)), each])).values()]
    const sum = (field: string) => all.reduce((total, each) => total + Number(each[field] ?? 0), 0)
    return {
      commands: all.map(({ command }) => command as Document),
      examined: { documents: sum('docsExamined'), keys: sum('keysExamined'), returned: sum('nreturned') },
    }
  }

  /**
   * CPU milliseconds that the queries of one request take with each of two databases, which are asked in turns, so that
   * whatever else the machine does hits both.
   */
  async cost(requests: Document[][], { seconds, turns }: { seconds: number; turns: number }) {
    const member = await this.#secondary()
    const plain = requests.map((commands) => commands.map(plainCommand))
    const idle = await this.#idle(member)
    const sums = { before: { ms: 0, requests: 0 }, after: { ms: 0, requests: 0 } }
    for (let turn = 0; turn <= turns; turn++) {
      for (const side of turn % 2 === 0 ? (['before', 'after'] as const) : (['after', 'before'] as const)) {
        const db = member.client.db(side === 'before' ? copyName : databaseName)
        const endsAt = performance.now() + (seconds * 1_000) / turns
        const { ms, result } = await this.#cpuOf(member, idle, () => replay(db, plain, endsAt))
        // The first one fills the caches.
        if (turn === 0) continue
        sums[side].ms += ms
        sums[side].requests += result
      }
    }
    return { before: sums.before.ms / sums.before.requests, after: sums.after.ms / sums.after.requests }
  }

  #idleShare: number | undefined

  /** What a member uses for being one, as a share of a core. */
  async #idle(member: Member): Promise<number> {
    this.#idleShare ??= (await this.#cpuOf(member, 0, () => sleep(idleMs))).ms / idleMs
    return this.#idleShare
  }

  async #cpuOf<T>({ pid }: Member, idle: number, work: () => Promise<T>): Promise<{ ms: number; result: T }> {
    const meter = new CpuMeter(() => [{ part: 'mongod', pid }])
    const startedAt = performance.now()
    try {
      const result = await work()
      return { ms: meter.end().mongod - idle * (performance.now() - startedAt), result }
    } finally {
      meter.end()
    }
  }

  async #secondary(): Promise<Member> {
    for (const member of this.#members) {
      if ((await member.client.db('admin').command({ hello: 1 })).secondary) return member
    }
    throw new Failure('The replica set has no secondary.', 2)
  }

  async close(): Promise<void> {
    await Promise.all([this.#set, ...this.#members.map(({ client }) => client)].map((client) => client.close()))
  }
}

/** Returns how many requests it was, each of every variant in turn. */
async function replay(db: mongoose.mongo.Db, requests: Document[][], endsAt: number): Promise<number> {
  let count = 0
  const worker = async () => {
    while (performance.now() < endsAt || count < requests.length) {
      for (const command of requests[count++ % requests.length] ?? []) await db.command(command)
    }
  }
  await Promise.all(Array.from({ length: atATime }, worker))
  return count
}

/** A command without what belonged to the session that it came from, nor its hurry. */
function plainCommand(command: Document): Document {
  const { lsid: _1, $clusterTime: _2, $readPreference: _3, $db: _4, comment: _5, readConcern: _6, ...rest } = command
  const { maxTimeMS: _7, ...plain } = rest
  return plain
}
