import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Redis, Result } from 'ioredis'
import { DomainError } from '../domain/errors.ts'
import { beginning, formatTime, parseSigned, parseTime, serializeSigned } from './cluster-time.ts'
import type { Floor } from './floor.ts'
import type { Mongo } from './mongo.ts'
import { type CausalToken, mergeTokens, type Reader } from './reader.ts'
import { defineScript } from './redis.ts'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    saveToken(key: string, ...values: (string | number)[]): Result<null, Context>
  }
}

/** Keeps each user's causal token in Redis, where every replica finds it. */
export interface Tokens {
  /** Asks for the stored token. Called in one tick with other commands, it travels with them. */
  load(userId: string): Promise<string | null>
  /** Gives a reader the token that was loaded, or marks it as lost. */
  adopt(reader: Reader, userId: string, stored: string | null): void
  /**
   * Stores what the request has written or seen, if it has. To be awaited before the answer leaves.
   * @throws DomainError `unavailable`: whoever gets the answer could be shown less by the next one; not where it is a
   *   refusal anyway, nor where it `mayFollow` as soon as Redis is back
   */
  save(reader: Reader, mayFollow?: boolean): Promise<void>
}

// Longer than any secondary may lag behind and still come back: an absent token sends its owner to the primary.
const ttlSeconds = 86_400

// Readers who may be told of public data although what they have seen cannot be stored just now.
const maxFollowing = 10_000

const tokenKey = (userId: string) => `causal:{${userId}}`

export function createTokens(
  redis: Redis,
  /** The least that anybody is shown whose token Redis may have lost. */
  floor: Floor,
  { epoch }: Pick<Mongo, 'epoch'>,
): Tokens {
  defineScript(redis, 'saveToken', 'save-token', 1)

  // Ready comes before any request can ask this client for a token.
  const following = new Map<string, CausalToken>()
  redis.on('ready', () => {
    for (const [userId, token] of following) store(userId, token).catch(() => follow(userId, token))
    following.clear()
  })

  function follow(userId: string, token: CausalToken): boolean {
    const earlier = following.get(userId)
    if (!earlier && following.size >= maxFollowing) return false
    following.set(userId, earlier ? mergeTokens(token, earlier) : token)
    return true
  }

  async function store(userId: string, { epoch, write, read, signed }: CausalToken): Promise<void> {
    const times = [write.seconds, write.counter, read.seconds, read.counter]
    await redis.saveToken(tokenKey(userId), epoch, ...times, serializeSigned(signed), ttlSeconds)
  }

  return {
    load: (userId) => redis.get(tokenKey(userId)),
    adopt(reader, userId, stored) {
      reader.userId = userId
      const token = stored === null ? undefined : parseToken(stored)
      const least = floor()
      if (!token || token.epoch !== epoch || !least) {
        reader.tokenLost = true
        return
      }
      const found = mergeTokens(token, { epoch, write: beginning, read: least, signed: undefined })
      reader.token = reader.token ? mergeTokens(found, reader.token) : found
    },
    async save(reader, mayFollow = false) {
      const { userId, token, moved } = reader
      if (!moved || userId === undefined || !token) return
      reader.moved = false
      try {
        await store(userId, token)
      } catch (error) {
        if (reader.refused || (mayFollow && follow(userId, token))) return
        throw new DomainError('unavailable', 'What you have seen could not be remembered; try again', {
          retryAfterSeconds: 1,
          isLocal: true,
          cause: error,
        })
      }
    },
  }
}

function parseToken(stored: string): CausalToken | undefined {
  const [epoch = '', written, seen, ...signed] = stored.split('|')
  const [write, read] = [parseTime(written), parseTime(seen)]
  return write && read ? { epoch, write, read, signed: parseSigned(signed.join('|')) } : undefined
}

/**
 * The token as a client without cookies carries it: times and a signature. Not the clock's own signature: whoever holds
 * that could show it to the set.
 */
export function sealToken(token: CausalToken, secret: string): string {
  const { epoch, write, read } = token
  const content = [epoch, formatTime(write), formatTime(read)].join('.')
  return `${content}.${signatureOf(content, secret)}`
}

/** Undefined for what nobody sealed with one of these secrets. */
export function unsealToken(sealed: string, secrets: readonly string[]): CausalToken | undefined {
  const end = sealed.lastIndexOf('.')
  const content = sealed.slice(0, end)
  const signature = Buffer.from(sealed.slice(end + 1))
  const genuine = secrets.some((secret) => {
    const expected = Buffer.from(signatureOf(content, secret))
    return expected.length === signature.length && timingSafeEqual(expected, signature)
  })
  const [, epoch = '', written, seen] = (genuine && /^(\w+)\.(\d+\.\d+)\.(\d+\.\d+)$/.exec(content)) || []
  const [write, read] = [parseTime(written), parseTime(seen)]
  return write && read ? { epoch, write, read, signed: undefined } : undefined
}

function signatureOf(content: string, secret: string): string {
  // A purpose of its own, so that a session's signature is never a token's.
  return createHmac('sha256', secret).update(`causal-token:${content}`).digest('base64url')
}
