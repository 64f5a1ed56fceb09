import type { PipelineStage } from 'mongoose'
import { beforeAll, describe, expect, test } from 'vitest'
import { newId, toObjectId } from '../../apps/data/ids.ts'
import { encodeCursor, type Page, type Slice } from '../../apps/data/page.ts'
import {
  createRestaurants,
  type RestaurantQuery,
  type Restaurants,
  restaurantModel,
  searchFieldsOf,
} from '../../apps/data/restaurants.ts'
import type { Position, RestaurantSummary } from '../../apps/domain/restaurant.ts'
import { benchForFile, explain } from '../support/commands.ts'

const bench = benchForFile()
const store = (): Restaurants => createRestaurants(bench.mongo.connection, bench.consistency)
const model = () => restaurantModel(bench.mongo.connection)
const someId = () => newId().toHexString()
let numbers = 0
const newKey = () => `key-${numbers++}`

const details = {
  name: 'Café Ada',
  cuisine: 'Café',
  borough: 'Manhattan',
  address: { building: '1', street: 'Broadway', zipcode: '10036' },
  location: [-73.9855, 40.758] as Position,
}
const menu = [
  { name: 'Espresso', description: 'Short', category: 'drinks', priceCents: 300 },
  { name: 'Cake', description: '', category: 'desserts', priceCents: 0 },
]
const open = (ownerId = someId(), changes: Partial<typeof details> = {}, key = newKey()) =>
  store().create(ownerId, { ...details, ...changes }, menu, key)

describe('a restaurant', () => {
  test('is read again as it was opened, field by field', async () => {
    const ownerId = someId()
    const opened = await open(ownerId)
    expect(opened).toEqual({
      ...details,
      id: expect.stringMatching(/^[0-9a-f]{24}$/),
      menu: menu.map((dish) => ({ ...dish, id: expect.stringMatching(/^[0-9a-f]{24}$/) })),
      createdAt: expect.any(Date),
      updatedAt: opened.createdAt,
    })
    expect(await store().find(opened.id, 'latest')).toEqual(opened)
    await expect.poll(() => store().find(opened.id, 'any'), { timeout: 10_000 }).toEqual(opened)
    expect(await store().isOwner(opened.id, ownerId, 'latest')).toBe(true)
    const { menu: _, ...summary } = opened
    const listed = await store().list(
      { near: { position: details.location, radiusMeters: 1 } },
      { limit: 100 },
      'latest',
    )
    expect(listed.items.find(({ id }) => id === opened.id)).toMatchObject(summary)
  })

  test('is opened once by a request that is tried ten times at once', async () => {
    const ownerId = someId()
    const tries = await Promise.all(Array.from({ length: 10 }, () => open(ownerId, {}, 'the request')))
    for (const each of tries) expect(each).toEqual(tries[0])
    expect(await model().countDocuments({ ownerId })).toBe(1)
    expect((await open(someId(), {}, 'the request')).id).not.toBe(tries[0]?.id)
  })

  test('is changed and given a new menu by its owner; dishes that stay keep their ids', async () => {
    const ownerId = someId()
    const opened = await open(ownerId)
    const by = () => ({ ownerId, requestKey: newKey() })
    const renamed = await store().update(opened.id, { name: 'Bar Ada', cuisine: 'Bar' }, by())
    expect(renamed).toEqual({ ...opened, name: 'Bar Ada', cuisine: 'Bar', updatedAt: expect.any(Date) })
    expect((await store().list({ q: 'bar', cuisine: 'bar' }, { limit: 100 }, 'latest')).items).toHaveLength(1)
    const [first, second] = opened.menu
    if (!first || !second) throw new Error('The menu is short')
    const added = { name: 'Tea', description: '', category: 'drinks', priceCents: 250 }
    const changed = await store().replaceMenu(opened.id, [{ ...second, priceCents: 900 }, added], by())
    expect(changed.menu).toEqual([
      { ...second, priceCents: 900 },
      { ...added, id: expect.any(String) },
    ])
    expect(await store().find(opened.id, 'latest')).toEqual(changed)
    const foreign = [
      { ...added, id: first.id },
      { ...added, id: second.id },
      { ...added, id: second.id },
    ]
    await expect(store().replaceMenu(opened.id, foreign, by())).rejects.toMatchObject({
      code: 'unprocessable',
      errors: [
        { pointer: '#/menu/0/id', detail: 'is not on the present menu' },
        { pointer: '#/menu/2/id', detail: 'occurs twice' },
      ],
    })
  })

  test('is changed by nobody else', async () => {
    const { id } = await open()
    const by = { ownerId: someId(), requestKey: newKey() }
    await expect(store().update(id, { name: 'Mine' }, by)).rejects.toMatchObject({ code: 'forbidden' })
    await expect(store().replaceMenu(id, [], by)).rejects.toMatchObject({ code: 'forbidden' })
    await expect(store().requireOwner(id, by.ownerId, 'latest')).rejects.toMatchObject({ code: 'forbidden' })
    await expect(store().update(someId(), { name: 'Mine' }, by)).rejects.toMatchObject({ code: 'not_found' })
    await expect(store().requireOwner(someId(), by.ownerId, 'latest')).rejects.toMatchObject({ code: 'not_found' })
    expect(await store().isOwner(id, by.ownerId, 'latest')).toBe(false)
    expect((await store().find(id, 'latest'))?.name).toBe(details.name)
  })

  test('keeps the changes of all who change different parts of it at once', async () => {
    const ownerId = someId()
    const { id } = await open(ownerId)
    const by = () => ({ ownerId, requestKey: newKey() })
    await Promise.all([
      store().update(id, { name: 'New name' }, by()),
      store().update(id, { cuisine: 'New cuisine' }, by()),
      store().update(id, { borough: 'Queens' }, by()),
      store().update(id, { location: [0, 0] }, by()),
      store().replaceMenu(id, [], by()),
    ])
    const changed = { name: 'New name', cuisine: 'New cuisine', borough: 'Queens', location: [0, 0], menu: [] }
    expect(await store().find(id, 'latest')).toMatchObject(changed)
    const found = { q: 'new name cuisine', cuisine: 'new cuisine', borough: 'queens' }
    expect((await store().list(found, { limit: 10 }, 'latest')).items.map((each) => each.id)).toEqual([id])
  })

  test('is changed by one of five who saw the same state', async () => {
    const ownerId = someId()
    const opened = await open(ownerId)
    const results = await Promise.allSettled(
      Array.from({ length: 5 }, (_, index) =>
        store().update(
          opened.id,
          { name: `Name ${index}` },
          { ownerId, requestKey: newKey(), precondition: ({ name }) => name === details.name },
        ),
      ),
    )
    const made = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    expect(made).toHaveLength(1)
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'precondition_failed' })
    }
    expect(await store().find(opened.id, 'latest')).toEqual(made[0])
  })

  test('is changed once by a request that is tried again, whatever it demanded', async () => {
    const ownerId = someId()
    const { id } = await open(ownerId)
    const write = { ownerId, requestKey: newKey(), precondition: ({ name }: { name: string }) => name === details.name }
    const first = await store().update(id, { name: 'Once' }, write)
    expect(await store().update(id, { name: 'Once' }, write)).toEqual(first)
  })
})

