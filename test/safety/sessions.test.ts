import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { buildApp } from '../../apps/api/app.ts'
import { createLogger } from '../../apps/api/logger.ts'
import { routesOf } from '../../loadtest/chaos/document.ts'
import { Client, fleetForFile, fleetForTest, signUp, type User } from '../support/api.ts'
import { logIn, password } from './routes.ts'

const fleet = fleetForFile({}, 3)
const replicas = [0, 1, 2]

/** What each route that needs a session answers to this cookie, on every replica. */
async function answersTo(cookie: string): Promise<number[]> {
  const private_ = routesOf(fleet.document).filter(({ operation, method }) => operation.security && method === 'GET')
  const asked = private_.flatMap(({ path }) =>
    replicas.map((replica) =>
      new Client(fleet).call(path.replace('{id}', 'f'.repeat(24)), { headers: { cookie } }, replica),
    ),
  )
  return (await Promise.all(asked)).map(({ statusCode }) => statusCode)
}

const accepted = async (cookie: string) => (await answersTo(cookie)).filter((status) => status !== 401)

async function isAlive({ cookie = '' }: Client): Promise<boolean> {
  const statuses = await answersTo(cookie)
  return statuses.length > replicas.length && !statuses.includes(401)
}

describe('a session id', () => {
  test('that was planted before a log-in or a sign-up opens nothing after it', async () => {
    const attacker = await signUp(fleet)
    const planted = attacker.cookie ?? ''
    const victim = await signUp(fleet)
    const browser = new Client(fleet)
    browser.cookie = planted
    const answer = await browser.post('/api/sessions', { email: victim.email, password }, {}, 1)
    expect(answer.statusCode).toBe(201)
    expect(browser.cookie).not.toBe(planted)
    expect(await accepted(planted)).toEqual([])
    expect(await isAlive(browser)).toBe(true)

    const [second, newcomer] = [await signUp(fleet), new Client(fleet)]
    newcomer.cookie = second.cookie
    const body = { email: `${randomBytes(8).toString('hex')}@example.com`, password, name: 'Ada' }
    expect((await newcomer.post('/api/users', body)).statusCode).toBe(201)
    expect(newcomer.cookie).not.toBe(second.cookie)
    expect(await accepted(second.cookie ?? '')).toEqual([])
  })

  test('is never given out to somebody who is not logged in', async () => {
    for (const { path, method, operation } of routesOf(fleet.document)) {
      if (method !== 'GET') continue
      const { headers, statusCode } = await new Client(fleet).call(path.replace('{id}', 'f'.repeat(24)))
      expect([path, statusCode, headers['set-cookie']]).toEqual([
        path,
        operation.security ? 401 : path.includes('{') ? 404 : 200,
        undefined,
      ])
    }
  })

  test.each<[string, (thief: string, user: User) => Promise<unknown>]>([
    ['its user has logged out', (_cookie, user) => user.call('/api/sessions/current', { method: 'DELETE' }, 1)],
    [
      'its user has revoked it from elsewhere',
      async (_cookie, user) => {
        const { client } = await logIn(fleet, user)
        const { items } = (await client.call('/api/sessions')).json()
        const { id } = items.find(({ current }: { current: boolean }) => !current)
        await client.call(`/api/sessions/${id}`, { method: 'DELETE' }, 2)
      },
    ],
    [
      'its user has logged in again with it',
      (_cookie, user) => user.post('/api/sessions', { email: user.email, password }, {}, 1),
    ],
  ])('that was stolen opens nothing after %s', async (_what, end) => {
    const user = await signUp(fleet)
    const stolen = user.cookie ?? ''
    expect(await isAlive(user)).toBe(true)
    await end(stolen, user)
    expect(await accepted(stolen)).toEqual([])
    // Nor is it brought back by being used.
    expect(await accepted(stolen)).toEqual([])
  })

  test('with flipped bits opens nothing: a thousand of them, on every replica', { timeout: 120_000 }, async () => {
    const user = await signUp(fleet)
    const value = Buffer.from(decodeURIComponent((user.cookie ?? '').slice('sid='.length)))
    const bits = value.length * 8
    const flipped = Array.from({ length: 1_000 }, (_, index) => {
      const copy = Buffer.from(value)
      // Each bit alone, then each with another.
      const chosen = index < bits ? [index] : [index - bits, (index * 37 + 11) % bits]
      for (const bit of chosen) copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      return copy.toString('latin1')
    })
    const genuine = value.toString('latin1')
    expect(new Set(flipped).size).toBeGreaterThan(900)
    const wrong: string[] = []
    for (const text of flipped.filter((each) => each !== genuine)) {
      for (const cookie of new Set([`sid=${encodeURIComponent(text)}`, `sid=${text.replace(/[^\x21-\x7e]|;/g, '')}`])) {
        const calls = replicas.map((replica) =>
          new Client(fleet).call('/api/users/me', { headers: { cookie } }, replica),
        )
        for (const { statusCode } of await Promise.all(calls)) if (statusCode !== 401) wrong.push(cookie)
      }
    }
    expect(wrong).toEqual([])
    expect(await isAlive(user)).toBe(true)
  })
})

test('no line of the log has what opens a session, or seals a causal token', async () => {
  const logged = await fleetForTest({}, 1)
  let text = ''
  const stream = {
    write: (line: string) => {
      text += line
    },
  }
  const { mongo, redis, config } = logged
  await logged.replicas.pop()?.server.close()
  const logger = createLogger({ level: 'trace', name: 'app-1', stream })
  logged.replicas.push(await buildApp({ mongo, redis, config, name: 'app-1', version: '0', logger }))

  const user = await signUp(logged)
  const tokens = new Set<string>()
  const cookies = [user.cookie ?? '']
  for (const { path, method } of routesOf(logged.document)) {
    const headers = { ...(tokens.size > 0 ? { 'causal-token': [...tokens].at(-1) ?? '' } : {}) }
    const url = `${path.replace('{id}', 'f'.repeat(24))}?sid=${encodeURIComponent(cookies[0] ?? '')}`
    if (path === '/api/sessions/current') continue
    const answer = await user.call(url, { method, headers, ...(method === 'GET' ? {} : { body: {} }) })
    if (answer.headers['causal-token']) tokens.add(String(answer.headers['causal-token']))
  }
  await user.post('/api/sessions', { email: user.email, password })
  cookies.push(user.cookie ?? '', `${user.cookie}x`)
  await new Client(logged).call('/api/users/me', { headers: { cookie: cookies[2] ?? '' } })
  await user.call('/api/sessions/current', { method: 'DELETE' })
  expect(tokens.size).toBeGreaterThan(0)
  expect(text.split('\n').length).toBeGreaterThan(15)
  const secrets = cookies.flatMap((cookie) => {
    const [, secret = '', signature = ''] = decodeURIComponent(cookie.slice('sid='.length)).split('.')
    return [secret, signature]
  })
  for (const secret of [...secrets, ...tokens, config.SESSION_SECRET, password, user.email]) {
    expect(secret.length).toBeGreaterThan(8)
    expect([secret, text.includes(secret)]).toEqual([secret, false])
  }
})
