import { expect, test } from 'vitest'
import { beginning, compare } from '../../apps/data/cluster-time.ts'
import { createFencedCache, type Moments } from '../../apps/data/fenced-cache.ts'
import { createFloor } from '../../apps/data/floor.ts'
import { newId } from '../../apps/data/ids.ts'
import { now } from '../../apps/data/members.ts'
import type { RedisRun } from '../../apps/data/redis.ts'
import { createUsers } from '../../apps/data/users.ts'
import { redisForFile } from '../support/api.ts'
import { benchForFile } from '../support/commands.ts'

const bench = benchForFile()
const shared = redisForFile()

const primary = () => bench.mongo.members.primary()
const committed = () => primary()?.committed ?? beginning

test('what was read before a write is not kept by a Redis that was restarted since and has forgotten the write', async () => {
  const id = newId().toHexString()
  const before = committed()
  const user = { email: `${id}@example.com`, name: 'Ada', passwordHash: '' }
  await createUsers(bench.mongo.connection, bench.consistency).create(user, id)
  await expect.poll(() => compare(committed(), before), { timeout: 10_000 }).toBeGreaterThan(0)

  const sinceMs = now()
  const run: RedisRun = { current: () => ({ id: 'another', sinceMs }) }
  const floor = createFloor(run, bench.mongo.members)
  const cache = createFencedCache<Moments>({ redis: shared.redis, run, floor }, (name) => `test:${name}`)
  const fill = (from: typeof before) =>
    cache.fill(id, { meta: cache.momentsOf({ from, to: from }), bodies: { body: Buffer.from('as it was') } }, 60_000)
  // Until the primary has been asked, nobody knows what has been written.
  expect(await fill(committed())).toBe(false)
  await expect.poll(() => primary()?.seenAtMs).toBeGreaterThan(sinceMs)
  expect(await fill(before)).toBe(false)
  expect(await cache.lookUp(id, 'body')).toBeUndefined()
  expect(await fill(committed())).toBe(true)
  expect((await cache.lookUp(id, 'body'))?.bodies.body?.toString()).toBe('as it was')
})
