import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { readConfig, secrets, settingFacts } from '../../apps/api/config.ts'
import { SettingsError } from '../../apps/data/settings.ts'

const secret = 'a secret of the tests and of nobody else'

/** Everything that is wrong with an environment. */
function problemsOf(env: NodeJS.ProcessEnv): string[] {
  try {
    readConfig({ SESSION_SECRET: secret, ...env })
    return []
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    return error.problems
  }
}

function fileWith(content: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'brigade-config-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  writeFileSync(join(dir, 'secret'), content)
  return join(dir, 'secret')
}

describe('the settings', () => {
  test('are what was agreed where nothing is set', () => {
    expect(readConfig({ SESSION_SECRET: secret })).toEqual({
      NAME: '',
      HOST: '127.0.0.1',
      PORT: 3000,
      LOG_LEVEL: 'info',
      MONGO_URL: 'mongodb://127.0.0.1:27017/brigade?replicaSet=brigade',
      MONGO_USER: 'brigade',
      MONGO_PASSWORD: '',
      MONGO_MAX_POOL_SIZE: 50,
      MONGO_MIN_POOL_SIZE: 10,
      MONGO_SOCKET_TIMEOUT_MS: 45_000,
      MONGO_SELECTION_TIMEOUT_MS: 5_000,
      MONGO_POOL_WAIT_MS: 2_000,
      MONGO_WRITE_TIMEOUT_MS: 5_000,
      READ_ROUTING: 'causal',
      READ_WAIT_MS: 50,
      READ_MAX_STALENESS_MS: 2_000,
      REDIS_URL: 'redis://127.0.0.1:6379',
      REDIS_PASSWORD: '',
      REDIS_COMMAND_TIMEOUT_MS: 200,
      SESSION_SECRET: secret,
      SESSION_TTL_SECONDS: 604_800,
      TRUSTED_PROXIES: 'loopback',
      RATE_LIMIT_MAX: 100,
      RATE_LIMIT_WINDOW_SECONDS: 900,
      LOGIN_LIMIT_MAX: 10,
      MAX_REQUESTS_IN_FLIGHT: 256,
      BUSY_REQUESTS_IN_FLIGHT: 64,
      BUSY_EVENT_LOOP_DELAY_MS: 50,
      BUSY_RESPONSE_MS: 100,
      BODY_LIMIT_BYTES: 262_144,
      REQUEST_TIMEOUT_MS: 10_000,
      CONNECTION_TIMEOUT_MS: 30_000,
      KEEP_ALIVE_TIMEOUT_MS: 75_000,
      DRAIN_MS: 1_000,
      SHUTDOWN_TIMEOUT_MS: 9_000,
    })
  })

  test('take an empty variable for one that is not set, and leave others alone', () => {
    expect(readConfig({ SESSION_SECRET: secret, PORT: '', PATH: '/bin', RATE_LIMIT_MAX: '7' })).toMatchObject({
      PORT: 3000,
      RATE_LIMIT_MAX: 7,
    })
  })

  test('all say what they mean', () => {
    for (const [name, { description }] of Object.entries(settingFacts))
      expect([name, description]).toEqual([name, expect.stringMatching(/^\S.{10,}$/)])
  })
})

