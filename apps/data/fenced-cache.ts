import { randomBytes } from 'node:crypto'
import type { Redis, Result } from 'ioredis'
import { DomainError } from '../domain/errors.ts'
import { type ClusterTime, compare, formatTime, parseTime } from './cluster-time.ts'
import type { Floor } from './floor.ts'
import { currentReader } from './reader.ts'
import { defineScript, type RedisRun } from './redis.ts'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    raiseFence(entry: string, fence: string, write: string, state: string, ttlMs: number): Result<null, Context>
    fillEntry(entry: string, fence: string, ...values: (string | number | Buffer)[]): Result<number, Context>
  }
}

/** Told how each look-up went. */
export interface CacheObserver {
  looked(outcome: 'hit' | 'miss' | 'refused' | 'unavailable'): void
}

/** The moments of the set's clock that something is from. */
export interface Moments {
  /** Has everything up to here, and nothing from after there. */
  from: ClusterTime
  to: ClusterTime
  /** The run of Redis that it was stored in: another may have brought it back from before a write. */
  run: string
}

/** What is kept of one thing: bodies as they are sent, by the name of their field. */
export interface Kept<Meta extends Moments> {
  meta: Meta
  bodies: Record<string, Buffer>
}

/**
 * Things kept in Redis under fences: whoever changes one removes its entry first, and nothing that was read before a change
 * is stored after it. So what is there is good for everybody, also for who has just written.
 */
export interface FencedCache<Meta extends Moments> {
  /** The entry with those of these fields that it has. @throws when Redis does not answer */
  lookUp(id: string, ...fields: string[]): Promise<Kept<Meta> | undefined>
  /** Whether the fences vouch for it: they do within one run of Redis. */
  isVouchedFor(kept: Kept<Meta>): boolean
  /** What is told of something that was read just now. */
  momentsOf(read: { from: ClusterTime; to: ClusterTime }): Moments
  /**
   * False where something was, or may have been, written after the moment that it is from, also where Redis may have
   * forgotten of it. @throws as {@link lookUp}
   */
  fill(id: string, kept: { meta: Meta; bodies: Record<string, string | Buffer> }, ttlMs: number): Promise<boolean>
  /** When it was written last, if that is not long ago. @throws as {@link lookUp} */
  writtenAt(id: string): Promise<ClusterTime | undefined>
  /**
   * Runs a write, which has to announce itself when it is allowed and about to happen.
   *
   * @param alongside is stored in the same trip as the moment of a write that has succeeded
   * @throws DomainError `unavailable` where it cannot be announced, or not told that it has happened
   */
  write<T>(id: string, run: (announce: () => Promise<void>) => Promise<T>, alongside?: () => Promise<void>): Promise<T>
}

/** A look-up whose outcome is wanted later, or never by whoever is refused meanwhile. */
export function aheadOfUse<T>(asked: Promise<T>): Promise<T> {
  asked.catch(() => {})
  return asked
}

/** What a cache under fences lies in. */
export interface Fenced {
  redis: Redis
  run: RedisRun
  floor: Floor
}

// How long a write may be under way. It is refused to fill meanwhile, also when the writer has died.
const pendingMs = 15_000
// Longer than any read that fills may take, and than any secondary lags that serves reads.
const fenceMs = 60 * 60_000

/** @param keyOf names an entry; that of its fence follows from it */
export function createFencedCache<Meta extends Moments>(
  { redis, run, floor }: Fenced,
  keyOf: (id: string) => string,
): FencedCache<Meta> {
  defineScript(redis, 'raiseFence', 'raise-fence', 2)
  defineScript(redis, 'fillEntry', 'fill-entry', 2)
  const fenceOf = (id: string) => `fence:${keyOf(id)}`

  return {
    async lookUp(id, ...fields) {
      const [meta, ...found] = await redis.hmgetBuffer(keyOf(id), 'meta', ...fields)
      if (!meta) return undefined
      const bodies: Record<string, Buffer> = {}
      for (const [index, field] of fields.entries()) {
        const body = found[index]
        if (body) bodies[field] = body
      }
      return { meta: JSON.parse(meta.toString()) as Meta, bodies }
    },
    isVouchedFor: ({ meta }) => meta.run === run.current()?.id,
    momentsOf: ({ from, to }) => ({ from, to, run: run.current()?.id ?? '' }),
    async fill(id, { meta, bodies }, ttlMs) {
      const least = floor()
      if (!least || compare(meta.from, least) < 0) return false
      const { seconds, counter } = meta.from
      const values = ['meta', JSON.stringify(meta), ...Object.entries(bodies).flat()]
      return (await redis.fillEntry(keyOf(id), fenceOf(id), seconds, counter, ttlMs, ...values)) === 1
    },
    writtenAt: async (id) => parseTime(await redis.hget(fenceOf(id), 'date')),
    async write(id, run, alongside) {
      const name = randomBytes(8).toString('hex')
      const raise = (state: string) => redis.raiseFence(keyOf(id), fenceOf(id), name, state, fenceMs).catch(refuse)
      let announced = false
      let inDoubt = false
      let done = false
      try {
        const result = await run(async () => {
          // Not just afterwards: if this process dies in between, nothing old may be filled in.
          await raise(String(pendingMs))
          announced = true
        })
        done = true
        return result
      } catch (error) {
        inDoubt = !(error instanceof DomainError) || error.code === 'unavailable'
        throw error
      } finally {
        const written = currentReader()?.token?.write
        // In doubt there is no date, and the write stays announced until it must have ended.
        if (announced && !inDoubt && written) {
          await Promise.all([raise(formatTime(written)), done ? alongside?.() : undefined])
        }
      }
    },
  }
}

function refuse(cause: unknown): never {
  throw new DomainError('unavailable', 'The change cannot be made known right now', {
    retryAfterSeconds: 1,
    isLocal: true,
    cause,
  })
}
