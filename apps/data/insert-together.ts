import mongoose, { type Collection, type mongo } from 'mongoose'
import { type Consistency, InDoubt, type WriteOptions } from './consistency.ts'
import { currentReader, Reader, readAs, refuseAbandoned } from './reader.ts'

/**
 * Inserts a document, acknowledged by the majority, as `consistency.write` with `insertOne` would: what is thrown is the
 * same, and the current reader has written it.
 */
export type Insert<T> = (document: T) => Promise<void>

// A document waits for the ones before it, but no longer than this: they may wait for an election.
const longestWaitMs = 25

const mostTogether = 50

interface Waiting<T> {
  document: T
  reader: Reader | undefined
  /** Whether it is stored; false if it was refused and has to be tried by itself to learn why. */
  settle(isStored: boolean): void
  fail(error: unknown): void
}

/**
 * Group commit: what comes while an insert is under way goes together in the next one. Replicating a write and waiting for
 * the majority costs as much for thirty documents as for one; whoever comes alone does not wait.
 */
export function insertTogether<T extends object>(collection: Collection, consistency: Consistency): Insert<T> {
  let waiting: Waiting<T>[] = []
  let underWay = 0
  let timer: NodeJS.Timeout | undefined

  function join(document: T): Promise<boolean> {
    return new Promise((settle, fail) => {
      waiting.push({ document, reader: currentReader(), settle, fail })
      if (underWay === 0 || waiting.length >= mostTogether) void sendAll()
      else timer ??= setTimeout(() => void sendAll(), longestWaitMs)
    })
  }

  async function sendAll(): Promise<void> {
    clearTimeout(timer)
    timer = undefined
    const group = waiting.filter(isStillWanted)
    waiting = []
    if (group.length === 0) return
    underWay++
    await send(group)
    underWay--
    if (waiting.length > 0) void sendAll()
  }

  /** Never throws: each gets to hear what became of its own. */
  async function send(group: Waiting<T>[]): Promise<void> {
    const together = new Reader()
    together.traceId = group.flatMap(({ reader }) => reader?.traceId ?? []).join(' ') || undefined
    const documents = group.map(({ document }) => document)
    const outcome = await readAs(together, () =>
      consistency.write((options) => insertAll(collection, documents, options)),
    ).catch((error: unknown) => ({ error }))
    const { token } = together
    for (const [index, { reader, settle, fail }] of group.entries()) {
      if (token) reader?.wrote(token.epoch, token.write, token.signed)
      if ('error' in outcome) fail(outcome.error)
      else settle(!outcome.refused.has(index))
    }
  }

  return async (document) => {
    if (await join(document)) return
    await consistency.write((options) => collection.insertOne(document, options))
  }
}

function isStillWanted<T>({ reader, fail }: Waiting<T>): boolean {
  try {
    if (reader) refuseAbandoned(reader)
    return true
  } catch (error) {
    fail(error)
    return false
  }
}

/** @returns the indexes of those that were refused; all others are stored */
async function insertAll(
  collection: Collection,
  documents: object[],
  options: WriteOptions,
): Promise<{ refused: Set<number> }> {
  const [only] = documents
  if (documents.length === 1 && only) {
    await collection.insertOne(only, options)
    return { refused: new Set() }
  }
  try {
    await collection.insertMany(documents, { ordered: false, ...options })
    return { refused: new Set() }
  } catch (error) {
    if (!(error instanceof mongoose.mongo.MongoBulkWriteError)) throw error
    const refusals = [error.writeErrors].flat() as mongo.WriteError[]
    // The driver tells what befell the whole command as an error of the first document alone, and that the majority did
    // not acknowledge only where no document was refused.
    const isKnown = error.insertedCount + refusals.length === documents.length && !error.result.getWriteConcernError()
    if (!isKnown) throw new InDoubt('It is unknown which documents were inserted', { cause: error })
    return { refused: new Set(refusals.map(({ index }) => index)) }
  }
}
