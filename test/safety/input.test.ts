import type mongoose from 'mongoose'
import { beforeAll, describe, expect, test } from 'vitest'
import {
  changed,
  foreignFields,
  isType,
  operatorIds,
  operatorNames,
  operators,
  parametersOf,
  placesIn,
  pointerOf,
  type Route,
  routesOf,
  urlOf,
} from '../../loadtest/chaos/document.ts'
import type { ProblemBody } from '../support/answers.ts'
import { Client, fleetForFile, orderOf } from '../support/api.ts'
import { goodBody, newTarget, newWorld, stored, type World, whoMay } from './routes.ts'

const fleet = fleetForFile({}, 1)
let world: World
beforeAll(async () => {
  world = await newWorld(fleet)
})

const routes = () => routesOf(fleet.document)
const withBody = () => routes().filter(({ body }) => body !== undefined)

/** What an answer complains about. */
const named = (text: string) => ((JSON.parse(text) as ProblemBody).errors ?? []).map(({ pointer }) => pointer)

/** Runs what must change nothing in the database. */
async function unchanged(run: () => Promise<void>): Promise<void> {
  const before = await stored(fleet)
  await run()
  expect(await stored(fleet)).toEqual(before)
}

/** Sends a body as who may change the thing, and gives back how the answer differs from a 400 that names the place. */
async function refusal(route: Route, id: string, body: object, path: (string | number)[]): Promise<string[]> {
  const { statusCode, body: text } = await whoMay(world, route).call(urlOf(route, id), { method: route.method, body })
  const pointer = pointerOf(path)
  const what = `${route.name} ${pointer}`
  if (statusCode !== 400) return [`${what}: ${statusCode}`]
  return named(text).some((each) => each === pointer || each.startsWith(`${pointer}/`)) ? [] : [`${what}: ${text}`]
}

test('every object in every body is closed', () => {
  const open = withBody().flatMap((route) =>
    [...placesIn(route.body ?? {}, goodBody(world, route))]
      .filter(({ schema }) => isType(schema, 'object') && schema.additionalProperties !== false)
      .map(({ path }) => `${route.name} ${pointerOf(path)}`),
  )
  expect(open).toEqual([])
})

describe('an owner and a customer cannot set more than they are asked for', () => {
  test('by a field that a route does not know, at any depth', { timeout: 120_000 }, async () => {
    const wrong: string[] = []
    let tried = 0
    for (const route of withBody()) {
      const id = await newTarget(world, route)
      const body = goodBody(world, route) ?? {}
      await unchanged(async () => {
        for (const { path, schema } of placesIn(route.body ?? {}, body)) {
          if (!isType(schema, 'object')) continue
          for (const [field, value] of foreignFields) {
            if (Object.hasOwn(schema.properties ?? {}, field)) continue
            const place = [...path, field]
            wrong.push(...(await refusal(route, id, changed(body, place, value), place)))
            tried++
          }
        }
      })
    }
    expect(wrong).toEqual([])
    expect(tried).toBeGreaterThan(200)
    expect({}).not.toHaveProperty('role')
  })

  test('by a price of a dish that is not theirs to set, or by an id of another dish', async () => {
    const order = orderOf(world.restaurant)
    const answer = await world.customer.post('/api/orders', { ...order, items: [{ ...order.items[0], priceCents: 1 }] })
    expect([answer.statusCode, named(answer.body)]).toEqual([400, ['#/items/0/priceCents']])
    const [first] = world.restaurant.menu
    const other = await world.stranger.call(`/api/restaurants/${world.restaurant.id}/menu`, {
      method: 'PUT',
      body: { menu: [{ ...first, category: 'mains', priceCents: 1 }] },
    })
    expect(other.statusCode).toBe(403)
  })
})

