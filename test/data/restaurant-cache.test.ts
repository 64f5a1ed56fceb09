import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { newId } from '../../apps/data/ids.ts'
import { Reader, readAs } from '../../apps/data/reader.ts'
import { watchRun } from '../../apps/data/redis.ts'
import { createRestaurantCache, type Encoding, etagOf, type RestaurantCache } from '../../apps/data/restaurant-cache.ts'
import { createRestaurants } from '../../apps/data/restaurants.ts'
import type { Restaurant } from '../../apps/domain/restaurant.ts'
import { details, menu, openRedis, redisForFile } from '../support/api.ts'
import { benchForFile, floorForFile, lookupsForFile } from '../support/commands.ts'

const bench = benchForFile()
const shared = redisForFile()
const known = floorForFile(bench, shared)

const { seen, observer } = lookupsForFile()

const render = (restaurant: Restaurant) => JSON.stringify(restaurant)

function createCache({ redis, run } = shared): RestaurantCache {
  return createRestaurantCache({
    redis,
    run,
    floor: known.floor,
    restaurants: createRestaurants(bench.mongo.connection, bench.consistency),
    consistency: bench.consistency,
    render,
    observer,
  })
}

async function open(cache: RestaurantCache, dishes = 1) {
  const ownerId = newId().toHexString()
  const restaurant = await cache.restaurants.create(ownerId, details, Array(dishes).fill(menu[0]), ownerId)
  const by = () => ({ ownerId, requestKey: newId().toHexString() })
  return { restaurant, by, id: restaurant.id }
}

/** What somebody who has written nothing yet is shown, as soon as the secondaries have it. */
async function show(cache: RestaurantCache, id: string, encoding: Encoding = 'identity') {
  const found = await cache.find(id, encoding)
  return found && { ...found, body: found.body.toString() }
}

const queries = () => bench.sent.filter(({ name }) => name === 'find').length

test('a restaurant is read from MongoDB once and from Redis after that', async () => {
  const cache = createCache()
  const author = new Reader()
  const { restaurant, id } = await readAs(author, () => open(cache))
  bench.sent.length = 0
  const first = await readAs(author, () => show(cache, id))
  expect(first).toEqual({ etag: etagOf(render(restaurant)), body: render(restaurant), encoding: 'identity' })
  for (let count = 0; count < 5; count++) expect(await show(createCache(), id)).toEqual(first)
  expect(queries()).toBe(1)
  expect(seen).toEqual(['miss', ...Array(5).fill('hit')])
  expect(await shared.redis.pttl(`restaurant:${id}`)).toBeGreaterThan(14 * 60_000)
})

test('many who ask at once, on several replicas, cost one query', async () => {
  const caches = [createCache(), createCache(), createCache()]
  const { id } = await open(createCache())
  await expect.poll(() => show(createCache(), id), { timeout: 10_000 }).not.toBeNull()
  await shared.redis.del(`restaurant:${id}`)
  bench.sent.length = 0
  const found = await Promise.all(
    Array.from({ length: 90 }, (_, index) => show(caches[index % 3] as RestaurantCache, id)),
  )
  expect(new Set(found.map((each) => each?.etag))).toEqual(new Set([expect.any(String)]))
  expect(queries()).toBe(1)
})

test('a change is shown by the next read, to everybody', async () => {
  const cache = createCache()
  const { id, by } = await open(cache)
  await expect.poll(() => show(cache, id), { timeout: 10_000 }).not.toBeNull()
  for (const name of ['Second', 'Third']) {
    await cache.restaurants.update(id, { name }, by())
    expect(await shared.redis.exists(`restaurant:${id}`)).toBe(0)
    expect(JSON.parse((await show(createCache(), id))?.body ?? '')).toMatchObject({ name })
  }
  await cache.restaurants.replaceMenu(id, [], by())
  expect(JSON.parse((await show(createCache(), id))?.body ?? '')).toMatchObject({ name: 'Third', menu: [] })
})

test('a refused change leaves the cache as it is', async () => {
  const cache = createCache()
  const { id, by } = await open(cache)
  await expect.poll(() => show(cache, id), { timeout: 10_000 }).not.toBeNull()
  const somebodyElse = { ...by(), ownerId: newId().toHexString() }
  await expect(cache.restaurants.update(id, { name: 'Mine' }, somebodyElse)).rejects.toMatchObject({
    code: 'forbidden',
  })
  expect(await shared.redis.exists(`restaurant:${id}`)).toBe(1)
})

