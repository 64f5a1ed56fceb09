import type { Redis } from 'ioredis'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { createFloor } from '../../apps/data/floor.ts'
import { newId, newPublicId } from '../../apps/data/ids.ts'
import { connectRedis, redisReady, watchRun } from '../../apps/data/redis.ts'
import { createSessions, maxSessionsPerUser, newSid, type SessionContent } from '../../apps/data/sessions.ts'
import { createTokens, type Tokens } from '../../apps/data/tokens.ts'
import { openRedis, redisForFile, redisOptions } from '../support/api.ts'
import { benchForFile } from '../support/commands.ts'

const bench = benchForFile()
const shared = redisForFile()

const day = 86_400
const someUser = () => newId().toHexString()

let tokens: Tokens
beforeAll(() => {
  tokens = createTokens(shared.redis, createFloor(shared.run, bench.mongo.members), bench.mongo)
})

/** The store behind callbacks, as @fastify/session calls it. */
function createStore(ttlSeconds = day, client = shared.redis, onError = (_error: unknown) => {}) {
  const own =
    client === shared.redis
      ? tokens
      : createTokens(client, createFloor(watchRun(client), bench.mongo.members), bench.mongo)
  const sessions = createSessions(client, own, ttlSeconds, onError)
  const { store } = sessions
  const call = <T>(run: (callback: (error: unknown, result?: T) => void) => unknown) =>
    new Promise<T | undefined>((resolve, reject) => {
      void run((error, result) => (error ? reject(error) : resolve(result)))
    })
  return {
    ...sessions,
    get: (sid: string) => call((callback) => store.get(sid, callback as never)),
    save: (sid: string, content: SessionContent) =>
      call((callback) => store.set(sid, sessionOf(content, ttlSeconds), callback)),
    destroy: (sid: string) => call((callback) => store.destroy(sid, callback)),
  }
}
type Store = ReturnType<typeof createStore>

const sessionOf = (content: SessionContent, ttlSeconds: number) => ({
  ...content,
  cookie: { originalMaxAge: ttlSeconds * 1_000, expires: new Date(Date.now() + ttlSeconds * 1_000) },
})

const contentOf = (userId: string, changes: Partial<SessionContent> = {}): SessionContent => ({
  userId,
  publicId: newPublicId(),
  device: 'curl/8',
  createdAt: new Date().toISOString(),
  lastSeenAt: new Date().toISOString(),
  loginKey: newPublicId(),
  ...changes,
})

/** A log-in, as the API makes it. */
async function logIn(store: Store, userId: string, changes: Partial<SessionContent> = {}) {
  const content = contentOf(userId, changes)
  const sid = newSid(userId)
  await store.open(sid, content)
  await store.save(sid, content)
  return { sid, content }
}

