import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { orderModel } from '../../apps/data/orders.ts'
import { encodeCursor } from '../../apps/data/page.ts'
import { restaurantModel } from '../../apps/data/restaurants.ts'
import { userModel } from '../../apps/data/users.ts'
import { changed } from '../../loadtest/chaos/document.ts'
import type { ProblemBody } from '../support/answers.ts'
import {
  type Call,
  Client,
  details,
  fleetForFile,
  menu,
  openRestaurant,
  orderOf,
  type Restaurant,
  signUp,
  unknownId,
} from '../support/api.ts'

const fleet = fleetForFile({}, 1)
let user: Client
let restaurant: Restaurant
let orderId: string
let before: unknown
beforeAll(async () => {
  user = await signUp(fleet)
  restaurant = await openRestaurant(user)
  orderId = (await user.post('/api/orders', good['POST /api/orders']?.())).json().id
  before = await stored()
})
afterAll(async () => {
  // Whatever was tried in this file.
  expect(await stored()).toEqual(before)
})

async function stored() {
  const { connection } = fleet.mongo
  const collections = [userModel(connection), restaurantModel(connection), orderModel(connection)]
  return Promise.all(collections.map(({ collection }) => collection.find().sort({ _id: 1 }).toArray()))
}

/** A body that each route takes. */
const good: Record<string, () => Record<string, unknown>> = {
  'POST /api/users': () => ({ email: 'new@example.com', password: 'correct horse', name: 'Ada' }),
  'POST /api/sessions': () => ({ email: 'nobody@example.com', password: 'correct horse' }),
  'POST /api/restaurants': () => ({ ...details, menu }),
  'PATCH /api/restaurants/{id}': () => ({ ...details }),
  'PUT /api/restaurants/{id}/menu': () => ({ menu: [{ ...menu[0], id: restaurant.menu[0]?.id }] }),
  'POST /api/orders': () => ({ ...orderOf(restaurant), note: 'No onions' }),
  'PUT /api/orders/{id}/status': () => ({ status: 'accepted' }),
}
const routes = Object.keys(good)

async function send(route: string, body: unknown, headers: Record<string, string> = {}) {
  const [method = '', path = ''] = route.split(' ')
  const id = path.startsWith('/api/orders') ? orderId : restaurant.id
  return user.call(path.replace('{id}', id), { method: method as Call['method'] & {}, body, headers })
}

/** Every place in a body, as a path of keys. */
function* placesIn(value: unknown, path: (string | number)[] = []): Generator<(string | number)[]> {
  if (path.length > 0) yield path
  if (typeof value !== 'object' || value === null) return
  for (const key of Object.keys(value)) {
    yield* placesIn((value as Record<string, unknown>)[key], [...path, Array.isArray(value) ? Number(key) : key])
  }
}

const pointerOf = (path: (string | number)[]) => `#/${path.join('/')}`
/** What an answer complains about, each once. */
const pointers = (body: string) => [
  ...new Set(((JSON.parse(body) as ProblemBody).errors ?? []).map(({ pointer }) => pointer)),
]

