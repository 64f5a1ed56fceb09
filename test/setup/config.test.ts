import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { SettingsError } from '../../apps/data/settings.ts'
import { parseMongoUrl, readImportConfig, readSetupConfig } from '../../apps/setup/config.ts'

const good = { MONGO_PASSWORD: 'a', MONGO_ROOT_PASSWORD: 'b', DEMO_PASSWORD: 'long enough' }

function problemsOf(env: NodeJS.ProcessEnv): string[] {
  try {
    readSetupConfig(env)
  } catch (error) {
    return (error as SettingsError).problems
  }
  return []
}

test('the defaults fit a set on this machine', () => {
  expect(readSetupConfig(good)).toEqual({
    mongo: {
      url: 'mongodb://127.0.0.1:27017/brigade?replicaSet=brigade',
      hosts: ['127.0.0.1:27017'],
      database: 'brigade',
      name: 'brigade',
    },
    user: { user: 'brigade', password: 'a' },
    root: { user: 'root', password: 'b' },
    demoPassword: 'long enough',
    waitMs: 60_000,
  })
  expect(readSetupConfig({ ...good, DEMO_PASSWORD: '', SAMPLE_DATA: 'false' }).demoPassword).toBeUndefined()
})

test('all problems are named at once, and no secret is', () => {
  expect(problemsOf({ SAMPLE_DATA: 'yes', SETUP_WAIT_SECONDS: '1.5', MONGO_URL: 'mongodb://u:hunter2@h/d' })).toEqual([
    'MONGO_URL must not hold a user or password: set MONGO_USER and MONGO_PASSWORD',
    'MONGO_PASSWORD is not set, and neither is MONGO_PASSWORD_FILE',
    'MONGO_ROOT_PASSWORD is not set, and neither is MONGO_ROOT_PASSWORD_FILE',
    'SAMPLE_DATA must be true or false, not "yes"',
    'SETUP_WAIT_SECONDS must be a whole number from 1 to 3600, not "1.5"',
  ])
  expect(problemsOf({ ...good, DEMO_PASSWORD: 'short' })).toEqual(['DEMO_PASSWORD must have 8 to 128 characters'])
  expect(problemsOf({ ...good, MONGO_USER: 'root' })).toEqual(['MONGO_USER and MONGO_ROOT_USER are the same user'])
})

test('a password may lie in a file; one in the environment wins', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'brigade-config-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  const file = join(dir, 'password')
  await writeFile(file, 'from file\n')
  await writeFile(join(dir, 'empty'), '\n')
  expect(readImportConfig({ MONGO_PASSWORD_FILE: file }).user.password).toBe('from file')
  expect(readImportConfig({ MONGO_PASSWORD_FILE: file, MONGO_PASSWORD: 'x' }).user.password).toBe('x')
  expect(() => readImportConfig({ MONGO_PASSWORD_FILE: join(dir, 'empty') })).toThrow('empty is empty')
  expect(() => readImportConfig({ MONGO_PASSWORD_FILE: join(dir, 'none') })).toThrow('ENOENT')
})

test('a URL names members, database and set', () => {
  expect(parseMongoUrl('mongodb://mongo-1,mongo-2:2,[::1]:3,[::2]/shop?retryWrites=true&replicaSet=rs')).toMatchObject({
    hosts: ['mongo-1:27017', 'mongo-2:2', '[::1]:3', '[::2]:27017'],
    database: 'shop',
    name: 'rs',
  })
})

test.each([
  'mongodb://h:1/brigade',
  'mongodb://h:1/?replicaSet=brigade',
  'mongodb://h:1',
  'mongodb+srv://h/brigade?replicaSet=brigade',
  'mongodb://h:70000/brigade?replicaSet=brigade',
  'mongodb://h:0/brigade?replicaSet=brigade',
  'mongodb://h,h:27017/brigade?replicaSet=brigade',
  'mongodb://h,,i/brigade?replicaSet=brigade',
  'http://h/brigade?replicaSet=brigade',
  'x',
])('%s is none', (url) => {
  expect(problemsOf({ ...good, MONGO_URL: url })).toEqual([expect.stringMatching(/^MONGO_URL (must|names)/)])
})
