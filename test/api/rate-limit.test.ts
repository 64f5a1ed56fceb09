import { describe, expect, test } from 'vitest'
import { Client, fleetForFile, fleetForTest, newEmail, signUp } from '../support/api.ts'

const max = 5
const maxLogins = 2
// Whoever may log in has made some requests already, so each limit has its own fleet.
const fleet = fleetForFile({ RATE_LIMIT_MAX: String(max) }, 3)
const loginFleet = fleetForFile({ LOGIN_LIMIT_MAX: String(maxLogins) }, 3)

/** The statuses of as many requests, one after the other, each to the next replica. */
async function statusesOf(count: number, ask: (index: number) => ReturnType<Client['call']>): Promise<number[]> {
  const statuses: number[] = []
  for (let index = 0; index < count; index++) statuses.push((await ask(index)).statusCode)
  return statuses
}

const times = (count: number, status: number): number[] => Array(count).fill(status)

describe('the limit of requests', () => {
  test('is shared by all replicas and told with every answer', async () => {
    const client = new Client(fleet)
    for (let index = 0; index < max; index++) {
      const { statusCode, headers } = await client.call('/api/restaurants', {}, index)
      expect(statusCode).toBe(200)
      const left = max - 1 - index
      expect(headers).toMatchObject({
        'ratelimit-limit': String(max),
        'ratelimit-remaining': String(left),
        'ratelimit-policy': `"default";q=${max};w=900`,
      })
      expect(headers.ratelimit).toMatch(new RegExp(`^"default";r=${left};t=\\d+$`))
    }
    for (const replica of [0, 1, 2]) {
      const { statusCode, headers, body } = await client.call('/api/restaurants', {}, replica)
      expect([statusCode, JSON.parse(body).code]).toEqual([429, 'rate_limited'])
      expect(Number(headers['retry-after'])).toBeGreaterThan(800)
      expect(headers['ratelimit-remaining']).toBe('0')
      expect(headers.ratelimit).toMatch(/^"default";r=0;t=\d+$/)
    }
  })

  test.each<[string, (client: Client, index: number) => ReturnType<Client['call']>, number]>([
    ['that are refused for want of a session', (client, index) => client.call('/api/orders', {}, index), 401],
    [
      'from another site',
      (client, index) => client.post('/api/orders', {}, { 'sec-fetch-site': 'cross-site' }, index),
      403,
    ],
    ['to paths that lead nowhere', (client, index) => client.call(`/api/${index}`, {}, index), 404],
    ['by methods that are not taken', (client, index) => client.call('/api/orders', { method: 'DELETE' }, index), 405],
    ['without sense', (client, index) => client.call('/api/restaurants?limit=0', {}, index), 400],
    [
      'of a type that is not taken',
      (client, index) => client.post('/api/users', 'x', { 'content-type': 'text/plain' }, index),
      415,
    ],
  ])('counts requests %s', async (_what, ask, status) => {
    const client = new Client(fleet)
    expect(await statusesOf(max + 2, (index) => ask(client, index))).toEqual([...times(max, status), 429, 429])
  })

  test('is each client’s own', async () => {
    const [ada, bob] = [new Client(fleet), new Client(fleet)]
    expect(await statusesOf(max + 1, () => ada.call('/api/restaurants'))).toEqual([...times(max, 200), 429])
    expect((await bob.call('/api/restaurants')).statusCode).toBe(200)
  })

  test('is for /api alone', async () => {
    const client = new Client(fleet)
    expect(new Set(await statusesOf(max + 3, () => client.call('/docs')))).toEqual(new Set([200]))
    expect(new Set(await statusesOf(max + 3, () => client.call('/readyz')))).toEqual(new Set([200]))
    expect((await client.call('/readyz')).headers['ratelimit-limit']).toBeUndefined()
  })

  test('starts anew when its window is over', async () => {
    const client = new Client(await fleetForTest({ RATE_LIMIT_MAX: '1', RATE_LIMIT_WINDOW_SECONDS: '1' }, 1))
    await expect
      .poll(async () => (await client.call('/api/restaurants')).statusCode, { interval: 0, timeout: 10_000 })
      .toBe(429)
    await expect.poll(async () => (await client.call('/api/restaurants')).statusCode, { timeout: 10_000 }).toBe(200)
  })
})

