import { describe, expect, test } from 'vitest'
import { userModel } from '../../apps/data/users.ts'
import { Client, fleetForFile, newEmail, signUp } from '../support/api.ts'

const fleet = fleetForFile({}, 3)

const account = (email = newEmail()) => ({ email, password: 'correct horse', name: 'Ada Lovelace' })

describe('signing up', () => {
  test('makes a user and begins a session that every replica honours', async () => {
    const client = new Client(fleet)
    const asked = account()
    const answer = await client.post('/api/users', { ...asked, email: asked.email.toUpperCase() })
    expect(answer.statusCode).toBe(201)
    expect(answer.headers).toMatchObject({ location: '/api/users/me', 'cache-control': 'no-store' })
    const user = answer.json()
    expect(user).toEqual({
      id: expect.any(String),
      email: asked.email,
      name: asked.name,
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    })
    for (const replica of [0, 1, 2]) {
      const me = await client.call('/api/users/me', {}, replica)
      expect([me.statusCode, me.json()]).toEqual([200, user])
      expect(me.headers).toMatchObject({ 'cache-control': 'no-store', 'x-served-by': `app-${replica + 1}` })
      expect(me.headers['x-read-from']).toMatch(/^(primary|secondary) mongo-[123]$/)
    }
  })

  test('keeps the password as a hash only', async () => {
    const { id } = await signUp(fleet)
    const stored = await userModel(fleet.mongo.connection).findById(id).lean()
    expect(stored?.passwordHash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
    expect(JSON.stringify(stored)).not.toContain('correct horse')
  })

  test('with an e-mail that is taken is refused, however it is written', async () => {
    const { email } = await signUp(fleet)
    const client = new Client(fleet)
    for (const taken of [email, email.toUpperCase()]) {
      const answer = await client.post('/api/users', account(taken))
      expect(answer.statusCode).toBe(409)
      expect(answer.json()).toMatchObject({ code: 'conflict', errors: [{ pointer: '#/email', detail: 'is taken' }] })
    }
    expect(client.cookie).toBeUndefined()
  })

  test('with one e-mail twenty times at once, over all replicas, makes one account', async () => {
    const email = newEmail()
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => new Client(fleet).post('/api/users', account(email), {}, index)),
    )
    expect(answers.map(({ statusCode }) => statusCode).sort()).toEqual([201, ...Array(19).fill(409)])
    expect(await userModel(fleet.mongo.connection).countDocuments({ email })).toBe(1)
  })

  test('tried again by Nginx at another replica gives the same user and one session', async () => {
    const asked = account()
    const headers = { 'x-request-id': '0123456789abcdef0123456789abcdef' }
    const first = await new Client(fleet).post('/api/users', asked, headers, 0)
    const client = new Client(fleet)
    const again = await client.post('/api/users', asked, headers, 1)
    expect([again.statusCode, again.body]).toEqual([201, first.body])
    expect(again.headers['x-request-id']).toBe(headers['x-request-id'])
    expect((await client.call('/api/sessions')).json().items).toHaveLength(1)
  })
})

test('nobody is anybody without a session', async () => {
  const answer = await new Client(fleet).call('/api/users/me')
  expect([answer.statusCode, answer.json().code]).toEqual([401, 'unauthenticated'])
  expect(answer.headers['set-cookie']).toBeUndefined()
})