describe.each(routes)('%s', (route) => {
  test.each<[string, unknown]>([
    ['an operator', { $gt: '' }],
    ['another operator', { $where: 'sleep(1000)' }],
    ['null', null],
    ['a list', [[]]],
    ['true', true],
    ['a text without a visible character', ' \t '],
    ['a text that ends early', 'a\u0000b'],
    ['a text of a million characters', 'x'.repeat(200_000)],
    ['a number below all bounds', -1e15],
    ['a fraction', 0.5],
  ])('refuses %s at every place, and names it', async (what, value) => {
    const body = good[route]?.() ?? {}
    for (const path of placesIn(body)) {
      if (fits(route, path, value)) continue
      const answer = await send(route, changed(body, path, value))
      expect([what, path, answer.statusCode]).toEqual([what, path, 400])
      const named = pointers(answer.body)
      expect(named.some((pointer) => pointer === pointerOf(path) || pointer.startsWith(`${pointerOf(path)}/`))).toBe(
        true,
      )
    }
  })

  test('refuses an unknown field at every depth, and names it', async () => {
    const body = good[route]?.() ?? {}
    const fields = ['role', 'userId', 'ownerId', 'priceCents2', 'totalCents', '_id', '$set', 'constructor', 'a/b~c']
    const objects = [[], ...placesIn(body)].filter((path) =>
      isObject(path.reduce<unknown>((at, key) => (at as never)[key], body)),
    )
    for (const path of objects) {
      for (const field of fields) {
        const answer = await send(route, changed(body, [...path, field], 'x'))
        expect(answer.statusCode).toBe(400)
        expect(pointers(answer.body)).toContain(pointerOf([...path, field.replaceAll('~', '~0').replaceAll('/', '~1')]))
      }
    }
  })

  test('names every field that is missing', async () => {
    const answer = await send(route, {})
    expect(answer.statusCode).toBe(400)
    const optional = ['menu', 'note']
    const required = Object.keys(good[route]?.() ?? {}).filter(
      (name) => route.startsWith('PUT') || !optional.includes(name),
    )
    const expected = route.startsWith('PATCH') ? ['#'] : required.map((name) => `#/${name}`)
    expect(pointers(answer.body).sort()).toEqual(expected.sort())
  })

  test.each<[string, string, number]>([
    ['no JSON', '{"email": ', 400],
    ['JSON with more behind it', '{} {}', 400],
    ['a key that changes prototypes', '{"__proto__": {"role": "admin"}}', 400],
    ['a constructor that changes prototypes', '{"constructor": {"prototype": {"role": "admin"}}}', 400],
    ['a list', '[]', 400],
    ['a text', '"x"', 400],
    ['null', 'null', 400],
    ['nothing', '', 400],
    ['a pit of brackets', '['.repeat(100_000), 400],
    ['a tower of brackets', `${'['.repeat(50_000)}${']'.repeat(50_000)}`, 400],
    ['bytes that are no text', '\u0000\u0001\ufffd', 400],
    ['ten megabytes', `{"email": "${'x'.repeat(10_000_000)}"}`, 413],
  ])('refuses %s as a body', async (_what, body, status) => {
    const answer = await send(route, body, { 'content-type': 'application/json' })
    expect(answer.statusCode).toBe(status)
    expect(answer.json().title).not.toBe('')
  })

  test.each([
    ['text/plain', '{}'],
    ['application/xml', '<x/>'],
    ['application/x-www-form-urlencoded', 'a=b'],
    ['multipart/form-data; boundary=x', '--x--'],
    ['application/json5', '{}'],
    ['nonsense', '{}'],
  ])('does not take %s', async (type, body) => {
    expect((await send(route, body, { 'content-type': type })).statusCode).toBe(415)
  })

  test.each(['gzip', 'br', 'identity, gzip'])('does not take what is encoded as %s', async (encoding) => {
    const headers = { 'content-type': 'application/json', 'content-encoding': encoding }
    expect((await send(route, Buffer.from('1f8b08', 'hex'), headers)).statusCode).toBe(415)
  })
})

const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Where a value is no mistake. */
function fits(route: string, path: (string | number)[], value: unknown): boolean {
  if (typeof value === 'number') return path.at(-2) === 'location' && Math.abs(value) < 90
  if (typeof value !== 'string' || value.length > 10) return false
  // Any text may be tried as a password; it is just a wrong one.
  return (
    ['building', 'zipcode', 'description'].includes(String(path.at(-1))) ||
    (route === 'POST /api/sessions' && path.at(-1) === 'password')
  )
}

describe('what breaks a pattern', () => {
  const post = async (change: object) =>
    user.post('/api/orders', { ...good['POST /api/orders']?.(), ...change }, { 'idempotency-key': 'a b' })
  test.each<[string, () => ReturnType<typeof user.call>, string, RegExp]>([
    ['an id in a path', () => user.call('/api/orders/12'), '{id}', /24 hex digits/],
    ['an id in a body', () => user.post('/api/orders', { restaurantId: 'x' }), '#/restaurantId', /24 hex digits/],
    ['a text', () => post({ note: '\u0007' }), '#/note', /no control characters/],
    ['a text for terminals of eight bits', () => post({ note: 'a\u009b2J' }), '#/note', /no control characters/],
    ['a key', () => post({}), 'idempotency-key', /visible ASCII/],
    ['a cursor', () => user.call('/api/orders?cursor=!'), '?cursor', /nextCursor/],
    ['a position', () => user.call('/api/restaurants?near=here'), '?near', /longitude,latitude/],
  ])('is told in words: %s', async (_what, ask, pointer, words) => {
    const answer = await ask()
    expect(answer.statusCode).toBe(400)
    const { errors = [] } = answer.json() as ProblemBody
    expect(errors).toContainEqual({ pointer, detail: expect.stringMatching(words) })
    expect(JSON.stringify(errors)).not.toContain('pattern')
  })
})

