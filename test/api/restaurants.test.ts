import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib'
import { beforeAll, describe, expect, test } from 'vitest'
import {
  Client,
  details,
  eventually,
  fleetForFile,
  menu,
  openRestaurant,
  type Restaurant,
  signUp,
  type User,
  unknownId,
} from '../support/api.ts'

const fleet = fleetForFile({}, 3)
let owner: User
let somebody: User
beforeAll(async () => {
  owner = await signUp(fleet)
  somebody = await signUp(fleet)
})

const anonymous = () => new Client(fleet)

describe('a restaurant', () => {
  test('is opened by whoever is logged in, and shown to everybody with its menu', async () => {
    const answer = await owner.post('/api/restaurants', { ...details, menu })
    expect(answer.statusCode).toBe(201)
    const restaurant = answer.json()
    expect(restaurant).toMatchObject({ ...details, menu })
    expect(answer.headers).toMatchObject({ location: `/api/restaurants/${restaurant.id}`, 'cache-control': 'no-store' })
    for (const replica of [0, 1, 2]) {
      const shown = await owner.call(`/api/restaurants/${restaurant.id}`, {}, replica)
      expect([shown.statusCode, shown.json(), shown.headers.etag]).toEqual([200, restaurant, answer.headers.etag])
      expect(shown.headers['x-read-from']).toMatch(/^(cache|(primary|secondary) mongo-[123])$/)
    }
    const stranger = await eventually(
      () => anonymous().call(`/api/restaurants/${restaurant.id}`),
      ({ statusCode }) => statusCode === 200,
    )
    expect(stranger.json()).toEqual(restaurant)
  })

  test('needs no menu to open', async () => {
    const answer = await owner.post('/api/restaurants', details)
    expect([answer.statusCode, answer.json().menu]).toEqual([201, []])
  })

  test('may have 200 dishes with long descriptions', async () => {
    const long = Array.from({ length: 200 }, (_, count) => ({
      ...{ name: `Dish ${count}`, description: 'x'.repeat(1_000), category: 'mains', priceCents: 1_000 },
    }))
    const opened = await owner.post('/api/restaurants', { ...details, menu: long })
    expect([opened.statusCode, opened.json().menu.length]).toEqual([201, 200])
    const changed = await owner.call(`/api/restaurants/${opened.json().id}/menu`, {
      method: 'PUT',
      body: { menu: long.toReversed() },
    })
    expect([changed.statusCode, changed.json().menu[0].name]).toEqual([200, 'Dish 199'])
  })

  test('is opened once by a request that Nginx tries again', async () => {
    const headers = { 'x-request-id': '00000000000000000000000000000001' }
    const answers = await Promise.all(
      [0, 1, 2].map((replica) => owner.post('/api/restaurants', details, headers, replica)),
    )
    expect(new Set(answers.map(({ body }) => body)).size).toBe(1)
    expect(answers[0]?.statusCode).toBe(201)
  })

  test('is kept by browsers of strangers, and asked for again by whoever is logged in', async () => {
    const { id } = await openRestaurant(owner)
    const path = `/api/restaurants/${id}`
    const shown = await owner.call(path)
    expect(shown.headers['cache-control']).toBe('private, no-cache')
    const stranger = await eventually(
      () => anonymous().call(path),
      ({ statusCode }) => statusCode === 200,
    )
    expect(stranger.headers['cache-control']).toBe('public, max-age=300')
    expect(stranger.headers['cdn-cache-control']).toBe('max-age=3600')
    expect(stranger.headers['set-cookie']).toBeUndefined()
    for (const { headers } of [shown, stranger]) expect(headers.vary).toMatch(/cookie/)
  })

  test.each<[string, (etag: string) => string, number]>([
    ['its tag', (etag) => etag, 304],
    ['its tag made weak by a proxy', (etag) => `W/${etag}`, 304],
    ['a list with its tag', (etag) => `"other", ${etag}`, 304],
    ['anything', () => '*', 304],
    ['another tag', () => '"other"', 200],
    ['no tag', (etag) => etag.slice(1, -1), 200],
  ])('is not sent again to who has %s', async (_what, headerOf, status) => {
    const { id } = await openRestaurant(owner)
    const path = `/api/restaurants/${id}`
    const etag = String((await owner.call(path)).headers.etag)
    expect(etag).toMatch(/^"[\w-]{22}"$/)
    const answer = await owner.call(path, { headers: { 'if-none-match': headerOf(etag) } }, 1)
    expect(answer.statusCode).toBe(status)
    expect(answer.headers.etag).toBe(etag)
    if (status === 304) expect(answer.body).toBe('')
  })

  test('answers HEAD as GET, without the body', async () => {
    const { id } = await openRestaurant(owner)
    const [got, head] = [
      await owner.call(`/api/restaurants/${id}`),
      await owner.call(`/api/restaurants/${id}`, { method: 'HEAD' }),
    ]
    expect([head.statusCode, head.body, head.headers.etag]).toEqual([200, '', got.headers.etag])
  })

  test.each([
    ['gzip', gunzipSync],
    ['br', brotliDecompressSync],
    ['zstd', zstdDecompressSync],
  ] as const)('travels as %s where that is asked for and worth it', async (encoding, decompress) => {
    const { id } = await openRestaurant(owner, { menu: Array(20).fill(menu[0]) })
    const ask = (path: string) => owner.call(path, { headers: { 'accept-encoding': encoding } })
    const answer = await ask(`/api/restaurants/${id}`)
    expect(answer.headers['content-encoding']).toBe(encoding)
    expect(answer.headers.vary).toMatch(/accept-encoding/)
    expect(JSON.parse(decompress(answer.rawPayload).toString())).toMatchObject({ id })
    const plain = await owner.call(`/api/restaurants/${id}`)
    expect(plain.headers['content-encoding']).toBeUndefined()
  })

  test('in a list travels compressed too', async () => {
    const list = await owner.call('/api/restaurants', { headers: { 'accept-encoding': 'gzip' } })
    expect(list.headers['content-encoding']).toBe('gzip')
    expect(list.headers.vary).toMatch(/cookie/)
    expect(list.headers.vary).toMatch(/accept-encoding/)
    expect(JSON.parse(gunzipSync(list.rawPayload).toString()).items.length).toBeGreaterThan(0)
  })

  test('is not there by an id that none has', async () => {
    for (const client of [anonymous(), owner]) {
      const answer = await client.call(`/api/restaurants/${unknownId}`)
      expect([answer.statusCode, answer.json().code]).toEqual([404, 'not_found'])
      expect(answer.headers['cache-control']).toBe('no-store')
    }
  })
})

