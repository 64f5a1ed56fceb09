import { randomUUID } from 'node:crypto'
import type { LightMyRequestResponse } from 'fastify'
import { describe, expect, inject, onTestFinished, test } from 'vitest'
import { orderModel } from '../../apps/data/orders.ts'
import { connectRedis, redisReady } from '../../apps/data/redis.ts'
import { userModel } from '../../apps/data/users.ts'
import {
  Client,
  type Fleet,
  fleetForTest,
  newEmail,
  openRedis,
  openRestaurant,
  orderOf,
  type Restaurant,
  redisOptions,
  signUp,
  type User,
} from '../support/api.ts'
import { level } from '../support/commands.ts'
import { hostsByRole, withMember } from '../support/members.ts'
import { waitFor } from '../support/servers.ts'
import { startValve } from '../support/valve.ts'

interface Scene {
  fleet: Fleet
  user: User
  restaurant: Restaurant
  orderId: string
}

async function setScene(...args: Parameters<typeof fleetForTest>): Promise<Scene> {
  const fleet = await fleetForTest(...args)
  const user = await signUp(fleet)
  const restaurant = await openRestaurant(user)
  const orderId = (await user.post('/api/orders', orderOf(restaurant))).json().id
  await waitFor('secondaries to serve both replicas, also for the user', 10_000, async () => {
    const answers = await Promise.all(
      [0, 1].flatMap((replica) => [
        user.call('/api/orders?limit=20', {}, replica),
        // By distance, since no replica keeps such a list: one that is kept does not tell who can serve it.
        new Client(fleet).call(`/api/restaurants?near=-73.9855,40.758&q=${restaurant.name}`, {}, replica),
      ]),
    )
    return answers.every(
      ({ headers, body }) => /^secondary/.test(String(headers['x-read-from'])) && body.includes(restaurant.id),
    )
  })
  return { fleet, user, restaurant, orderId }
}

/** What shows public data, to strangers and to whoever brings a session. */
const publicReads = ({ fleet, user, restaurant }: Scene) =>
  [new Client(fleet), user].flatMap((client) =>
    ['/api/restaurants', '/api/restaurants?near=-73.9855,40.758', `/api/restaurants/${restaurant.id}`].map(
      (path) => () => client.call(path),
    ),
  )

/** Everything that cannot be done without knowing whose session it is. */
const privateRequests = ({ user, restaurant, orderId }: Scene) => [
  () => user.call('/api/users/me'),
  () => user.call('/api/sessions'),
  () => user.call('/api/sessions/current', { method: 'DELETE' }),
  () => user.call(`/api/sessions/${restaurant.id}`, { method: 'DELETE' }),
  () => user.call('/api/orders'),
  () => user.call(`/api/orders/${orderId}`),
  () => user.post('/api/orders', orderOf(restaurant)),
  () => user.call(`/api/orders/${orderId}/cancellation`, { method: 'PUT' }),
  () => user.call(`/api/orders/${orderId}/status`, { method: 'PUT', body: { status: 'accepted' } }),
  () => user.call(`/api/restaurants/${restaurant.id}/orders`),
  () => user.call(`/api/restaurants/${restaurant.id}`, { method: 'PATCH', body: { name: 'x' } }),
  () => user.call(`/api/restaurants/${restaurant.id}/menu`, { method: 'PUT', body: { menu: [] } }),
]

async function allAnswer(status: number, requests: (() => Promise<LightMyRequestResponse>)[]) {
  const answers = await Promise.all(requests.map((request) => request()))
  expect(answers.map(({ statusCode }) => statusCode)).toEqual(answers.map(() => status))
  return answers
}

describe('without Redis', () => {
  test.each(['lost', 'frozen'])(
    'public reads are answered, what needs a session waits, and nobody is logged out: %s',
    async (how) => {
      const valve = await startValve(inject('servers').redisPort)
      const open = async () => {
        const redis = connectRedis({ ...redisOptions(), url: `redis://127.0.0.1:${valve.port}`, commandTimeoutMs: 300 })
        await redisReady(redis, 5_000)
        return redis
      }
      const scene = await setScene({}, 2, open)
      const { user, fleet } = scene
      const cookie = user.cookie
      if (how === 'lost') fleet.redis.disconnect()
      else valve.shut()

      for (const { headers } of await allAnswer(200, publicReads(scene))) {
        expect(headers['set-cookie']).toBeUndefined()
        expect(headers['x-read-from']).toMatch(/^(cache|(primary|secondary) mongo-[123])$/)
      }
      // What this user has written or seen cannot be known now, so that only the primary will do.
      const { headers } = await user.call('/api/restaurants')
      expect(headers['x-read-from']).toMatch(/^primary /)
      for (const { headers } of await allAnswer(503, privateRequests(scene)))
        expect(headers['set-cookie']).toBeUndefined()
      const email = newEmail()
      const account = { email, password: 'correct horse', name: 'Ada' }
      await allAnswer(503, [
        () => user.post('/api/sessions', { email: user.email, password: account.password }),
        () => new Client(fleet).post('/api/sessions', { email: user.email, password: account.password }),
        () => new Client(fleet).post('/api/users', account),
      ])
      expect((await new Client(fleet).call('/api/users/me')).statusCode).toBe(401)
      expect((await new Client(fleet).call('/readyz')).json()).toMatchObject({ status: 'ok' })
      // Nobody could have been told that it is theirs.
      expect(await userModel(fleet.mongo.connection).countDocuments({ email })).toBe(0)

      if (how === 'lost') await fleet.redis.connect()
      else valve.open()
      await expect.poll(async () => (await user.call('/api/users/me')).statusCode, { timeout: 10_000 }).toBe(200)
      expect(user.cookie).toBe(cookie)
      expect((await user.call(`/api/orders/${scene.orderId}`)).json().status).toBe('pending')
      expect((await new Client(fleet).post('/api/users', account)).statusCode).toBe(201)
    },
  )
})

