import type { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { newId } from '../../apps/data/ids.ts'
import { defineScript } from '../../apps/data/redis.ts'
import { openRedis } from '../support/api.ts'

let redis: Redis
beforeAll(async () => {
  redis = await openRedis()
  defineScript(redis, 'raiseFence', 'raise-fence', 2)
  defineScript(redis, 'fillEntry', 'fill-entry', 2)
})
afterAll(() => redis.disconnect())

let entry: string
let fence: string
beforeEach(() => {
  entry = `test:${newId().toHexString()}`
  fence = `fence:${entry}`
})

const announce = (write: string, forMs = 10_000) => redis.raiseFence(entry, fence, write, String(forMs), 60_000)
const date = (write: string, at: string) => redis.raiseFence(entry, fence, write, at, 60_000)
const fill = async (seconds: number, counter = 0) =>
  (await redis.fillEntry(entry, fence, seconds, counter, 60_000, 'meta', '{}')) === 1

test('nothing is filled in while a write is under way', async () => {
  await announce('a')
  expect(await fill(100)).toBe(false)
  await date('a', '50.0')
  expect(await fill(100)).toBe(true)
})

test('nothing is filled in while the second of two writes is under way and the first has ended', async () => {
  await announce('a')
  await announce('b')
  await date('a', '50.0')
  expect(await fill(100)).toBe(false)
  await date('b', '60.0')
  expect(await fill(100)).toBe(true)
})

test('a write that is announced does not make an earlier one forgotten', async () => {
  await announce('a')
  await date('a', '50.7')
  await announce('b', 1)
  await expect.poll(() => fill(51)).toBe(true)
  expect(await fill(50, 6)).toBe(false)
  expect(await fill(50, 7)).toBe(true)
})

test('a write that nobody dated holds fills back for as long as it may take, and no longer', async () => {
  await announce('a', 300)
  expect(await fill(100)).toBe(false)
  await expect.poll(() => fill(100), { timeout: 5_000 }).toBe(true)
  expect(await redis.hkeys(fence)).toEqual([])
})

test('the date is that of the latest write, in whatever order they are told', async () => {
  await date('b', '60.0')
  await date('a', '50.0')
  expect(await redis.hget(fence, 'date')).toBe('60.0')
})

test('an entry is dropped when a write is announced and when it is dated', async () => {
  expect(await fill(1)).toBe(true)
  await announce('a')
  expect(await redis.exists(entry)).toBe(0)
  await redis.hset(entry, 'meta', '{}')
  await date('a', '50.0')
  expect(await redis.exists(entry)).toBe(0)
})