describe('a fault', () => {
  test('does not hide another: all are named at once', () => {
    const problems = problemsOf({
      SESSION_SECRET: '',
      PORT: '0',
      LOG_LEVEL: 'loud',
      MONGO_URL: 'localhost',
      MONGO_MAX_POOL_SIZE: 'many',
      REDIS_PASSWORD_FILE: '/there/is/no/such/file',
      BODY_LIMIT_BYTES: '1.5',
    })
    const names = problems.map((problem) => problem.split(/[ :]/)[0])
    expect(names.sort()).toEqual([
      'BODY_LIMIT_BYTES',
      'LOG_LEVEL',
      'MONGO_MAX_POOL_SIZE',
      'MONGO_URL',
      'PORT',
      'REDIS_PASSWORD_FILE',
      'SESSION_SECRET',
    ])
    for (const problem of problems) expect(problem.length).toBeLessThan(300)
  })

  test.each([
    ['PORT', '-1'],
    ['PORT', '65536'],
    ['PORT', '3000x'],
    ['PORT', '0x10'],
    ['PORT', '1e3'],
    ['PORT', ' 3000'],
    ['MONGO_URL', 'mongodb://user:password@host/brigade'],
    ['MONGO_URL', 'mongodb://host:27017'],
    ['MONGO_URL', 'mongodb://host:27017/?replicaSet=brigade'],
    ['REDIS_URL', 'redis://:password@host:6379'],
    ['REDIS_URL', 'http://host'],
    ['READ_ROUTING', 'nearest'],
    ['READ_WAIT_MS', '0'],
    ['RATE_LIMIT_MAX', '0'],
    ['SESSION_TTL_SECONDS', '0'],
    ['DRAIN_MS', '-1'],
    ['TRUSTED_PROXIES', 'everybody'],
    ['TRUSTED_PROXIES', '10.0.0.0/33'],
    ['TRUSTED_PROXIES', 'loopback,,10.0.0.1'],
    ['TRUSTED_PROXIES', 'true'],
    ['SESSION_SECRET', 'short'],
    ['SESSION_SECRET', `${secret},short`],
  ])('in %s is named: %j', (name, value) => {
    const problems = problemsOf({ [name]: value })
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(name)
    // A secret is not printed, whatever is wrong with it.
    if (name === 'SESSION_SECRET') expect(problems[0]).not.toMatch(/short|nobody/)
  })

  test.each([
    [
      'a smallest pool beyond the largest',
      { MONGO_MIN_POOL_SIZE: '51' },
      ['MONGO_MIN_POOL_SIZE', 'MONGO_MAX_POOL_SIZE'],
    ],
    ['a drain that leaves no time to stop', { DRAIN_MS: '9000' }, ['DRAIN_MS', 'SHUTDOWN_TIMEOUT_MS']],
    [
      'a connection that ends before Nginx expects it',
      { KEEP_ALIVE_TIMEOUT_MS: '60000' },
      ['KEEP_ALIVE_TIMEOUT_MS', 'Nginx'],
    ],
  ])('between settings is named: %s', (_what, env, names) => {
    const problems = problemsOf(env)
    expect(problems).toHaveLength(1)
    for (const name of names) expect(problems[0]).toContain(name)
  })

  test.each(['loopback', 'uniquelocal', 'linklocal,loopback', '10.0.0.0/8, 192.168.1.1', '::1', 'fd00::/8'])(
    'is none of these proxies: %s',
    (value) => expect(problemsOf({ TRUSTED_PROXIES: value })).toEqual([]),
  )
})

test.each([
  ['good', { SESSION_SECRET: secret }, 0, []],
  ['bad', { SESSION_SECRET: 'short', PORT: '0' }, 1, ['SESSION_SECRET', 'PORT']],
] as const)('a program that is only asked to check %s settings starts nothing', (_which, env, status, names) => {
  const main = join(import.meta.dirname, '../../apps/api/main.ts')
  const run = spawnSync(process.execPath, [main, '--check'], { env, encoding: 'utf8', timeout: 20_000 })
  expect([run.status, run.stdout]).toEqual([status, ''])
  for (const name of names) expect(run.stderr).toContain(name)
  if (status === 0) expect(run.stderr).toBe('')
})

describe('a secret', () => {
  test.each(secrets)('may lie in a file: %s', (name) => {
    const value = `${secret} for ${name}`
    expect(readConfig({ SESSION_SECRET_FILE: fileWith(secret), [`${name}_FILE`]: fileWith(`${value}\n`) })[name]).toBe(
      value,
    )
  })

  test('in the environment goes before the one in a file', () => {
    const other = 'another secret that lies in a file only'
    expect(readConfig({ SESSION_SECRET: secret, SESSION_SECRET_FILE: fileWith(other) }).SESSION_SECRET).toBe(secret)
  })

  test('in a file that is too short, or cannot be read, is a fault that names the file’s setting', () => {
    expect(problemsOf({ SESSION_SECRET: '', SESSION_SECRET_FILE: fileWith('short') })).toEqual([
      expect.stringContaining('SESSION_SECRET'),
    ])
    expect(problemsOf({ SESSION_SECRET: '', SESSION_SECRET_FILE: tmpdir() })).toEqual([
      expect.stringMatching(/^SESSION_SECRET_FILE: EISDIR/),
    ])
  })
})
