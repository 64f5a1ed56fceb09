import { randomBytes } from 'node:crypto'
import { RedisStore } from 'connect-redis'
import type { SessionData } from 'express-session'
import type { Redis, Result } from 'ioredis'
import { DomainError } from '../domain/errors.ts'
import { currentReader, refuseAbandoned } from './reader.ts'
import { defineScript } from './redis.ts'
import type { Tokens } from './tokens.ts'

/** One log-in of one user on one device. */
export interface SessionInfo {
  id: string
  device: string
  createdAt: Date
  /** To within {@link seenGranularitySeconds}. */
  lastSeenAt: Date
}

/** What a session holds: who it belongs to and what the list of sessions shows, nothing else. */
export interface SessionContent {
  userId: string
  /** The id that the API shows; the sid itself is a secret. */
  publicId: string
  device: string
  createdAt: string
  lastSeenAt: string
  /** The key of the log-in request: a repeated try replaces the session of the first. */
  loginKey: string
}

/** A session that could not be read because Redis does not answer: neither valid nor ended. */
export interface UnknownSession {
  unknown: true
}

/** Told how long Redis took for an operation on sessions, also for one that failed. */
export type SessionObserver = (operation: SessionOperation, seconds: number) => void
export type SessionOperation = 'get' | 'set' | 'destroy' | 'ping' | 'open' | 'list' | 'revoke'

export interface Sessions {
  /** For @fastify/session. */
  store: SessionStore
  /** @throws DomainError `unavailable` while no session could be begun */
  ping(): Promise<void>
  /**
   * Makes room for a session that is about to be saved, at best in the same tick; without this, saving it does nothing. The
   * oldest beyond {@link maxSessionsPerUser} ends. What the current reader has seen is stored with it.
   */
  open(sid: string, content: SessionContent): Promise<void>
  list(userId: string): Promise<SessionInfo[]>
  /** Ends a session on every replica at once. False when the user has none with this id. */
  revoke(userId: string, publicId: string): Promise<boolean>
}

export const maxSessionsPerUser = 50

/** A session in use is written again at most this often, to slide its expiry and note when it was last seen. */
export const seenGranularitySeconds = 300

const sessionPrefix = 'session:'
const sessionKey = (sid: string) => sessionPrefix + sid
const indexKey = (userId: string) => `sessions:{${userId}}`

/**
 * A new session id. That of a log-in names its user, so that the session and the user's causal token come in one round
 * trip; the braces keep all keys of a user in one slot of a Redis Cluster.
 */
export function newSid(userId: string | undefined): string {
  const secret = randomBytes(24).toString('base64url')
  return userId === undefined ? secret : `{${userId}}.${secret}`
}

function userOf(sid: string): string | undefined {
  return /^\{(\w+)\}\./.exec(sid)?.[1]
}

declare module 'ioredis' {
  interface RedisCommander<Context> {
    saveSession(
      key: string,
      index: string,
      sid: string,
      session: string,
      ttlSeconds: number,
      entry: string,
    ): Result<number, Context>
    openSession(index: string, sid: string, entry: string, most: number, prefix: string): Result<null, Context>
  }
}

type Callback<T = void> = (error: unknown, result?: T) => void
type StoredSession = SessionData & Partial<SessionContent>

/**
 * connect-redis, except that a session is stored only while its user's index names it, and that a Redis that does not
 * answer gives a session marked as unknown instead of an error: public pages do not need to know who asks.
 */
export class SessionStore extends RedisStore {
  readonly #redis: Redis
  readonly #tokens: Tokens
  readonly #onError: (error: unknown) => void
  readonly #timed: Timed

  constructor(redis: Redis, tokens: Tokens, ttlSeconds: number, onError: (error: unknown) => void, timed: Timed) {
    super({ client: redis, prefix: sessionPrefix, ttl: ttlSeconds })
    this.#redis = redis
    this.#tokens = tokens
    this.#onError = onError
    this.#timed = timed
    defineScript(redis, 'saveSession', 'save-session', 2)
  }