describe('an owner', () => {
  const patch = (client: Client, id: string, body: unknown, headers: Record<string, string> = {}, replica = 0) =>
    client.call(`/api/restaurants/${id}`, { method: 'PATCH', body, headers }, replica)
  const putMenu = (client: Client, id: string, body: unknown, headers: Record<string, string> = {}, replica = 0) =>
    client.call(`/api/restaurants/${id}/menu`, { method: 'PUT', body: { menu: body }, headers }, replica)

  test('changes details and menu; dishes that stay keep their ids, and the next reader sees it', async () => {
    const restaurant = await openRestaurant(owner)
    const path = `/api/restaurants/${restaurant.id}`
    const etag = (await owner.call(path)).headers.etag
    const patched = await patch(owner, restaurant.id, { name: 'Bar Ada' }, {}, 1)
    expect([patched.statusCode, patched.json()]).toEqual([
      200,
      { ...restaurant, name: 'Bar Ada', updatedAt: expect.any(String) },
    ])
    expect(patched.headers.etag).not.toBe(etag)
    const [first] = restaurant.menu
    const dishes = [
      { ...menu[0], id: first?.id, priceCents: 1 },
      { name: 'Tea', priceCents: 250 },
    ]
    const put = await putMenu(owner, restaurant.id, dishes, {}, 2)
    expect(put.statusCode).toBe(200)
    expect(put.json<Restaurant>().menu).toEqual([
      dishes[0],
      { id: expect.any(String), name: 'Tea', description: '', category: 'mains', priceCents: 250 },
    ])
    for (const replica of [0, 1, 2]) {
      const shown = await anonymous().call(path, {}, replica)
      expect([shown.body, shown.headers.etag]).toEqual([put.body, put.headers.etag])
    }
  })

  test.each(['PATCH', 'PUT'])('who saw an old state loses the race of a %s with If-Match', async (method) => {
    const { id } = await openRestaurant(owner)
    const etag = String((await owner.call(`/api/restaurants/${id}`)).headers.etag)
    const change = (index: number) =>
      method === 'PATCH'
        ? patch(owner, id, { name: `Name ${index}` }, { 'if-match': etag }, index)
        : putMenu(owner, id, [{ name: `Dish ${index}`, priceCents: 1 }], { 'if-match': etag }, index)
    const answers = await Promise.all([0, 1, 2].map(change))
    expect(answers.map(({ statusCode }) => statusCode).sort()).toEqual([200, 412, 412])
    const made = answers.find(({ statusCode }) => statusCode === 200)
    expect((await owner.call(`/api/restaurants/${id}`)).body).toBe(made?.body)
    const again = await change(0)
    expect([again.statusCode, again.json().code]).toEqual([412, 'precondition_failed'])
  })

  test('has another tag in each encoding, by each of which it can be changed', async () => {
    const long = Array.from({ length: 20 }, (_, index) => ({ ...menu[0], name: `Dish ${index}` }))
    const { id } = await openRestaurant(owner, { menu: long })
    const path = `/api/restaurants/${id}`
    const encodings = ['identity', 'gzip', 'br', 'zstd']
    const show = (headers: Record<string, string>) => owner.call(path, { headers })
    const tags: string[] = []
    for (const encoding of encodings) {
      const etag = String((await show({ 'accept-encoding': encoding })).headers.etag)
      expect((await show({ 'accept-encoding': encoding, 'if-none-match': etag })).statusCode).toBe(304)
      tags.push(etag)
    }
    expect(new Set(tags).size).toBe(4)
    for (const encoding of encodings) {
      const { etag } = (await show({ 'accept-encoding': encoding })).headers
      expect((await patch(owner, id, { name: encoding }, { 'if-match': `"other", ${etag} ` })).statusCode).toBe(200)
    }
  })

  test.each([
    ['the present tag', (etag: string) => etag, 200],
    ['the present tag made weak by a proxy', (etag: string) => `W/${etag}`, 200],
    ['anything', () => '*', 200],
    ['another tag', () => '"other"', 412],
  ])('changes it where If-Match names %s', async (_what, headerOf, status) => {
    const { id } = await openRestaurant(owner)
    const etag = String((await owner.call(`/api/restaurants/${id}`)).headers.etag)
    expect((await patch(owner, id, { name: 'New' }, { 'if-match': headerOf(etag) })).statusCode).toBe(status)
  })

  test('keeps a dish only if it is on the menu', async () => {
    const { id } = await openRestaurant(owner)
    const answer = await putMenu(owner, id, [{ ...menu[0], id: unknownId }])
    expect(answer.statusCode).toBe(422)
    expect(answer.json().errors).toEqual([{ pointer: '#/menu/0/id', detail: 'is not on the present menu' }])
  })

  test('is the only one who may', async () => {
    const { id } = await openRestaurant(owner)
    const tries = (client: Client, of: string) => [
      patch(client, of, { name: 'Mine' }),
      putMenu(client, of, []),
      client.call(`/api/restaurants/${of}/orders`),
    ]
    const statuses = async (client: Client, of: string) =>
      (await Promise.all(tries(client, of))).map(({ statusCode }) => statusCode)
    expect(await statuses(somebody, id)).toEqual([403, 403, 403])
    expect(await statuses(somebody, unknownId)).toEqual([404, 404, 404])
    expect(await statuses(anonymous(), id)).toEqual([401, 401, 401])
    expect((await anonymous().post('/api/restaurants', details)).statusCode).toBe(401)
    expect((await owner.call(`/api/restaurants/${id}`)).json()).toMatchObject({ name: details.name, menu })
  })
})