/** Goes through a list to its end; `between` runs after each page. */
async function collect(query: RestaurantQuery, limit: number, between = async () => {}) {
  const items: RestaurantSummary[] = []
  let cursor: string | undefined
  let pages = 0
  do {
    const page: Page = { limit, cursor }
    const slice: Slice<RestaurantSummary> = await store().list(query, page, 'latest')
    expect(slice.items.length).toBeLessThanOrEqual(limit)
    items.push(...slice.items)
    cursor = slice.nextCursor ?? undefined
    await between()
    if (++pages > 1_000) throw new Error('The list has no end')
  } while (cursor !== undefined)
  return items
}

describe('a list', () => {
  const cuisines = ['Pizza', 'Café/Bakery', 'Sushi']
  const boroughs = ['Manhattan', 'Queens']
  const ownerId = someId()
  // Away from the other tests, along a line; the tower holds many at one spot.
  const center: Position = [20, 50]
  const tower: Position = [20.01, 50]
  const everywhere = { position: center, radiusMeters: 50_000 }
  const inTower = 300
  const onLine = 200
  let stored: {
    _id: { toHexString(): string }
    cuisine: string
    borough: string
    location: { coordinates: Position }
  }[]

  const restaurant = (index: number, position: Position) => {
    const cuisine = cuisines[index % cuisines.length] ?? ''
    const borough = boroughs[index % boroughs.length] ?? ''
    const name = `Brigade’s Number ${index}${index % 5 === 0 ? ' Crêpe' : ''}`
    return {
      _id: newId(),
      ownerId: toObjectId(ownerId),
      ...{ name, cuisine, borough, address: details.address, menu: [], version: 1 },
      location: { type: 'Point' as const, coordinates: position },
      search: searchFieldsOf({ name, cuisine, borough }),
      createdAt: new Date(),
      updatedAt: new Date(),
    }
  }

  beforeAll(async () => {
    stored = [
      ...Array.from({ length: onLine }, (_, index) => restaurant(index, [20 + index * 0.0005, 50])),
      ...Array.from({ length: inTower }, (_, index) => restaurant(index, tower)),
    ].sort((a, b) => (a._id.toHexString() < b._id.toHexString() ? -1 : 1))
    await model().collection.insertMany(stored.map((each) => ({ ...each })) as never[])
  })

  const idsOf = (items: { id: string }[]) => items.map(({ id }) => id)
  const expected = (fits: (each: (typeof stored)[number]) => boolean) =>
    stored.filter(fits).map(({ _id }) => _id.toHexString())

  test('in order of ids neither repeats nor skips one while others open', async () => {
    const found = await collect({ q: 'number' }, 37, async () => void (await open(someId(), { name: 'Number new' })))
    const known = expected(() => true)
    expect(idsOf(found).slice(0, known.length)).toEqual(known)
    expect(new Set(idsOf(found)).size).toBe(found.length)
  })

  test.each<[string, RestaurantQuery, (each: { cuisine: string; borough: string; name: string }) => boolean]>([
    ['cuisine', { cuisine: 'CAFE/bakery' }, ({ cuisine }) => cuisine === 'Café/Bakery'],
    [
      'cuisine and borough',
      { cuisine: 'sushi', borough: 'QUEENS' },
      (each) => each.cuisine === 'Sushi' && each.borough === 'Queens',
    ],
    ['words', { q: "brigade's crepe" }, ({ name }) => name.endsWith('Crêpe')],
    ['a word of the cuisine', { q: 'number bakery' }, ({ cuisine }) => cuisine === 'Café/Bakery'],
    [
      'all of them',
      { q: 'crepe', cuisine: 'pizza', borough: 'manhattan' },
      (each) => each.name.endsWith('Crêpe') && each.cuisine === 'Pizza' && each.borough === 'Manhattan',
    ],
    ['words that do not occur together', { q: 'crepe nowhere' }, () => false],
  ])('by %s has all that fit and no others, also by distance', async (_what, query, fits) => {
    const ids = expected((each) => fits(each as never))
    expect(idsOf(await collect(query, 50)).filter((id) => idsOfStored().has(id))).toEqual(ids)
    expect(idsOf(await collect({ ...query, near: everywhere }, 50)).sort()).toEqual(ids)
  })

  const idsOfStored = () => new Set(expected(() => true))

  test('a text without a word is no search', async () => {
    const refusal = { code: 'invalid', errors: [{ pointer: '?q', detail: expect.any(String) }] }
    await expect(async () => store().list({ q: '…!' }, { limit: 1 }, 'any')).rejects.toMatchObject(refusal)
  })

  test.each([1, 7, 20, 100])(
    'by distance, in pages of %i, has each once and the nearest first, also where many share a spot and others open',
    async (limit) => {
      const near = { ...everywhere, radiusMeters: limit === 1 ? 1_000 : 50_000 }
      const found = await collect({ near, q: 'number' }, limit, async () => {
        if (limit > 1) await open(someId(), { name: 'Number new', location: tower })
      })
      const ids = idsOf(found)
      expect(new Set(ids).size).toBe(ids.length)
      const known = new Set(ids)
      const within = expected(
        ({ location: { coordinates } }) => limit > 1 || metersBetween(coordinates, center) < 1_000,
      )
      expect(within.filter((id) => !known.has(id))).toEqual([])
      const meters = found.map(({ location }) => metersBetween(location, center))
      for (const [index, distance] of meters.entries()) {
        expect(distance).toBeGreaterThanOrEqual((meters[index - 1] ?? 0) - 0.01)
      }
    },
  )

  test('by distance ends at the radius', async () => {
    const found = await collect({ near: { position: center, radiusMeters: 500 }, q: 'number' }, 100)
    expect(found.length).toBeGreaterThan(5)
    for (const { location } of found) expect(metersBetween(location, center)).toBeLessThanOrEqual(501)
    expect(idsOf(found).sort()).toEqual(expected(({ location }) => metersBetween(location.coordinates, center) <= 500))
  })

  test.each<[string, string, RestaurantQuery]>([
    ['no base64', '!!!', {}],
    ['an operator', encodeCursor({ id: { $gt: '' } }), {}],
    ['of the list by distance', encodeCursor({ meters: 1, last: someId() }), { q: 'x' }],
    ['of the list by ids', encodeCursor({ id: someId() }), { near: everywhere }],
    ['at no distance', encodeCursor({ meters: '1', last: someId() }), { near: everywhere }],
    ['at a negative distance', encodeCursor({ meters: -1, last: someId() }), { near: everywhere }],
    ['at an operator', encodeCursor({ meters: { $gt: 0 }, last: someId() }), { near: everywhere }],
    ['at no id', encodeCursor({ meters: 1, last: 'x' }), { near: everywhere }],
  ])('refuses a cursor that is %s', async (_what, cursor, query) => {
    await expect(async () => store().list(query, { limit: 1, cursor }, 'any')).rejects.toMatchObject({
      code: 'invalid',
      errors: [{ pointer: '?cursor', detail: 'is not a cursor of this list' }],
    })
  })

  test.each([1e308, 1e12, 5e-324])('a cursor made up of %d meters gives an answer', async (meters) => {
    const cursor = encodeCursor({ meters, last: someId() })
    const slice = await store().list({ near: everywhere }, { limit: 1, cursor }, 'any')
    expect(slice.items.length).toBeLessThanOrEqual(1)
  })

  describe('comes out of an index in order', () => {
    const near = everywhere
    test.each<[string, string[], RestaurantQuery]>([
      ['all', ['_id_'], {}],
      ['by cuisine', ['search.cuisine_1__id_1'], { cuisine: 'pizza' }],
      ['by borough', ['search.borough_1__id_1'], { borough: 'queens' }],
      ['by cuisine and borough', ['search.borough_1_search.cuisine_1__id_1'], { cuisine: 'pizza', borough: 'queens' }],
      ['by a word', ['search.words_1__id_1'], { q: 'crepe' }],
      ['by a word in a borough', ['search.borough_1_search.words_1__id_1'], { q: 'crepe', borough: 'queens' }],
    ])('%s', async (_what, indexes, query) => {
      const first = await store().list(query, { limit: 10 }, 'any')
      await store().list(query, { limit: 10, cursor: first.nextCursor ?? undefined }, 'any')
      expect(bench.sent).toHaveLength(2)
      for (const sent of bench.sent.slice()) {
        const plan = await explain(bench, sent)
        expect([plan.indexes, plan.examined, plan.returned]).toEqual([indexes, 11, 11])
        expect(plan.stages).not.toContain('SORT')
      }
    })

    test.each<[string, RestaurantQuery]>([
      ['by words', { q: 'brigades number crepe' }],
      ['by words, cuisine and borough', { q: 'number crepe', cuisine: 'pizza', borough: 'queens' }],
    ])('%s, past what does not fit', async (_what, query) => {
      await store().list(query, { limit: 10 }, 'any')
      const [sent] = bench.sent
      if (!sent) throw new Error('Nothing was sent')
      const plan = await explain(bench, sent)
      expect(plan.indexes).toHaveLength(1)
      expect(plan.stages).not.toContain('SORT')
      expect(plan.stages).not.toContain('COLLSCAN')
    })

    test.each<[string, RestaurantQuery]>([
      ['by distance', { near }],
      ['by distance and cuisine', { near, cuisine: 'pizza' }],
      ['by distance and all else', { near, cuisine: 'pizza', borough: 'queens', q: 'number' }],
    ])('%s, and no further than the page reaches', async (_what, query) => {
      const first = await store().list(query, { limit: 10 }, 'any')
      await store().list(query, { limit: 10, cursor: first.nextCursor ?? undefined }, 'any')
      const pipelines = bench.sent.flatMap(({ command }) => (command.pipeline as PipelineStage.GeoNear[]) ?? [])
      const reaches = pipelines.flatMap(({ $geoNear }) => $geoNear?.maxDistance ?? [])
      expect(reaches.length).toBeGreaterThan(1)
      for (const meters of reaches) expect(meters).toBeLessThan(near.radiusMeters)
      for (const sent of bench.sent.slice()) {
        const plan = await explain(bench, sent)
        expect(plan.indexes).toEqual([expect.stringMatching(/location_2dsphere$/)])
        expect(plan.stages).not.toContain('COLLSCAN')
      }
    })
  })

  test('one restaurant is looked up by id, also to be changed, and by the key of the request that opened it', async () => {
    const { id } = await open(ownerId, {}, 'explained')
    bench.sent.length = 0
    await store().find(id, 'any')
    await store().isOwner(id, ownerId, 'latest')
    await store().update(id, { name: 'x' }, { ownerId, requestKey: newKey() })
    await open(ownerId, {}, 'explained')
    const queries = bench.sent.filter(({ name }) => name !== 'insert')
    expect(queries).toHaveLength(5)
    for (const query of queries) {
      const { examined, stages } = await explain(bench, query)
      expect(examined).toBe(1)
      expect(stages).not.toContain('COLLSCAN')
    }
  })
})

/** On the sphere that MongoDB computes with. */
function metersBetween([lngA, latA]: Position, [lngB, latB]: Position): number {
  const rad = (degrees: number) => (degrees * Math.PI) / 180
  const h =
    Math.sin(rad(latB - latA) / 2) ** 2 +
    Math.cos(rad(latA)) * Math.cos(rad(latB)) * Math.sin(rad(lngB - lngA) / 2) ** 2
  return 2 * 6_378_100 * Math.asin(Math.sqrt(h))
}
