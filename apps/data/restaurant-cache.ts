import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip, zstdCompress } from 'node:zlib'
import type { Result } from 'ioredis'
import { DomainError } from '../domain/errors.ts'
import type { Restaurant } from '../domain/restaurant.ts'
import { type ClusterTime, compare, later } from './cluster-time.ts'
import type { Consistency, Dated } from './consistency.ts'
import {
  aheadOfUse,
  type CacheObserver,
  createFencedCache,
  type Fenced,
  type Kept,
  type Moments,
} from './fenced-cache.ts'
import { Flights } from './flights.ts'
import { asSomebody, currentReader, noteKept, noteRead } from './reader.ts'
import { defineScript } from './redis.ts'
import type { Restaurants, RestaurantWrite } from './restaurants.ts'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    endFlight(flight: string, holder: string): Result<null, Context>
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
  /**
   * The restaurant as an order takes it: no older than any acknowledged write, from the cache where it is there.
   * @throws DomainError `unavailable` when neither can be asked
   */
  findForOrder(id: string): Promise<OrderedFrom | null>
  /** Asks for what {@link find} needs first, so that it travels with whatever else is asked of Redis in the same tick. */
  ask(id: string, encoding: Encoding): Asked
  /** The same stores, with writes that keep the cache true. */
  restaurants: Restaurants
}

export type OrderedFrom = Pick<Restaurant, 'id' | 'name' | 'menu'>

/** What Redis has, once it is known. */
export type Asked = Promise<Entry | undefined>

export interface RestaurantCacheOptions extends Fenced {
  restaurants: Restaurants
  consistency: Consistency
  /** What a client gets: JSON that has id, name and menu as they are here. */
  render: (restaurant: Restaurant) => string
  observer?: CacheObserver
}

const entryMs = 15 * 60_000
// Somebody may be told that a restaurant is not there just before it is.
const missingMs = 2_000
// How long others wait for the one who reads, and when they take that one for dead.
const flightMs = 2_000
const flightPollMs = 10
const flightPatienceMs = 1_000

const compressedFromBytes = 1_024

const entryKey = (id: string) => `restaurant:${id}`
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

/** Its bodies are by encoding. There is none, and no tag, of a restaurant that is not there. */
type Entry = Kept<Moments & { etag: string | null }>

export function createRestaurantCache(options: RestaurantCacheOptions): RestaurantCache {
  const { redis, restaurants, consistency, render, observer } = options
  const entries = createFencedCache<Entry['meta']>(options, entryKey)
  defineScript(redis, 'endFlight', 'end-flight', 1)
  defineScript(redis, 'addEncoding', 'add-encoding', 1)

  // Reads of this replica under way, so that it asks only once itself.
  const flights = new Flights<Entry>()
  const compressions = new Flights<Buffer>()

  function lookUp(id: string, encoding: Encoding): Asked {
    return encoding === 'identity' ? entries.lookUp(id, 'identity') : entries.lookUp(id, 'identity', encoding)
  }

  /** Nobody puts a fence up for a restaurant that is new: that it is missing is not told to who has written since. */
  function isUsable(entry: Entry): boolean {
    const { meta } = entry
    if (!entries.isVouchedFor(entry)) return false
    const written = currentReader()?.token?.write
    return meta.etag !== null || !written || compare(meta.from, written) >= 0
  }

  async function read(id: string, after: ClusterTime | undefined): Promise<Entry> {
    return renderEntry(await consistency.readDated(after, (read) => restaurants.query(id, read)))
  }

  function renderEntry(read: Dated<Restaurant | null>): Entry {
    const moments = entries.momentsOf(read)
    if (!read.value) return { meta: { etag: null, ...moments }, bodies: {} }
    const text = render(read.value)
    return { meta: { etag: etagOf(text), ...moments }, bodies: { identity: Buffer.from(text) } }
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
    const [stored] = await Promise.all([
      entries.fill(id, entry, entry.meta.etag === null ? missingMs : entryMs),
      redis.endFlight(flightKey(id), holder),
    ])
    if (!stored) observer?.looked('refused')
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
        noteKept(entry.meta.to)
        return entry
      }
      observer?.looked('miss')
      const fence = await entries.writtenAt(id)
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

  function write(id: string, by: RestaurantWrite, run: (by: RestaurantWrite) => Promise<Restaurant>) {
    return asSomebody(() => entries.write(id, (announce) => run({ ...by, announce })))
  }

  return {
    ask(id, encoding) {
      return aheadOfUse(lookUp(id, encoding))
    },
    async find(id, encoding, asked = lookUp(id, encoding)) {
      const entry = await findEntry(id, encoding, asked)
      const { etag } = entry.meta
      if (etag === null) return null
      const body = encoding === 'identity' ? undefined : await encoded(id, encoding, entry)
      if (body) return { etag: etagIn(encoding, etag), body, encoding }
      return { etag, body: entry.bodies.identity ?? Buffer.alloc(0), encoding: 'identity' }
    },
    async findForOrder(id) {
      const entry = await lookUp(id, 'identity').catch(() => undefined)
      const body = entry && isUsable(entry) ? entry.bodies.identity : undefined
      observer?.looked(body ? 'hit' : 'miss')
      if (!entry || !body) return restaurants.find(id, 'latest')
      noteKept(entry.meta.to)
      return JSON.parse(body.toString()) as OrderedFrom
    },
    restaurants: {
      ...restaurants,
      update: (id, changes, by) => write(id, by, (announced) => restaurants.update(id, changes, announced)),
      replaceMenu: (id, menu, by) => write(id, by, (announced) => restaurants.replaceMenu(id, menu, announced)),
    },
  }
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