describe('a session', () => {
  test('is read again as it was saved, and listed', async () => {
    const store = createStore()
    const userId = someUser()
    const { sid, content } = await logIn(store, userId)
    expect(await store.get(sid)).toMatchObject(content)
    expect(await store.list(userId)).toEqual([
      {
        id: content.publicId,
        device: content.device,
        createdAt: new Date(content.createdAt),
        lastSeenAt: new Date(content.lastSeenAt),
      },
    ])
    expect(await store.list(someUser())).toEqual([])
    expect(await store.get(newSid(userId))).toBeNull()
    expect(await store.get('made-up')).toBeNull()
  })

  test('lists the one seen last first', async () => {
    const store = createStore()
    const userId = someUser()
    const seen = (minute: number) => new Date(Date.UTC(2030, 0, 1, 0, minute)).toISOString()
    const first = await logIn(store, userId, { lastSeenAt: seen(1) })
    const second = await logIn(store, userId, { lastSeenAt: seen(2) })
    const ids = async () => (await store.list(userId)).map(({ id }) => id)
    expect(await ids()).toEqual([second.content.publicId, first.content.publicId])
    await store.save(first.sid, { ...first.content, lastSeenAt: seen(3) })
    expect(await ids()).toEqual([first.content.publicId, second.content.publicId])
  })

  test('that belongs to nobody is not stored', async () => {
    const store = createStore()
    const sid = newSid(undefined)
    await store.save(sid, {} as SessionContent)
    expect(await shared.redis.exists(`session:${sid}`)).toBe(0)
  })

  test('that was never opened is not stored', async () => {
    const store = createStore()
    const userId = someUser()
    const sid = newSid(userId)
    await store.save(sid, contentOf(userId))
    expect(await store.get(sid)).toBeNull()
  })

  const endings: [string, (store: Store, userId: string, sid: string, publicId: string) => Promise<unknown>][] = [
    ['revoked', (store, userId, _sid, publicId) => store.revoke(userId, publicId)],
    ['destroyed', (store, _userId, sid) => store.destroy(sid)],
  ]
  test.each(endings)('that was %s is gone at once, and a late save does not bring it back', async (_how, end) => {
    const store = createStore()
    const userId = someUser()
    const { sid, content } = await logIn(store, userId)
    const other = await logIn(store, userId)
    await end(store, userId, sid, content.publicId)
    expect(await store.get(sid)).toBeNull()
    await store.save(sid, { ...content, lastSeenAt: new Date().toISOString() })
    expect(await store.get(sid)).toBeNull()
    expect((await store.list(userId)).map(({ id }) => id)).toEqual([other.content.publicId])
  })

  test('is revoked by its own user only, and only once', async () => {
    const store = createStore()
    const userId = someUser()
    const { sid, content } = await logIn(store, userId)
    expect(await store.revoke(someUser(), content.publicId)).toBe(false)
    expect(await store.revoke(userId, newPublicId())).toBe(false)
    expect(await store.get(sid)).not.toBeNull()
    expect(await store.revoke(userId, content.publicId)).toBe(true)
    expect(await store.revoke(userId, content.publicId)).toBe(false)
  })

  test('of a log-in that is tried again takes the place of the first', async () => {
    const store = createStore()
    const userId = someUser()
    const first = await logIn(store, userId, { loginKey: 'the request' })
    const again = await logIn(store, userId, { loginKey: 'the request' })
    expect(await store.get(first.sid)).toBeNull()
    expect(await store.get(again.sid)).not.toBeNull()
    expect(await store.list(userId)).toHaveLength(1)
  })

  test('is the one that ends when a user has too many and it was seen longest ago', async () => {
    const store = createStore()
    const userId = someUser()
    const opened = []
    for (let count = 0; count < maxSessionsPerUser; count++) {
      opened.push(await logIn(store, userId, { lastSeenAt: new Date(Date.now() - 1_000 * (1 + count)).toISOString() }))
    }
    const oldest = opened.at(-1)?.sid ?? ''
    expect(await store.get(oldest)).not.toBeNull()
    const { sid } = await logIn(store, userId)
    expect(await store.get(oldest)).toBeNull()
    expect(await store.get(sid)).not.toBeNull()
    expect(await store.list(userId)).toHaveLength(maxSessionsPerUser)
  })

  test('ends by itself when its time is over, and leaves nothing behind', async () => {
    const store = createStore(1)
    const userId = someUser()
    const { sid } = await logIn(store, userId)
    expect(await shared.redis.pttl(`session:${sid}`)).toBeGreaterThan(0)
    await expect.poll(() => store.get(sid), { timeout: 10_000 }).toBeNull()
    expect(await store.list(userId)).toEqual([])
    await expect.poll(() => shared.redis.keys(`*${userId}*`), { timeout: 10_000 }).toEqual([])
  })

  test('lives on when it is saved again', async () => {
    const userId = someUser()
    const { sid, content } = await logIn(createStore(60), userId)
    await createStore(3_600).save(sid, content)
    expect(await shared.redis.ttl(`session:${sid}`)).toBeGreaterThan(60)
    expect(await shared.redis.ttl(`sessions:{${userId}}`)).toBeGreaterThan(60)
  })
})

describe('while Redis does not answer', () => {
  async function expectUnknown(client: Redis) {
    const errors: unknown[] = []
    const store = createStore(day, client, (error) => errors.push(error))
    const userId = someUser()
    const sid = newSid(userId)
    expect(await store.get(sid)).toEqual({ unknown: true })
    expect(errors).toHaveLength(1)
    const content = contentOf(userId)
    const runs = [
      () => store.open(sid, content),
      () => store.save(sid, content),
      () => store.destroy(sid),
      () => store.list(userId),
      () => store.revoke(userId, content.publicId),
    ]
    await Promise.all(
      runs.map((run) => expect(run()).rejects.toMatchObject({ code: 'unavailable', retryAfterSeconds: 1 })),
    )
  }

  test('since the connection is lost, nobody knows what sessions there are', async () => {
    const client = await openRedis()
    client.disconnect()
    await expectUnknown(client)
  })

  test('since it is frozen, nobody knows either', async () => {
    const client = connectRedis({ ...redisOptions(), commandTimeoutMs: 50 })
    onTestFinished(() => client.disconnect())
    await redisReady(client, 5_000)
    await shared.redis.call('CLIENT', 'PAUSE', '600', 'ALL')
    await expectUnknown(client)
    // Until it goes on, for the tests that follow.
    await shared.redis.ping()
  })
})
