import { once } from 'node:events'
import type { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createFloor } from '../../apps/data/floor.ts'
import { newId } from '../../apps/data/ids.ts'
import { Reader } from '../../apps/data/reader.ts'
import { watchRun } from '../../apps/data/redis.ts'
import { createTokens } from '../../apps/data/tokens.ts'
import { openRedis } from '../support/api.ts'
import { benchForFile } from '../support/commands.ts'

const bench = benchForFile()
let redis: Redis
beforeAll(async () => {
  redis = await openRedis()
})
afterAll(() => redis.disconnect())

describe('a token that cannot be stored, since Redis is away', () => {
  async function cutOff() {
    const client = await openRedis()
    const tokens = createTokens(client, createFloor(watchRun(client), bench.mongo.members), bench.mongo)
    const reader = new Reader()
    reader.userId = newId().toHexString()
    reader.saw(bench.mongo.epoch, { seconds: 7, counter: 8 }, undefined)
    const stored = () => redis.get(`causal:{${reader.userId}}`)
    const ended = once(client, 'end')
    client.disconnect()
    await ended
    return { client, tokens, reader, stored }
  }

  test('refuses the answer that depends on it', async () => {
    const { tokens, reader } = await cutOff()
    await expect(tokens.save(reader)).rejects.toMatchObject({ code: 'unavailable', retryAfterSeconds: 1 })
  })

  test('follows as soon as Redis is back where the answer is public', async () => {
    const { client, tokens, reader, stored } = await cutOff()
    await tokens.save(reader, true)
    expect(await stored()).toBeNull()
    await client.connect()
    // Asked by the same client: what follows is there before anything that a request asks.
    expect(await tokens.load(reader.userId ?? '')).toContain('|7.8|')
    client.disconnect()
  })

  test('follows with all that was seen meanwhile', async () => {
    const { client, tokens, reader, stored } = await cutOff()
    await tokens.save(reader, true)
    const { userId } = reader
    for (const counter of [20, 9]) {
      const later = new Reader()
      later.userId = userId
      later.saw(bench.mongo.epoch, { seconds: 7, counter }, undefined)
      await tokens.save(later, true)
    }
    await client.connect()
    await expect.poll(stored).toContain('|7.20|')
    client.disconnect()
  })
})