describe('the address of a client', () => {
  const forged = (index: number) => ({
    'x-forwarded-for': `192.0.2.${index}`,
    'x-real-ip': `192.0.2.${index}`,
    forwarded: `for=192.0.2.${index}`,
  })

  test('is what a trusted proxy says', async () => {
    const client = Object.assign(new Client(fleet), { address: '127.0.0.1' })
    const from = (address: string) => () => client.call('/api/restaurants', { headers: { 'x-forwarded-for': address } })
    const { address } = new Client(fleet)
    expect(await statusesOf(max + 1, from(address))).toEqual([...times(max, 200), 429])
    expect(await statusesOf(1, from(new Client(fleet).address))).toEqual([200])
  })

  test('cannot be forged by somebody else, nor in front of what the proxy says', async () => {
    const client = new Client(fleet)
    const statuses = await statusesOf(max + 1, (index) => client.call('/api/restaurants', { headers: forged(index) }))
    expect(statuses).toEqual([...times(max, 200), 429])
    const proxied = Object.assign(new Client(fleet), { address: '127.0.0.1' })
    const { address } = new Client(fleet)
    const appended = await statusesOf(max + 1, (index) =>
      proxied.call('/api/restaurants', { headers: { 'x-forwarded-for': `192.0.2.${index}, ${address}` } }),
    )
    expect(appended).toEqual([...times(max, 200), 429])
  })

  test('is trusted from the networks that are named, and from no others', async () => {
    const client = new Client(await fleetForTest({ RATE_LIMIT_MAX: String(max), TRUSTED_PROXIES: '10.0.0.0/8' }, 1))
    const statuses = await statusesOf(max + 1, (index) =>
      client.call('/api/restaurants', { headers: { 'x-forwarded-for': `198.51.100.${index}` } }),
    )
    expect(statuses).not.toContain(429)
  })
})

describe('the limit of log-ins', () => {
  const logIn = (client: Client, email: string, password: string, replica = 0) =>
    client.post('/api/sessions', { email, password }, {}, replica)

  test('ends guessing at an account from one address, over all replicas, and lets its user in from elsewhere', async () => {
    const { email } = await signUp(loginFleet)
    const guesser = new Client(loginFleet)
    const guesses = await statusesOf(4, (index) =>
      logIn(guesser, index % 2 ? email.toUpperCase() : email, `guess ${index}`, index),
    )
    expect(guesses).toEqual([...times(maxLogins, 401), 429, 429])
    const right = await logIn(guesser, email, 'correct horse')
    expect([right.statusCode, right.headers['set-cookie']]).toEqual([429, undefined])
    expect(Number(right.headers['retry-after'])).toBeGreaterThan(0)
    expect((await logIn(new Client(loginFleet), email, 'correct horse')).statusCode).toBe(201)
    expect((await guesser.call('/api/restaurants')).statusCode).toBe(200)
  })

  test('is the same for an account that does not exist', async () => {
    const [client, email] = [new Client(loginFleet), newEmail()]
    const statuses = await statusesOf(maxLogins + 1, (index) => logIn(client, email, 'guess', index))
    expect(statuses).toEqual([...times(maxLogins, 401), 429])
  })

  test('ends trying many accounts from one address', async () => {
    const client = new Client(loginFleet)
    const statuses = await statusesOf(5 * maxLogins + 1, (index) => logIn(client, newEmail(), 'guess', index))
    expect(statuses).toEqual([...times(5 * maxLogins, 401), 429])
  })
})

describe('without Redis', () => {
  test('each replica counts for itself, so there is always a limit', async () => {
    const alone = await fleetForTest({ RATE_LIMIT_MAX: String(max), LOGIN_LIMIT_MAX: String(maxLogins) })
    alone.redis.disconnect()
    const client = new Client(alone)
    for (const replica of [0, 1]) {
      const statuses = await statusesOf(max + 1, () => client.call('/api/restaurants', {}, replica))
      expect(statuses).toEqual([...times(max, 200), 429])
    }
    const guesser = new Client(alone)
    const email = newEmail()
    const guess = () => guesser.post('/api/sessions', { email, password: 'guess' }, {}, 1)
    // No password is looked at: no session could begin.
    expect(await statusesOf(maxLogins + 1, guess)).toEqual([...times(maxLogins, 503), 429])
  })
})