describe('an operator of MongoDB', { timeout: 120_000 }, () => {
  test('is refused and named in every text of every body', async () => {
    const wrong: string[] = []
    let tried = 0
    for (const route of withBody()) {
      const id = await newTarget(world, route)
      const body = goodBody(world, route) ?? {}
      await unchanged(async () => {
        for (const { path, schema } of placesIn(route.body ?? {}, body)) {
          // A place for whatever is no object and no list: texts, numbers, and what has a fixed set of values.
          if (isType(schema, 'object') || isType(schema, 'array')) continue
          for (const operator of operators) {
            wrong.push(...(await refusal(route, id, changed(body, path, operator), path)))
            tried++
          }
        }
      })
    }
    expect(wrong).toEqual([])
    expect(tried).toBeGreaterThan(200)
  })

  test('is a text or an error in every parameter of every query', async () => {
    const texts = operators.map((operator) => JSON.stringify(operator)).concat('$where', '$ne', '[$ne]', '{$ne:1}')
    const sent = watchCommands()
    const wrong: string[] = []
    let tried = 0
    const asked = routes().filter((route) => parametersOf(route, 'query').length > 0)
    const targets = await Promise.all(asked.map(async (route) => [route, await newTarget(world, route)] as const))
    await unchanged(async () => {
      for (const [route, id] of targets) {
        for (const { name } of parametersOf(route, 'query')) {
          for (const key of operatorNames(name)) {
            const answer = await whoMay(world, route).call(`${urlOf(route, id)}?${encodeURIComponent(key)}=x`)
            tried++
            if (answer.statusCode !== 400 || !named(answer.body).includes(`?${key}`)) {
              wrong.push(`${route.name} ?${key}: ${answer.statusCode}`)
            }
          }
          for (const text of texts) {
            const answer = await whoMay(world, route).call(`${urlOf(route, id)}?${name}=${encodeURIComponent(text)}`)
            tried++
            const found = answer.statusCode === 200 ? answer.json().items.length : 0
            if (![200, 400].includes(answer.statusCode) || found > 0) {
              wrong.push(`${route.name} ?${name}=${text}: ${answer.statusCode}, ${found} found`)
            }
          }
        }
      }
    })
    expect(wrong).toEqual([])
    expect(tried).toBeGreaterThan(100)
    expect(sent.filter(({ keys }) => keys.some((key) => /^\$(ne|where|function|regex)$|\$gt$/.test(key)))).toEqual([])
  })

  test('is no id', async () => {
    await unchanged(async () => {
      for (const route of routes().filter(({ path }) => path.includes('{'))) {
        for (const id of operatorIds) {
          const body = goodBody(world, route)
          const url = urlOf(route, encodeURIComponent(id))
          const answer = await whoMay(world, route).call(url, { method: route.method, body })
          expect([route.name, id, answer.statusCode, named(answer.body)]).toEqual([route.name, id, 400, ['{id}']])
        }
      }
    })
  })

  test('is a text like any other in every header that a route reads', async () => {
    for (const route of routes()) {
      for (const { name } of parametersOf(route, 'header')) {
        const ask = async (value: string) => {
          const body = goodBody(world, route)
          const url = urlOf(route, await newTarget(world, route))
          return whoMay(world, route).call(url, { method: route.method, body, headers: { [name]: value } })
        }
        const plain = await ask(`word-${route.method}`)
        for (const value of ['{"$ne":""}', '{"$gt":""}', '$where', '__proto__']) {
          const answer = await ask(value)
          expect([route.name, name, value, answer.statusCode]).toEqual([route.name, name, value, plain.statusCode])
          expect(answer.headers).not.toHaveProperty('idempotency-replayed')
        }
      }
    }
  })

  test('opens no session', async () => {
    for (const password of [{ $ne: null }, { $gt: '' }, ['correct horse'], null, true]) {
      const client = new Client(fleet)
      const answer = await client.post('/api/sessions', { email: world.customer.email, password })
      expect([answer.statusCode, client.cookie]).toEqual([400, undefined])
    }
  })
})

/** The keys of what is asked of MongoDB from now on. */
function watchCommands(): { name: string; keys: string[] }[] {
  const sent: { name: string; keys: string[] }[] = []
  fleet.mongo.connection.getClient().on('commandStarted', ({ commandName, command }) => {
    const filter = (command as mongoose.mongo.Document).filter ?? command.query ?? {}
    sent.push({ name: commandName, keys: [...keysOf(filter)] })
  })
  return sent
}

function* keysOf(value: unknown): Generator<string> {
  if (typeof value !== 'object' || value === null) return
  for (const [key, inner] of Object.entries(value)) {
    yield key
    yield* keysOf(inner)
  }
}