describe('an order', () => {
  test.each<[string, unknown, string]>([
    ['no dishes', { items: [] }, '#/items'],
    ['no restaurant', { restaurantId: '' }, '#/restaurantId'],
    ['an id in capitals', { restaurantId: unknownId.toUpperCase() }, '#/restaurantId'],
    ['none of a dish', { items: [{ menuItemId: unknownId, quantity: 0 }] }, '#/items/0/quantity'],
    ['fewer than none of a dish', { items: [{ menuItemId: unknownId, quantity: -1 }] }, '#/items/0/quantity'],
    ['half a dish', { items: [{ menuItemId: unknownId, quantity: 1.5 }] }, '#/items/0/quantity'],
    ['far too many of a dish', { items: [{ menuItemId: unknownId, quantity: 101 }] }, '#/items/0/quantity'],
    ['a quantity in words', { items: [{ menuItemId: unknownId, quantity: '1' }] }, '#/items/0/quantity'],
    ['a price of its own', { items: [{ menuItemId: unknownId, quantity: 1, priceCents: 1 }] }, '#/items/0/priceCents'],
    ['more lines than an order has', { items: Array(51).fill({ menuItemId: unknownId, quantity: 1 }) }, '#/items'],
    ['a novel as a note', { note: 'x'.repeat(501) }, '#/note'],
  ])('with %s is refused', async (_what, change, pointer) => {
    const answer = await user.post('/api/orders', { ...good['POST /api/orders']?.(), ...(change as object) })
    expect(answer.statusCode).toBe(400)
    expect(pointers(answer.body)).toContain(pointer)
  })

  test('with more mistakes than anybody can read is told of the first hundred', async () => {
    const told = async (count: number) => {
      const body = `{"restaurantId": "x", "items": [${'{},'.repeat(count)}{}]}`
      const answer = await user.post('/api/orders', body, { 'content-type': 'application/json' })
      return [answer.statusCode, (answer.json() as ProblemBody).errors?.length]
    }
    expect(await told(4_000)).toEqual([400, 100])
    // To find all of them would take long.
    expect(await told(60_000)).toEqual([400, 1])
  })

  test.each(['', ' ', 'x'.repeat(256), 'a b', 'ключ', 'a\tb'])('with the key %j is refused', async (key) => {
    const headers = { 'idempotency-key': key }
    const answer = await user.post('/api/orders', good['POST /api/orders']?.(), headers)
    expect([answer.statusCode, pointers(answer.body)]).toEqual([400, ['idempotency-key']])
  })
})

describe('a cancellation', () => {
  test.each<[string, unknown, string[]]>([
    ['a field', { reason: 'late' }, ['#/reason']],
    ['a status', { status: 'accepted' }, ['#/status']],
    ['several fields', { 'a/b~c': 1, _id: unknownId }, ['#/a~1b~0c', '#/_id']],
    ['a list', [], ['#']],
    ['a text', '"now"', ['#']],
    ['a number', '1', ['#']],
  ])('with %s is refused, and names it', async (_what, body, expected) => {
    const answer = await user.call(`/api/orders/${orderId}/cancellation`, {
      method: 'PUT',
      body,
      headers: { 'content-type': 'application/json' },
    })
    expect([answer.statusCode, pointers(answer.body)]).toEqual([400, expected])
  })
})

describe('an account', () => {
  test.each<[string, object, string]>([
    ['an e-mail without a host', { email: 'ada' }, '#/email'],
    ['two e-mails', { email: 'ada@example.com,eve@example.com' }, '#/email'],
    ['an e-mail with a line break', { email: 'ada@example.com\nbcc: eve@example.com' }, '#/email'],
    ['an endless e-mail', { email: `${'x'.repeat(250)}@example.com` }, '#/email'],
    ['a short password', { password: '1234567' }, '#/password'],
    ['an endless password', { password: 'x'.repeat(129) }, '#/password'],
    ['an empty name', { name: '' }, '#/name'],
  ])('with %s is refused', async (_what, change, pointer) => {
    const answer = await new Client(fleet).post('/api/users', { ...good['POST /api/users']?.(), ...change })
    expect([answer.statusCode, pointers(answer.body)]).toEqual([400, [pointer]])
  })
})

