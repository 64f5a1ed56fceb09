import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip, zstdCompress } from 'node:zlib'
import type { Redis, Result } from 'ioredis'
import { DomainError } from '../domain/errors.ts'
import type { Restaurant } from '../domain/restaurant.ts'
import { type ClusterTime, compare, formatTime, later, parseTime } from './cluster-time.ts'
import type { Consistency, Dated } from './consistency.ts'
import { Flights } from './flights.ts'
import { asSomebody, currentReader, noteRead } from './reader.ts'
import { defineScript, type RedisRun } from './redis.ts'
import type { Restaurants, RestaurantWrite } from './restaurants.ts'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    raiseFence(entry: string, fence: string, write: string, state: string, ttlMs: number): Result<null, Context>
    fillEntry(
      entry: string,
      fence: string,
      flight: string,
      ...values: (string | number | Buffer)[]
    ): Result<number, Context>
    addEncoding(entry: string, meta: string, encoding: string, body: Buffer): Result<null, Context>
  }
}

export const encodings = ['zstd', 'br', 'gzip'] as const
type Compression = (typeof encodings)[number]
export type Encoding = Compression | 'identity'

/** A restaurant as it goes over the wire. */
export interface Representation {
  etag: string
  body: Buffer
  encoding: Encoding
}

export interface RestaurantCache {
  /**
   * The representation in this encoding, or as it is where it is too small to be worth it; null when there is no such
   * restaurant. Never older than what this reader has written, nor than any acknowledged write.
   */
  find(id: string, encoding: Encoding, asked?: Asked): Promise<Representation | null>
  /** Asks for what {@link find} needs first, so that it travels with whatever else is asked of Redis in the same tick. */
  ask(id: string, encoding: Encoding): Asked
  /** The same stores, with writes that keep the cache true. */
  restaurants: Restaurants
}

/** What Redis has, once it is known. */
export type Asked = Promise<Entry | undefined>

/** Told how each look-up went. */
export interface CacheObserver {
  looked(outcome: 'hit' | 'miss' | 'refused' | 'unavailable'): void
}

export interface RestaurantCacheOptions {
  redis: Redis
  run: RedisRun
  restaurants: Restaurants
  consistency: Consistency
  /** What a client gets. */
  render: (restaurant: Restaurant) => string
  observer?: CacheObserver
}

const entryMs = 15 * 60_000
// Somebody may be told that a restaurant is not there just before it is.
const missingMs = 2_000
// How long a write may be under way. It is refused to fill meanwhile, also when the writer has died.
const pendingMs = 15_000
// Longer than any read that fills may take, and than any secondary lags that serves reads.
const fenceMs = 60 * 60_000
// How long others wait for the one who reads, and when they take that one for dead.
const flightMs = 2_000
const flightPollMs = 10
const flightPatienceMs = 1_000

const compressedFromBytes = 1_024

const entryKey = (id: string) => `restaurant:${id}`
const fenceKey = (id: string) => `fence:restaurant:${id}`
const flightKey = (id: string) => `flight:restaurant:${id}`

/** A tag of the content itself (RFC 9110, 8.8.3), so that it is right whoever changed the data, and however. */
export function etagOf(body: string): string {
  return `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
}

/** Other bytes are another representation, and need another tag (RFC 9110, 8.8.3.3). */
function etagIn(encoding: Encoding, etag: string): string {
  return encoding === 'identity' ? etag : etag.replace(/"$/, `.${encoding}"`)
}

