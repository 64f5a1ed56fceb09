import type { LightMyRequestResponse } from 'fastify'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Route, routesOf, urlOf } from '../../loadtest/chaos/document.ts'
import { Client, fleetForFile, orderOf, unknownId } from '../support/api.ts'
import { goodBody, newTarget, newWorld, stored, type World } from './routes.ts'
import { watchTraffic } from './traffic.ts'

// No second tries on a machine that is slow just now: what requests ask for is compared.
const fleet = fleetForFile({ READ_WAIT_MS: '10000' }, 3)
const replicas = [0, 1, 2]
let world: World
beforeAll(async () => {
  world = await newWorld(fleet)
})

const persons = ['nobody', 'stranger', 'customer', 'owner'] as const
type Person = (typeof persons)[number]

/** What each gets for the restaurant of the owner, an order that the customer placed there, a session of the customer. */
const expected: Record<string, Record<Person, number>> = {
  'GET /api/restaurants/{id}': { nobody: 200, stranger: 200, customer: 200, owner: 200 },
  'PATCH /api/restaurants/{id}': { nobody: 401, stranger: 403, customer: 403, owner: 200 },
  'PUT /api/restaurants/{id}/menu': { nobody: 401, stranger: 403, customer: 403, owner: 200 },
  'GET /api/restaurants/{id}/orders': { nobody: 401, stranger: 403, customer: 403, owner: 200 },
  'GET /api/orders/{id}': { nobody: 401, stranger: 404, customer: 200, owner: 200 },
  'PUT /api/orders/{id}/cancellation': { nobody: 401, stranger: 404, customer: 200, owner: 404 },
  'PUT /api/orders/{id}/status': { nobody: 401, stranger: 404, customer: 403, owner: 200 },
  'DELETE /api/sessions/{id}': { nobody: 401, stranger: 404, customer: 204, owner: 404 },
}

const routes = () => routesOf(fleet.document)
const withId = () => routes().filter(({ path }) => path.includes('{'))

const clientOf = (person: Person) => (person === 'nobody' ? new Client(fleet) : world[person])

function ask(route: Route, id: string, person: Person, replica: number): Promise<LightMyRequestResponse> {
  return clientOf(person).call(urlOf(route, id), { method: route.method, body: goodBody(world, route) }, replica)
}

function leaksOf({ body, headers }: LightMyRequestResponse): string[] {
  const told = body + JSON.stringify({ ...headers, 'causal-token': undefined })
  return world.secrets.filter((secret) => told.includes(secret))
}

test('who may do what is said here for every route with an id, and for no other', () => {
  expect(
    withId()
      .map(({ name }) => name)
      .sort(),
  ).toEqual(Object.keys(expected).sort())
})

describe.each(replicas)('on replica %i', (replica) => {
  test.each(persons)('%s gets what is theirs, and nothing else changes or shows', async (person) => {
    const seen: Record<string, unknown> = {}
    for (const route of withId()) {
      const id = await newTarget(world, route)
      const before = await stored(fleet)
      const answer = await ask(route, id, person, replica)
      seen[route.name] = answer.statusCode
      if (answer.statusCode < 400) continue
      expect([route.name, leaksOf(answer)]).toEqual([route.name, []])
      expect([route.name, await stored(fleet)]).toEqual([route.name, before])
    }
    const wanted = Object.entries(expected).map(([name, statuses]) => [name, statuses[person]])
    expect(seen).toEqual(Object.fromEntries(wanted))
  })

  test('what is hidden looks like what does not exist, and takes the same work', async () => {
    const traffic = await watchTraffic(fleet)
    const look = async (route: Route, id: string, person: Person) => {
      await traffic.taken()
      const { statusCode, headers, body } = await ask(route, id, person, replica)
      const { instance, ...problem } = JSON.parse(body)
      return { statusCode, names: Object.keys(headers).sort(), problem, ...(await traffic.taken()) }
    }
    let compared = 0
    for (const route of withId()) {
      for (const person of persons.filter((each) => expected[route.name]?.[each] === 404)) {
        const hidden = await look(route, await newTarget(world, route), person)
        const unknown = await look(route, unknownId, person)
        expect([route.name, person, hidden]).toEqual([route.name, person, unknown])
        expect(hidden.statusCode).toBe(404)
        expect(hidden.redis).not.toEqual([])
        compared++
      }
    }
    expect(compared).toBe(6)
  })

  test('lists and pages hold nothing of anybody else', async () => {
    const { nextCursor } = (await world.customer.call('/api/orders?limit=1')).json()
    expect(nextCursor).toEqual(expect.any(String))
    for (const route of routes().filter(({ path, method }) => method === 'GET' && !path.includes('{'))) {
      const paged = route.operation.parameters?.some(({ name }) => name === 'cursor')
      for (const query of ['', ...(paged ? [`?cursor=${nextCursor}`, '?limit=100'] : [])]) {
        const answer = await world.stranger.call(route.path + query, {}, replica)
        expect([route.name, query, answer.statusCode, leaksOf(answer)]).toEqual([route.name, query, 200, []])
      }
    }
  })

  test('an Idempotency-Key belongs to whoever used it', async () => {
    const key = { 'idempotency-key': `lunch-${replica}` }
    const order = orderOf(world.restaurant)
    const theirs = await world.customer.post('/api/orders', order, key, replica)
    const mine = await world.stranger.post('/api/orders', order, key, replica)
    expect([theirs.statusCode, mine.statusCode]).toEqual([201, 201])
    expect(mine.headers).not.toHaveProperty('idempotency-replayed')
    expect(mine.json()).toMatchObject({ userId: world.stranger.id })
    expect(mine.json().id).not.toBe(theirs.json().id)
  })
})