describe('a restaurant', () => {
  test.each<[string, object, string]>([
    ['a longitude beyond the date line', { location: [180.1, 0] }, '#/location/0'],
    ['a latitude beyond the pole', { location: [0, -90.1] }, '#/location/1'],
    ['one coordinate', { location: [0] }, '#/location'],
    ['three coordinates', { location: [0, 0, 0] }, '#/location'],
    ['a negative price', { menu: [{ name: 'Tea', priceCents: -1 }] }, '#/menu/0/priceCents'],
    ['half a cent', { menu: [{ name: 'Tea', priceCents: 0.5 }] }, '#/menu/0/priceCents'],
    ['a price in words', { menu: [{ name: 'Tea', priceCents: '100' }] }, '#/menu/0/priceCents'],
    ['an id for a new dish', { menu: [{ id: unknownId, name: 'Tea', priceCents: 1 }] }, '#/menu/0/id'],
    ['an endless menu', { menu: Array(201).fill({ name: 'Tea', priceCents: 1 }) }, '#/menu'],
    ['a list of tags', { tags: [] }, '#/tags'],
  ])('with %s is refused', async (_what, change, pointer) => {
    const answer = await user.post('/api/restaurants', { ...details, ...change })
    expect([answer.statusCode, pointers(answer.body)]).toEqual([400, [pointer]])
  })
})

describe('a path', () => {
  const withId: [NonNullable<Call['method']>, string, unknown?][] = [
    ['GET', '/api/restaurants/{id}'],
    ['PATCH', '/api/restaurants/{id}', { name: 'x' }],
    ['PUT', '/api/restaurants/{id}/menu', { menu: [] }],
    ['GET', '/api/restaurants/{id}/orders'],
    ['GET', '/api/orders/{id}'],
    ['PUT', '/api/orders/{id}/cancellation'],
    ['PUT', '/api/orders/{id}/status', { status: 'accepted' }],
    ['DELETE', '/api/sessions/{id}'],
  ]
  const ids = [
    'x',
    '0',
    unknownId.slice(1),
    `${unknownId}0`,
    unknownId.toUpperCase(),
    '%00',
    '%2e%2e%2f',
    '$gt',
    '[object%20Object]',
    'x'.repeat(99),
  ]

  test.each(withId)('with an id that is none is refused and named: %s %s', async (method, path, body) => {
    for (const id of ids) {
      const answer = await user.call(path.replace('{id}', id), { method, body })
      expect([id, answer.statusCode]).toEqual([id, 400])
      expect(pointers(answer.body)).toEqual(['{id}'])
    }
  })

  test.each([
    ['/api', 404],
    ['/api/', 404],
    ['/api/nothing', 404],
    ['/api/users', 405],
    ['/api/users/me/more', 404],
    [`/api/orders/${unknownId}/more`, 404],
    ['/API/orders', 404],
    ['/', 404],
    ['/admin', 404],
    ['/docs/static/../../../../package.json', 404],
    ['/docs/static/%2e%2e/%2e%2e/package.json', 404],
    ['/docs/static/package.json', 404],
    [`/api/orders/${'x'.repeat(200)}`, 404],
    ['/api/orders/%ff', 400],
    ['/api/orders/%zz', 400],
    ['/api/%c0%af', 400],
    ['/%', 400],
  ])('that leads nowhere says so: %s', async (path, status) => {
    for (const method of ['GET', 'POST'] as const) {
      const answer = await user.call(path, { method, ...(method === 'POST' ? { body: {} } : {}) })
      if (path === '/api/users' && method === 'POST') expect(answer.statusCode).toBe(400)
      else expect([method, answer.statusCode]).toEqual([method, status])
    }
  })

  test('that exists names the methods it takes to whoever comes with another', async () => {
    for (const [path, operations] of Object.entries(fleet.document.paths)) {
      const taken = Object.keys(operations).map((method) => method.toUpperCase())
      const allowed = [...taken, ...(taken.includes('GET') ? ['HEAD'] : [])].sort()
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const) {
        if (allowed.includes(method)) continue
        // `current` is no id of a session, so reading it leads to the other route of that path.
        const answer = await user.call(path.replace('{id}', unknownId), { method })
        expect([method, path, answer.statusCode]).toEqual([method, path, 405])
        expect(String(answer.headers.allow).split(', ').sort()).toEqual(allowed)
        expect(answer.headers['ratelimit-limit']).toBeDefined()
      }
    }
  })
})