/** The tag of the content, whatever encoding it came in. */
export function plainEtag(etag: string): string {
  return etag.replace(/\.\w+"\s*$/, '"')
}

interface Meta {
  etag: string | null
  /** Has everything up to here, and nothing from after there. */
  from: ClusterTime
  to: ClusterTime
  /** The run of Redis that it was stored in: another may have brought it back from before a write. */
  run: string
}

type Bodies = Partial<Record<Encoding, Buffer>>
type Entry = { meta: Meta; bodies: Bodies }

export function createRestaurantCache(options: RestaurantCacheOptions): RestaurantCache {
  const { redis, run, restaurants, consistency, render, observer } = options
  defineScript(redis, 'raiseFence', 'raise-fence', 2)
  defineScript(redis, 'fillEntry', 'fill-entry', 3)
  defineScript(redis, 'addEncoding', 'add-encoding', 1)

  // Reads of this replica under way, so that it asks only once itself.
  const flights = new Flights<Entry>()
  const compressions = new Flights<Buffer>()

  /** @throws when Redis does not answer */
  async function lookUp(id: string, encoding: Encoding): Promise<Entry | undefined> {
    const fields = encoding === 'identity' ? [] : [encoding]
    const [meta, identity, encoded] = await redis.hmgetBuffer(entryKey(id), 'meta', 'identity', ...fields)
    return meta ? entryOf(meta, { [encoding]: encoded, identity }) : undefined
  }

  /**
   * Within one run of Redis the fences vouch for what is there: whoever changes a restaurant removes its entry first. Not
   * so for what is missing, since nobody puts a fence up for a restaurant that is new.
   */
  function isUsable({ meta }: Entry): boolean {
    if (meta.run !== run.current()?.id) return false
    const written = currentReader()?.token?.write
    return meta.etag !== null || !written || compare(meta.from, written) >= 0
  }

  async function read(id: string, after: ClusterTime | undefined): Promise<Entry> {
    return renderEntry(await consistency.readDated(after, (read) => restaurants.query(id, read)))
  }

  function renderEntry({ value, from, to }: Dated<Restaurant | null>): Entry {
    const meta = { etag: null, from, to, run: run.current()?.id ?? '' }
    if (!value) return { meta, bodies: {} }
    const text = render(value)
    return { meta: { ...meta, etag: etagOf(text) }, bodies: { identity: Buffer.from(text) } }
  }

  /** One read for everybody who asks meanwhile, on this replica and the others. */
  async function lead(id: string, encoding: Encoding, after: ClusterTime | undefined): Promise<Entry> {
    const holder = randomBytes(8).toString('hex')
    const leads = await redis.set(flightKey(id), holder, 'PX', flightMs, 'NX')
    const deadline = performance.now() + flightPatienceMs
    for (;;) {
      // In this order: whoever reads for all stores the entry before the flight is over. Looked up by who leads too, since
      // the one before may have just stored it.
      const [flying, entry] = await Promise.all([redis.exists(flightKey(id)), lookUp(id, encoding)])
      if (entry && isUsable(entry)) {
        if (leads !== null) await redis.del(flightKey(id))
        return entry
      }
      if (leads !== null) break
      // The one who read could not store it, since something is being written, or takes too long.
      if (flying === 0 || performance.now() > deadline) return read(id, after)
      await sleep(flightPollMs * (0.5 + Math.random()))
    }
    const entry = await read(id, after).catch(async (error) => {
      await redis.del(flightKey(id)).catch(() => {})
      throw error
    })
    const { meta, bodies } = entry
    const stored = await redis.fillEntry(
      entryKey(id),
      fenceKey(id),
      flightKey(id),
      meta.from.seconds,
      meta.from.counter,
      meta.etag === null ? missingMs : entryMs,
      holder,
      'meta',
      JSON.stringify(meta),
      ...Object.entries(bodies).flat(),
    )
    if (stored === 0) observer?.looked('refused')
    return entry
  }

  /** From the cache, or by a read that is shared with whoever asks meanwhile. */
  async function findEntry(id: string, encoding: Encoding, asked: Asked): Promise<Entry> {
    const reader = currentReader()
    let after = reader?.token?.write
    let flown: Entry
    try {
      const entry = await asked
      if (entry && isUsable(entry)) {
        observer?.looked('hit')
        noteRead('cache')
        // A later read must not show less than this one may have shown.
        reader?.sawKept(entry.meta.to)
        return entry
      }
      observer?.looked('miss')
      const fence = parseTime(await redis.hget(fenceKey(id), 'date'))
      if (fence) after = after ? later(after, fence) : fence
      flown = await flights.join(id, () => lead(id, encoding, after))
    } catch (error) {
      if (error instanceof DomainError) throw error
      observer?.looked('unavailable')
      // It cannot be known what has been written meanwhile, so that nobody is told what another was who needs less.
      flown = reader?.tokenLost ? await read(id, after) : await flights.join(`${id} alone`, () => read(id, after))
    }
    // Who led the flight may have asked for less.
    if (after && compare(flown.meta.from, after) < 0) return read(id, after)
    if (reader?.sources.size === 0) noteRead('cache')
    reader?.sawKept(flown.meta.to)
    return flown
  }

  /** Undefined where it is not worth it. Kept with the entry, for whoever asks for this encoding next. */
  async function encoded(id: string, encoding: Compression, { meta, bodies }: Entry): Promise<Buffer | undefined> {
    const { identity, [encoding]: kept } = bodies
    if (kept || !identity || identity.length < compressedFromBytes) return kept
    return compressions.join(`${id} ${encoding} ${meta.etag}`, async () => {
      const body = await compress[encoding](identity)
      // Where it cannot be kept, the next one compresses it again.
      redis.addEncoding(entryKey(id), JSON.stringify(meta), encoding, body).catch(() => {})
      return body
    })
  }

  async function write(id: string, by: RestaurantWrite, run: (by: RestaurantWrite) => Promise<Restaurant>) {
    const name = randomBytes(8).toString('hex')
    const raise = (state: string) => redis.raiseFence(entryKey(id), fenceKey(id), name, state, fenceMs).catch(refuse)
    let announced = false
    let inDoubt = false
    try {
      return await run({
        ...by,
        async announce() {
          // Not just afterwards: if this process dies in between, nothing old may be filled in.
          await raise(String(pendingMs))
          announced = true
        },
      })
    } catch (error) {
      inDoubt = !(error instanceof DomainError) || error.code === 'unavailable'
      throw error
    } finally {
      const written = currentReader()?.token?.write
      // In doubt there is no date, and the write stays announced until it must have ended.
      if (announced && !inDoubt && written) await raise(formatTime(written))
    }
  }

  return {
    ask(id, encoding) {
      const asked = lookUp(id, encoding)
      // Whoever is refused never comes to look at it.
      asked.catch(() => {})
      return asked
    },
    async find(id, encoding, asked = lookUp(id, encoding)) {
      const entry = await findEntry(id, encoding, asked)
      const { etag } = entry.meta
      if (etag === null) return null
      const body = encoding === 'identity' ? undefined : await encoded(id, encoding, entry)
      if (body) return { etag: etagIn(encoding, etag), body, encoding }
      return { etag, body: entry.bodies.identity ?? Buffer.alloc(0), encoding: 'identity' }
    },
    restaurants: {
      ...restaurants,
      update: (id, changes, by) =>
        asSomebody(() => write(id, by, (announced) => restaurants.update(id, changes, announced))),
      replaceMenu: (id, menu, by) =>
        asSomebody(() => write(id, by, (announced) => restaurants.replaceMenu(id, menu, announced))),
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

const gzipAsync = promisify(gzip)
const brotliAsync = promisify(brotliCompress)
const zstdAsync = promisify(zstdCompress)

// Once per entry and encoding that somebody asks for, so it may take the time that a live answer has not.
const compress: Record<Compression, (body: Buffer) => Promise<Buffer>> = {
  gzip: (body) => gzipAsync(body, { level: 9 }),
  // Without a word about the size, these two allocate and clear tables for any size: 2.4 ms in place of 0.2 for br, 32 in
  // place of 0.2 for zstd, with a restaurant of usual size.
  br(body) {
    const windowBits = Math.min(Math.max(Math.ceil(Math.log2(body.length)), constants.BROTLI_MIN_WINDOW_BITS), 22)
    const params = {
      [constants.BROTLI_PARAM_QUALITY]: 9,
      [constants.BROTLI_PARAM_LGWIN]: windowBits,
      [constants.BROTLI_PARAM_SIZE_HINT]: body.length,
    }
    return brotliAsync(body, { params })
  },
  zstd: (body) => zstdAsync(body, { pledgedSrcSize: body.length, params: { [constants.ZSTD_c_compressionLevel]: 12 } }),
}

function entryOf(meta: Buffer, bodies: Partial<Record<Encoding, Buffer | null | undefined>>): Entry {
  const present = Object.entries(bodies).filter((body): body is [string, Buffer] => Boolean(body[1]))
  return { meta: JSON.parse(meta.toString()) as Meta, bodies: Object.fromEntries(present) }
}