test('with a Redis that takes no writes, no password is looked at and no account made that nobody could be logged in to', async () => {
  const admin = await openRedis()
  const [user, password] = [`user-${randomUUID()}`, randomUUID()]
  const permit = (...rules: string[]) => admin.call('ACL', 'SETUSER', user, ...rules)
  await permit('on', `>${password}`, '~*', '&*', '+@all')
  onTestFinished(async () => {
    await admin.call('ACL', 'DELUSER', user)
    admin.disconnect()
  })
  const fleet = await fleetForTest({}, 1, async () => {
    const { url, commandTimeoutMs } = redisOptions()
    const redis = connectRedis({ url: url.replace('//', `//${user}:${password}@`), commandTimeoutMs })
    await redisReady(redis, 5_000)
    return redis
  })
  const { email } = await signUp(fleet)
  await permit('-@write')
  const account = { email: newEmail(), password: 'correct horse', name: 'Ada' }
  await allAnswer(503, [
    () => new Client(fleet).post('/api/sessions', { email, password: account.password }),
    () => new Client(fleet).post('/api/sessions', { email, password: 'a guess' }),
    () => new Client(fleet).post('/api/users', account),
  ])
  expect(await userModel(fleet.mongo.connection).countDocuments({ email: account.email })).toBe(0)
  await permit('+@all')
  expect((await new Client(fleet).post('/api/sessions', { email, password: 'a guess' })).statusCode).toBe(401)
  expect((await new Client(fleet).post('/api/users', account)).statusCode).toBe(201)
})

describe('a replica that Nginx allows to pass on', () => {
  const passOn = { 'x-pass-on': '1' }

  test('does so with what it alone cannot do, and with nothing else', async () => {
    const valve = await startValve(inject('servers').redisPort)
    const open = async () => {
      const redis = connectRedis({ ...redisOptions(), url: `redis://127.0.0.1:${valve.port}`, commandTimeoutMs: 300 })
      await redisReady(redis, 5_000)
      return redis
    }
    const scene = await setScene({}, 2, open)
    const { fleet, user } = scene
    const me = (headers: Record<string, string>) => user.call('/api/users/me', { headers })
    expect((await me(passOn)).headers).not.toHaveProperty('x-accel-redirect')
    expect((await new Client(fleet).call('/api/users/me', { headers: passOn })).headers).not.toHaveProperty(
      'x-accel-redirect',
    )
    fleet.redis.disconnect()
    const answer = await me(passOn)
    expect(answer.statusCode).toBe(503)
    expect(answer.headers).toMatchObject({ 'x-accel-redirect': '@elsewhere', 'retry-after': '1' })
    expect((await me({})).headers).not.toHaveProperty('x-accel-redirect')
    for (const read of publicReads(scene)) expect((await read()).statusCode).toBe(200)
    await fleet.redis.connect()
  })
})

describe('without a primary', () => {
  test('reads go on, writes wait or are refused, and the same key settles what became of them', async () => {
    const scene = await setScene()
    const { fleet, user, restaurant } = scene
    const headers = { 'idempotency-key': 'through-the-election' }
    const order = () => user.post('/api/orders', orderOf(restaurant), headers)
    const { primary, secondaries } = await hostsByRole()
    // Nobody stands for election until they thaw.
    const freezeFor = (seconds: number) =>
      Promise.all(secondaries.map((host) => withMember(host, (admin) => admin.command({ replSetFreeze: seconds }))))
    await freezeFor(60)
    onTestFinished(async () => {
      // One that was elected meanwhile needs no thaw.
      await freezeFor(0).catch(() => {})
      await level(fleet.mongo)
    })
    await withMember(primary, (admin) =>
      admin.command({ replSetStepDown: 60, secondaryCatchUpPeriodSecs: 0, force: true }),
    )
    await waitFor('the primary to be gone', 10_000, async () => fleet.mongo.members.primary() === undefined)

    await allAnswer(200, publicReads(scene))
    for (const { headers: seen } of await allAnswer(200, publicReads(scene))) {
      expect(seen['x-read-from']).toMatch(/^(cache|secondary mongo-[123])$/)
    }
    const waiting = [order(), order()]
    await freezeFor(0)
    for (const { statusCode } of await Promise.all(waiting)) expect([201, 503]).toContain(statusCode)
    await expect.poll(async () => (await order()).statusCode, { timeout: 20_000 }).toBe(201)
    expect(await orderModel(fleet.mongo.connection).countDocuments({ userId: user.id })).toBe(2)
  })
})
