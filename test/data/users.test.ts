import { expect, test } from 'vitest'
import { createUsers, type Users, userModel } from '../../apps/data/users.ts'
import { benchForFile, explain } from '../support/commands.ts'

const bench = benchForFile()
const store = (): Users => createUsers(bench.mongo.connection, bench.consistency)
let numbers = 0
const newEmail = () => `ada${numbers++}@example.com`
const account = (email = newEmail()) => ({ email, name: 'Ada Lovelace', passwordHash: '$argon2id$hash' })

test('what was written is read again, field by field, by both freshnesses', async () => {
  const began = Date.now()
  const email = newEmail()
  const user = await store().create(account(` ${email.toUpperCase()} `), 'key-1')
  expect(user).toEqual({
    id: expect.stringMatching(/^[0-9a-f]{24}$/),
    email,
    name: 'Ada Lovelace',
    createdAt: expect.any(Date),
  })
  expect(user.createdAt.getTime()).toBeGreaterThanOrEqual(began)
  expect(await store().find(user.id, 'latest')).toEqual(user)
  await expect.poll(() => store().find(user.id, 'any')).toEqual(user)
  expect(await store().findForLogin(`${email.toUpperCase()} `)).toEqual({ user, passwordHash: '$argon2id$hash' })
  expect(await userModel(bench.mongo.connection).findById(user.id).lean()).toMatchObject({ creationKey: 'key-1' })
})

test('nobody is found by an id or an e-mail that nobody has', async () => {
  expect(await store().find('0123456789abcdef01234567', 'latest')).toBeNull()
  expect(await store().findForLogin('nobody@example.com')).toBeNull()
})

test('an e-mail belongs to one of twenty who want it at once', async () => {
  const email = newEmail()
  const tries = Array.from({ length: 20 }, (_, index) => store().create(account(email), `key-${index}`))
  const results = await Promise.allSettled(tries)
  const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
  expect(refused).toHaveLength(19)
  for (const error of refused) {
    expect(error).toMatchObject({ code: 'conflict', errors: [{ pointer: '#/email', detail: 'is taken' }] })
  }
  expect(await userModel(bench.mongo.connection).countDocuments({ email })).toBe(1)
})

test('a sign-up that is tried again gives the same user', async () => {
  const email = newEmail()
  const tries = await Promise.all(Array.from({ length: 10 }, () => store().create(account(email), 'the same')))
  expect(new Set(tries.map(({ id }) => id)).size).toBe(1)
})

test('every query finds its user by an index', async () => {
  const { id, email } = await store().create(account(), 'key')
  await store().create(account(email), 'key')
  await store().findForLogin(email)
  await store().find(id, 'latest')
  const queries = bench.sent.filter(({ name }) => name === 'find')
  const plans = await Promise.all(queries.map((query) => explain(bench, query)))
  expect(plans.map(({ indexes, examined }) => [indexes, examined])).toEqual([
    [['email_1'], 1],
    [['email_1'], 1],
    [[], 1],
  ])
  expect(plans[2]?.stages).toContain('IDHACK')
})