describe('a search', () => {
  const places = [
    { name: 'Café Zürich', cuisine: 'Café/Coffee', borough: 'Bronx', location: [10, 10] },
    { name: 'Zürich Sushi', cuisine: 'Japanese', borough: 'Bronx', location: [10.001, 10] },
    { name: "Wendy's of Zürich", cuisine: 'Japanese', borough: 'Queens', location: [10.01, 10] },
    { name: 'Zürich far away', cuisine: 'Japanese', borough: 'Queens', location: [12, 10] },
  ]
  beforeAll(async () => {
    for (const place of places) await openRestaurant(owner, place)
  })

  const names = async (query: string) => {
    // The owner has written, so reads show it.
    const answer = await owner.call(`/api/restaurants?${query}`)
    expect(answer.statusCode).toBe(200)
    return answer.json().items.map(({ name }: { name: string }) => name)
  }

  test.each([
    ['q=zurich', [0, 1, 2, 3]],
    ['q=ZÜRICH%20sushi', [1]],
    ['q=wendys', [2]],
    ['q=zurich&cuisine=japanese', [1, 2, 3]],
    ['q=zurich&cuisine=JAPANESE&borough=bronx', [1]],
    ['cuisine=cafe/coffee&borough=Bronx', [0]],
    ['q=zurich&near=10.01,10', [2, 1, 0]],
    ['q=zurich&near=10,10&radiusMeters=500', [0, 1]],
    ['q=zurich&near=10,10&radiusMeters=1', [0]],
    ['cuisine=japanese&borough=queens&q=zurich&near=12,10', [3]],
    ['q=zurich%20nowhere', []],
  ])('for %s', async (query, expected) => {
    expect(await names(query)).toEqual(expected.map((index) => places[index]?.name))
  })

  test('shows each without its menu, from a secondary, to whom it may concern', async () => {
    const answer = await eventually(
      () => anonymous().call('/api/restaurants?q=zurich'),
      ({ headers, body }) =>
        /^secondary mongo-[123]$/.test(String(headers['x-read-from'])) && body.includes('far away'),
    )
    expect(answer.headers['cache-control']).toBe('public, max-age=300')
    for (const item of answer.json().items) expect(item).not.toHaveProperty('menu')
  })

  test.each(['', '&near=10,10'])('goes page by page without repeating or skipping one: %s', async (near) => {
    const seen: string[] = []
    let cursor: string | null = null
    do {
      const next: string = cursor === null ? '' : `&cursor=${cursor}`
      const { items, nextCursor } = (await owner.call(`/api/restaurants?q=zurich&limit=1${near}${next}`)).json()
      expect(items.length).toBeLessThanOrEqual(1)
      seen.push(...items.map(({ name }: { name: string }) => name))
      cursor = nextCursor
      await openRestaurant(owner, { ...places[1], name: 'Another Sushi' })
    } while (cursor !== null)
    expect(seen).toEqual(places.slice(0, near === '' ? 4 : 3).map(({ name }) => name))
  })

  test('gives twenty unless asked for another number', async () => {
    for (let count = 0; count < 21; count++) await openRestaurant(owner, { borough: 'Staten Island' })
    expect(await names('borough=staten%20island')).toHaveLength(20)
    expect(await names('borough=staten%20island&limit=100')).toHaveLength(21)
  })
})