test('an order gets a restaurant from the cache, as the last acknowledged change left it, or else from the primary', async () => {
  const [cache, other] = [createCache(), createCache()]
  const { id, by, restaurant } = await open(cache)
  const forOrder = async (from: RestaurantCache) => {
    bench.sent.length = 0
    const { menu } = (await from.findForOrder(id)) ?? {}
    return [menu?.[0]?.priceCents, ...bench.sent.map(({ name, role }) => `${name} ${role}`)]
  }
  const dish = restaurant.menu[0] as Restaurant['menu'][number]
  expect(await forOrder(cache)).toEqual([dish.priceCents, 'find primary'])
  await expect.poll(() => show(cache, id), { timeout: 10_000 }).not.toBeNull()
  expect(await forOrder(cache)).toEqual([dish.priceCents])
  for (const priceCents of [2_000, 1_000]) {
    await cache.restaurants.replaceMenu(id, [{ ...dish, priceCents }], by())
    expect(await forOrder(other)).toEqual([priceCents, 'find primary'])
    await show(other, id)
    expect(await forOrder(cache)).toEqual([priceCents])
  }
  const afterRestart = createCache({ ...shared, run: { current: () => ({ id: 'another', sinceMs: 0 }) } })
  expect(await forOrder(afterRestart)).toEqual([1_000, 'find primary'])
  expect(await cache.findForOrder(newId().toHexString())).toBeNull()
})

test('what was read before a change is not filled in after it', async () => {
  const cache = createCache()
  const { id, by } = await open(cache)
  await expect.poll(() => show(cache, id), { timeout: 10_000 }).not.toBeNull()
  const old = await shared.redis.hgetallBuffer(`restaurant:${id}`)
  const { from } = JSON.parse(old.meta?.toString() ?? '')
  await cache.restaurants.update(id, { name: 'New' }, by())
  const keys = [`restaurant:${id}`, `fence:restaurant:${id}`] as const
  for (const [seconds, counter] of [
    [from.seconds, from.counter],
    [from.seconds - 1, from.counter + 1_000],
  ] as const) {
    const fields = Object.entries(old).flat()
    expect(await shared.redis.fillEntry(...keys, seconds, counter, 60_000, ...fields)).toBe(0)
  }
  expect(JSON.parse((await show(cache, id))?.body ?? '')).toMatchObject({ name: 'New' })
})

test('a restaurant that is not there is remembered as missing for a moment only', async () => {
  const cache = createCache()
  const id = newId().toHexString()
  expect(await cache.find(id, 'identity')).toBeNull()
  expect(await shared.redis.pttl(`restaurant:${id}`)).toBeLessThanOrEqual(2_000)
})

test.each([
  ['gzip', gunzipSync],
  ['br', brotliDecompressSync],
  ['zstd', zstdDecompressSync],
] as const)('a long menu is kept compressed as %s, a short one is not', async (encoding, decompress) => {
  const cache = createCache()
  const author = new Reader()
  const { restaurant, id } = await readAs(author, () => open(cache, 20))
  const found = await readAs(author, () => cache.find(id, encoding))
  expect(found?.encoding).toBe(encoding)
  expect(decompress(found?.body ?? Buffer.alloc(0)).toString()).toBe(render(restaurant))
  expect((await cache.find(id, encoding))?.body).toEqual(found?.body)
  const short = await readAs(author, () => open(cache))
  expect((await readAs(author, () => cache.find(short.id, encoding)))?.encoding).toBe('identity')
})

test('only what is asked for is compressed, once, and never joins the entry of another version', async () => {
  const cache = createCache()
  const author = new Reader()
  const { id, by } = await readAs(author, () => open(cache, 20))
  await readAs(author, () => cache.find(id, 'identity'))
  const key = `restaurant:${id}`
  expect((await shared.redis.hkeys(key)).sort()).toEqual(['identity', 'meta'])
  const [one, other] = await Promise.all([cache.find(id, 'br'), cache.find(id, 'br')])
  expect(one?.body).toBe(other?.body)
  expect(await shared.redis.hgetBuffer(key, 'br')).toEqual(one?.body)

  const before = cache.ask(id, 'gzip')
  await before
  await readAs(author, async () => {
    await cache.restaurants.update(id, { name: 'New' }, by())
    await cache.find(id, 'identity')
  })
  expect((await cache.find(id, 'gzip', before))?.encoding).toBe('gzip')
  expect((await shared.redis.hkeys(key)).sort()).toEqual(['identity', 'meta'])
})

test('without Redis, reads come from MongoDB and changes are refused before they happen', async () => {
  const client = await openRedis()
  const cache = createCache({ redis: client, run: watchRun(client) })
  const { id, by, restaurant } = await open(cache)
  client.disconnect()
  await expect.poll(() => show(cache, id), { timeout: 10_000 }).toMatchObject({ body: render(restaurant) })
  expect(seen).toContain('unavailable')
  await expect(cache.restaurants.update(id, { name: 'New' }, by())).rejects.toMatchObject({ code: 'unavailable' })
  expect(await cache.restaurants.find(id, 'latest')).toEqual(restaurant)
})
