import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { ensureSecrets } from '../../infra/secrets.ts'

let dir: string

beforeEach(() => {
  const parent = mkdtempSync(join(tmpdir(), 'brigade-secrets-'))
  onTestFinished(() => rmSync(parent, { recursive: true }))
  dir = join(parent, 'secrets')
})

const read = (file: string) => readFileSync(join(dir, file), 'utf8')
const everything = () => Object.fromEntries(readdirSync(dir).map((file) => [file, read(file)]))

test('are made once, each for its owner alone', () => {
  expect(ensureSecrets(dir, {})).toEqual([])
  const first = everything()
  expect(Object.keys(first).sort()).toEqual([
    'demo-password',
    'mongo-keyfile',
    'mongo-password',
    'mongo-root-password',
    'redis-password',
    'session-secret',
  ])
  expect(new Set(Object.values(first)).size).toBe(6)
  for (const file of Object.keys(first)) expect(statSync(join(dir, file)).mode & 0o777).toBe(0o600)
  expect(ensureSecrets(dir, {})).toEqual([])
  expect(everything()).toEqual(first)
})

test('one that got lost is made anew, and no other', () => {
  ensureSecrets(dir, {})
  const first = everything()
  rmSync(join(dir, 'redis-password'))
  ensureSecrets(dir, {})
  const { 'redis-password': before, ...othersBefore } = first
  const { 'redis-password': after, ...others } = everything()
  expect(others).toEqual(othersBefore)
  expect(after).not.toBe(before)
})

test('a value of the environment takes the place of a generated one, and stays', () => {
  ensureSecrets(dir, {})
  const path = join(dir, '..', 'given')
  writeFileSync(path, `${'f'.repeat(40)}\n`)
  expect(ensureSecrets(dir, { REDIS_PASSWORD: 'open sesame', SESSION_SECRET_FILE: path, MONGO_PASSWORD: '' })).toEqual(
    [],
  )
  expect(read('redis-password')).toBe('open sesame\n')
  expect(read('session-secret')).toBe(`${'f'.repeat(40)}\n`)
  ensureSecrets(dir, {})
  expect(read('redis-password')).toBe('open sesame\n')
})

test('every value that cannot be used is named, and nothing is written', () => {
  const problems = ensureSecrets(dir, {
    SESSION_SECRET: 'short',
    REDIS_PASSWORD: 'two\nlines, of which one',
    MONGO_KEYFILE_CONTENT: 'not base64!',
    MONGO_PASSWORD_FILE: '/nowhere',
  })
  expect(problems).toHaveLength(4)
  for (const name of ['SESSION_SECRET', 'REDIS_PASSWORD', 'MONGO_KEYFILE_CONTENT', 'MONGO_PASSWORD_FILE']) {
    expect(problems.join('\n')).toContain(name)
  }
  expect(() => readdirSync(dir)).toThrow()
})

test('the root password of existing data is not written over', () => {
  ensureSecrets(dir, { MONGO_ROOT_PASSWORD: 'the first one' })
  expect(ensureSecrets(dir, { MONGO_ROOT_PASSWORD: 'the first one' })).toEqual([])
  expect(ensureSecrets(dir, { MONGO_ROOT_PASSWORD: 'another one' })).toEqual([
    expect.stringContaining('MONGO_ROOT_PASSWORD differs'),
  ])
  expect(read('mongo-root-password')).toBe('the first one\n')
})

test('the command makes them too', () => {
  const script = join(import.meta.dirname, '../../infra/secrets.ts')
  execFileSync(process.execPath, [script, dir], { env: { DEMO_PASSWORD: 'let me in' } })
  expect(readdirSync(dir)).toHaveLength(6)
  expect(read('demo-password')).toBe('let me in\n')
  expect(() => execFileSync(process.execPath, [script], { stdio: 'pipe' })).toThrow('Usage')
})
