import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, expect, test } from 'vitest'
import { beginning, compare } from '../../apps/data/cluster-time.ts'
import { createConsistency } from '../../apps/data/consistency.ts'
import { newId } from '../../apps/data/ids.ts'
import { createListCache } from '../../apps/data/list-cache.ts'
import { Reader, readAs } from '../../apps/data/reader.ts'
import { createRestaurants } from '../../apps/data/restaurants.ts'
import { details } from '../support/api.ts'
import { benchForFile, lookupsForFile } from '../support/commands.ts'
import { waitFor } from '../support/servers.ts'

const bench = benchForFile()
const render = (slice: object) => JSON.stringify(slice)
const stores = () => createRestaurants(bench.mongo.connection, bench.consistency)
const { seen, observer } = lookupsForFile()

function createCache(consistency = bench.consistency) {
  const restaurants = createRestaurants(bench.mongo.connection, consistency)
  return createListCache({
    restaurants,
    consistency,
    render,
    observer,
  })
}

let count = 0
async function open(by = new Reader()): Promise<string> {
  const ownerId = newId().toHexString()
  const create = () => stores().create(ownerId, { ...details, name: `Listed ${++count}` }, [], ownerId)
  return (await readAs(by, create)).id
}

const idsIn = (body: string): string[] => (JSON.parse(body) as { items: { id: string }[] }).items.map(({ id }) => id)
const queries = () => bench.sent.filter(({ name }) => name === 'find').length

beforeAll(async () => {
  const author = new Reader()
  await open(author)
  // Else one who has written nothing may not be shown it yet.
  await waitFor('both secondaries to have it', 10_000, async () =>
    bench.mongo.members
      .secondaries()
      .every(({ committed }) => compare(committed, author.token?.write ?? beginning) >= 0),
  )
})

test('the first page of a list is read once for all who ask within a moment', async () => {
  const cache = createCache()
  const direct = render(await stores().list({}, { limit: 20 }, 'any'))
  bench.sent.length = 0
  for (let asked = 0; asked < 5; asked++) expect(await cache.find({}, 20)).toBe(direct)
  expect(queries()).toBe(1)
  expect(seen).toEqual(['miss', 'hit', 'hit', 'hit', 'hit'])
})

test('many who ask at once share one query', async () => {
  const cache = createCache()
  const pages = await Promise.all(Array.from({ length: 30 }, () => readAs(new Reader(), () => cache.find({}, 20))))
  expect(new Set(pages).size).toBe(1)
  expect(queries()).toBe(1)
})

test('other filters and other lengths are other pages', async () => {
  const cache = createCache()
  await open()
  const kinds = [{}, { cuisine: details.cuisine }, { borough: details.borough }, { q: 'listed' }, { q: 'null' }]
  for (const query of kinds) for (const limit of [1, 2]) await cache.find(query, limit)
  expect(queries()).toBe(10)
})

test('whoever has written sees it in a list that others were shown just before', async () => {
  const cache = createCache()
  const author = new Reader()
  await readAs(author, () => cache.find({}, 100))
  const id = await open(author)
  expect(idsIn(await readAs(author, () => cache.find({}, 100)))).toContain(id)
  expect(seen).toEqual(['miss', 'miss'])
})

test('whoever is shown a kept page is not shown less by what is asked for next', async () => {
  const cache = createCache()
  const author = new Reader()
  const id = await open(author)
  expect(idsIn(await readAs(author, () => cache.find({}, 100)))).toContain(id)
  const other = new Reader()
  other.token = { epoch: bench.mongo.epoch, write: beginning, read: beginning, signed: undefined }
  expect(idsIn(await readAs(other, () => cache.find({}, 100)))).toContain(id)
  expect([[...other.sources], other.moved]).toEqual([['cache'], true])
  expect(compare(other.needs ?? beginning, author.token?.write ?? beginning)).toBeGreaterThanOrEqual(0)
})

test('whose token is lost gets nothing that was kept', async () => {
  const cache = createCache()
  await cache.find({}, 20)
  const lost = new Reader()
  lost.tokenLost = true
  await readAs(lost, () => cache.find({}, 20))
  expect([...lost.sources]).toEqual([expect.stringMatching(/^primary /)])
})

test('a page is kept no longer than its data may be shown', { timeout: 30_000 }, async () => {
  const bounded = createConsistency(bench.mongo, { readWaitMs: 10_000, maxStalenessMs: 400 })
  const cache = createCache(bounded)
  await cache.find({}, 20)
  await sleep(450)
  await cache.find({}, 20)
  expect(seen).toEqual(['miss', 'miss'])
})

test.each(['secondary', 'primary'] as const)('where every read goes to a %s, nothing is kept', async (routing) => {
  const cache = createCache(createConsistency(bench.mongo, { routing, readWaitMs: 10_000 }))
  for (let asked = 0; asked < 3; asked++) await cache.find({}, 20)
  expect(seen).toEqual(['miss', 'miss', 'miss'])
})

test('a text without a word is refused each time', async () => {
  const cache = createCache()
  for (let asked = 0; asked < 2; asked++) {
    await expect(cache.find({ q: '…!' }, 20)).rejects.toMatchObject({ code: 'invalid' })
  }
  expect(bench.sent).toEqual([])
})

test('no more than a hundred pages are kept', async () => {
  const cache = createCache()
  const words = Array.from({ length: 101 }, (_, index) => `word${index}`)
  await Promise.all(words.map((q) => cache.find({ q }, 1)))
  seen.length = 0
  for (const q of words.reverse()) await cache.find({ q }, 1)
  expect(seen.filter((outcome) => outcome === 'hit').length).toBeLessThanOrEqual(100)
})