describe('a query', () => {
  const lists = ['/api/restaurants', '/api/orders', `/api/restaurants/{id}/orders`]

  test.each([
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['limit=-1', 'limit'],
    ['limit=1.5', 'limit'],
    ['limit=x', 'limit'],
    ['limit=', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['limit[$gt]=1', 'limit[$gt]'],
    ['cursor=', 'cursor'],
    ['cursor=x', 'cursor'],
    ['cursor=%00', 'cursor'],
    [`cursor=${encodeCursor({ id: { $gt: '' } })}`, 'cursor'],
    [`cursor=${encodeCursor({ meters: 1, last: unknownId })}`, 'cursor'],
    [`cursor=${encodeCursor([])}`, 'cursor'],
    [`cursor=${'A'.repeat(8_193)}`, 'cursor'],
    ['status[$ne]=x', 'status[$ne]'],
    ['unknown=1', 'unknown'],
    ['__proto__=1', '__proto__'],
  ])('of any list is refused and named: %s', async (query, name) => {
    for (const list of lists) {
      const answer = await user.call(`${list.replace('{id}', restaurant.id)}?${query}`)
      expect([answer.statusCode, pointers(answer.body)]).toEqual([400, [`?${name}`]])
    }
  })

  test.each([
    ['status=eaten', '/api/orders', 'status'],
    ['status=pending&status=ready', '/api/orders', 'status'],
    ['cuisine=', '/api/restaurants', 'cuisine'],
    ['cuisine=%20', '/api/restaurants', 'cuisine'],
    [`q=${'x'.repeat(101)}`, '/api/restaurants', 'q'],
    ['q=%E2%80%A6', '/api/restaurants', 'q'],
    ['q=%00', '/api/restaurants', 'q'],
    ['q[$regex]=.*', '/api/restaurants', 'q[$regex]'],
    ['near=x', '/api/restaurants', 'near'],
    ['near=1', '/api/restaurants', 'near'],
    ['near=181,0', '/api/restaurants', 'near'],
    ['near=0,91', '/api/restaurants', 'near'],
    ['near=0,0,0', '/api/restaurants', 'near'],
    ['near=NaN,NaN', '/api/restaurants', 'near'],
    ['near=1e1,1', '/api/restaurants', 'near'],
    ['near=0,0&radiusMeters=0', '/api/restaurants', 'radiusMeters'],
    ['near=0,0&radiusMeters=100001', '/api/restaurants', 'radiusMeters'],
    ['near=0,0&radiusMeters=Infinity', '/api/restaurants', 'radiusMeters'],
    ['radiusMeters=100', '/api/restaurants', 'radiusMeters'],
    [`near=0,0&cursor=${encodeCursor({ id: unknownId })}`, '/api/restaurants', 'cursor'],
    [`near=0,0&cursor=${encodeCursor({ meters: -1, last: unknownId })}`, '/api/restaurants', 'cursor'],
    [`near=0,0&cursor=${encodeCursor({ meters: 'x', last: unknownId })}`, '/api/restaurants', 'cursor'],
  ])('is refused and named: %s', async (query, path, name) => {
    const answer = await user.call(`${path}?${query}`)
    expect([answer.statusCode, pointers(answer.body)]).toEqual([400, [`?${name}`]])
  })

  test.each([
    ['the corners of the world', 'near=180,90&radiusMeters=100000'],
    ['the other corners', 'near=-180,-90'],
    [
      'a place of a cursor beyond the end of the world',
      `near=0,0&cursor=${encodeCursor({ meters: 1e300, last: unknownId })}`,
    ],
    ['a cursor of an id that nothing has', `cursor=${encodeCursor({ id: 'f'.repeat(24) })}`],
    ['half a character', 'q=%F0%9F%8D'],
    ['signs with a meaning elsewhere', 'q=.*%5B%5D%7B%7D(a)%24'],
  ])('for %s has an answer', async (_what, query) => {
    const answer = await user.call(`/api/restaurants?${query}`)
    expect(answer.statusCode).toBe(200)
  })
})

describe('a cookie', () => {
  test.each([
    'sid',
    'sid=',
    'sid=;;;===',
    'sid=%',
    'sid=%E0%A4%A',
    `sid=${'x'.repeat(4_000)}`,
    'sid=a.b; sid=c.d',
    'sid={"$gt":""}',
    '\u0001\u0002',
  ])('that is broken is no session: %j', async (cookie) => {
    const headers = { cookie }
    expect((await new Client(fleet).call('/api/users/me', { headers })).statusCode).toBe(401)
    expect((await new Client(fleet).call('/api/restaurants', { headers })).statusCode).toBe(200)
  })
})
