import { argon2Sync } from 'node:crypto'
import { expect, test } from 'vitest'
import { DomainError } from '../../apps/domain/errors.ts'
import { hashPassword, verifyPassword } from '../../apps/domain/password.ts'

test('a password fits its own hash only', async () => {
  const hash = await hashPassword('correct horse')
  expect(await verifyPassword('correct horse', hash)).toBe(true)
  expect(await verifyPassword('correct horsf', hash)).toBe(false)
  expect(await verifyPassword('', hash)).toBe(false)
})

test('the same password has another hash each time', async () => {
  expect(await hashPassword('correct horse')).not.toBe(await hashPassword('correct horse'))
})

test('a password is the same however its accents were typed', async () => {
  expect(await verifyPassword('caf\u00e9 au lait', await hashPassword('cafe\u0301 au lait'))).toBe(true)
})

test.each([
  ['no hash', undefined],
  ['an empty hash', ''],
  ['a hash of nobody', '!'],
  ['another scheme', '$2b$10$abcdefghijklmnopqrstuv'],
  ['weaker parameters', '$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$dGFn'],
  ['a tag that is too short', '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$dGFn'],
])('no password fits %s', async (_what, stored) => {
  expect(await verifyPassword('correct horse', stored)).toBe(false)
})

test('a hash is a PHC string of what argon2id gives for its own parameters', async () => {
  const [, scheme, version, parameters = '', salt = '', tag] = (await hashPassword('correct horse')).split('$')
  expect([scheme, version, parameters]).toEqual(['argon2id', 'v=19', 'm=19456,t=2,p=1'])
  const expected = argon2Sync('argon2id', {
    message: 'correct horse',
    nonce: Buffer.from(salt, 'base64'),
    memory: 19_456,
    passes: 2,
    parallelism: 1,
    tagLength: 32,
  })
  expect(Buffer.from(salt, 'base64')).toHaveLength(16)
  expect(tag).toBe(expected.toString('base64').replace(/=+$/, ''))
})

test('more hashes than the queue holds are refused, and the queue works on', async () => {
  const results = await Promise.allSettled(Array.from({ length: 100 }, () => verifyPassword('x', undefined)))
  const refused = results.filter((result) => result.status === 'rejected').map(({ reason }) => reason as DomainError)
  expect(refused).toHaveLength(100 - 2 - 64)
  expect(refused.every((error) => error instanceof DomainError && error.code === 'unavailable')).toBe(true)
  expect(refused.every(({ retryAfterSeconds }) => retryAfterSeconds === 1)).toBe(true)
  expect(await verifyPassword('x', undefined)).toBe(false)
})