  override async get(sid: string, callback: Callback<StoredSession | UnknownSession | null> = () => {}) {
    const found = await this.#timed('get', () => this.#find(sid)).catch((error): UnknownSession => {
      this.#onError(error)
      const reader = currentReader()
      if (reader) reader.tokenLost = true
      return { unknown: true }
    })
    callback(null, found)
  }

  async #find(sid: string): Promise<StoredSession | null> {
    const userId = userOf(sid)
    if (userId === undefined) return null
    // Asked for in one tick, so they travel together.
    const [session, token] = await Promise.all([super.get(sid), this.#tokens.load(userId)])
    const reader = currentReader()
    if (session && reader) this.#tokens.adopt(reader, userId, token)
    return session
  }

  override async set(sid: string, session: StoredSession, callback: Callback = () => {}) {
    // A session that belongs to nobody has nothing worth keeping.
    const error =
      session.userId === undefined
        ? null
        : await this.#timed('set', () => this.#save(sid, session as SessionData & SessionContent))
    callback(error)
  }

  #save(sid: string, session: SessionData & SessionContent): Promise<DomainError | null> {
    const { cookie, ...content } = session
    // The other attributes follow from each request: what began without TLS may come with it.
    const { expires, originalMaxAge } = cookie
    return this.#redis
      .saveSession(
        sessionKey(sid),
        indexKey(session.userId),
        sid,
        JSON.stringify({ ...content, cookie: { expires, originalMaxAge } }),
        this.ttlOf(session),
        entryOf(session),
      )
      .then(() => null, sessionsUnavailable)
  }

  override async destroy(sid: string, callback: Callback = () => {}) {
    const userId = userOf(sid)
    const error =
      userId === undefined
        ? null
        : await this.#timed('destroy', () => end(this.#redis, userId, [sid])).then(() => null, sessionsUnavailable)
    callback(error)
  }

  private ttlOf(session: StoredSession): number {
    const expires = session.cookie?.expires
    const seconds = expires ? Math.ceil((new Date(expires).getTime() - Date.now()) / 1000) : Number(this.ttl)
    return Math.max(1, seconds)
  }
}

type Entry = Pick<SessionContent, 'publicId' | 'device' | 'createdAt' | 'lastSeenAt' | 'loginKey'>

function entryOf({ publicId, device, createdAt, lastSeenAt, loginKey }: Entry): string {
  return JSON.stringify({ publicId, device, createdAt, lastSeenAt, loginKey })
}

async function end(redis: Redis, userId: string, sids: string[]): Promise<number> {
  if (sids.length === 0) return 0
  const [removed] = await Promise.all([redis.hdel(indexKey(userId), ...sids), redis.del(sids.map(sessionKey))])
  return removed
}

type Timed = <T>(operation: SessionOperation, run: () => Promise<T>) => Promise<T>

function timedBy(observer: SessionObserver | undefined): Timed {
  return async (operation, run) => {
    const startedMs = performance.now()
    try {
      return await run()
    } finally {
      observer?.(operation, (performance.now() - startedMs) / 1000)
    }
  }
}

/** What anybody is told who needs a session while Redis does not answer. */
export function sessionsUnavailable(cause?: unknown): DomainError {
  return new DomainError('unavailable', 'Sessions cannot be reached right now', {
    retryAfterSeconds: 1,
    isLocal: true,
    cause,
  })
}

export function createSessions(
  redis: Redis,
  tokens: Tokens,
  ttlSeconds: number,
  onError: (error: unknown) => void = () => {},
  observer?: SessionObserver,
): Sessions {
  const timed = timedBy(observer)
  defineScript(redis, 'openSession', 'open-session', 1)

  async function entries(userId: string): Promise<(Entry & { sid: string })[]> {
    const found = await redis.hgetall(indexKey(userId))
    return Object.entries(found)
      .map(([sid, entry]) => ({ sid, ...(JSON.parse(entry) as Entry) }))
      .sort((a, b) => (a.lastSeenAt < b.lastSeenAt ? 1 : -1))
  }

  /** The sessions that still live, latest first; forgets those that have run out. */
  async function alive(userId: string): Promise<(Entry & { sid: string })[]> {
    const all = await entries(userId)
    if (all.length === 0) return []
    const found = await redis.mget(all.map(({ sid }) => sessionKey(sid)))
    const gone = all.filter((_, index) => found[index] === null)
    // Expired for certain: one that was just opened has no session key yet, but is younger.
    const ended = gone.filter(({ lastSeenAt }) => Date.now() - Date.parse(lastSeenAt) > ttlSeconds * 1000)
    await end(
      redis,
      userId,
      ended.map(({ sid }) => sid),
    )
    return all.filter((entry) => !gone.includes(entry))
  }

  async function translate<T>(operation: SessionOperation, run: () => Promise<T>): Promise<T> {
    try {
      return await timed(operation, run)
    } catch (error) {
      throw sessionsUnavailable(error)
    }
  }

  return {
    store: new SessionStore(redis, tokens, ttlSeconds, onError, timed),
    ping: () =>
      translate('ping', async () => {
        // Not PING, which one that is full or read-only answers, too.
        await redis.set('sessions:ping', '', 'PX', 1)
      }),
    open: (sid, content) =>
      translate('open', async () => {
        refuseAbandoned()
        const reader = currentReader()
        await Promise.all([
          redis.openSession(indexKey(content.userId), sid, entryOf(content), maxSessionsPerUser, sessionPrefix),
          reader && tokens.save(reader),
        ])
      }),
    list: (userId) =>
      translate('list', async () =>
        (await alive(userId)).map(({ publicId, device, createdAt, lastSeenAt }) => ({
          id: publicId,
          device,
          createdAt: new Date(createdAt),
          lastSeenAt: new Date(lastSeenAt),
        })),
      ),
    revoke: (userId, publicId) =>
      translate('revoke', async () => {
        const sids = (await entries(userId)).filter((entry) => entry.publicId === publicId).map(({ sid }) => sid)
        return (await end(redis, userId, sids)) > 0
      }),
  }
}
