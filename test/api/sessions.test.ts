import { request } from 'node:http'
import type { LightMyRequestResponse } from 'fastify'
import { describe, expect, test } from 'vitest'
import { maxSessionsPerUser } from '../../apps/data/sessions.ts'
import {
  Client,
  type Fleet,
  fleetForFile,
  fleetForTest,
  listen,
  newEmail,
  openRedis,
  signUp,
  unknownId,
} from '../support/api.ts'
import { waitFor } from '../support/servers.ts'

const fleet = fleetForFile({}, 3)

const password = 'correct horse'
const logIn = (client: Client, email: string, headers: Record<string, string> = {}, replica = 0) =>
  client.post('/api/sessions', { email, password }, headers, replica)

/** The status that each replica gives to whoever brings this cookie. */
async function statuses(cookie: string | undefined, path = '/api/users/me'): Promise<number[]> {
  const answers = await Promise.all(
    [0, 1, 2].map((replica) => new Client(fleet).call(path, { headers: { cookie: cookie ?? '' } }, replica)),
  )
  return answers.map(({ statusCode }) => statusCode)
}

const setCookies = ({ headers }: LightMyRequestResponse) => [headers['set-cookie'] ?? []].flat()

describe('a log-in', () => {
  test('begins a session that every replica honours', async () => {
    const { id, email } = await signUp(fleet)
    const client = new Client(fleet)
    const answer = await logIn(client, email.toUpperCase(), { 'user-agent': 'Browser/1' })
    expect(answer.statusCode).toBe(201)
    const session = answer.json()
    expect(session).toMatchObject({ device: 'Browser/1', current: true, user: { id, email } })
    expect(answer.headers).toMatchObject({ location: `/api/sessions/${session.id}`, 'cache-control': 'no-store' })
    expect(await statuses(client.cookie)).toEqual([200, 200, 200])
  })

  test('gets a cookie that scripts cannot read and other sites cannot send', async () => {
    const { email } = await signUp(fleet)
    const cookies = setCookies(await logIn(new Client(fleet), email))
    expect(cookies).toHaveLength(1)
    const [value = '', ...attributes] = (cookies[0] ?? '').split('; ')
    expect(value).toMatch(/^sid=[^=]{40,}$/)
    expect(attributes.map((attribute) => attribute.replace(/^Expires=.*/, 'Expires')).sort()).toEqual([
      'Expires',
      'HttpOnly',
      'Path=/',
      'SameSite=Lax',
    ])
    const expires = Date.parse(attributes.find((attribute) => attribute.startsWith('Expires='))?.slice(8) ?? '')
    expect(Math.abs(expires - Date.now() - fleet.config.SESSION_TTL_SECONDS * 1_000)).toBeLessThan(60_000)
  })

  test('always gets a new id, and the old one is dead', async () => {
    const client = await signUp(fleet)
    const before = client.cookie
    expect((await logIn(client, client.email, {}, 1)).statusCode).toBe(201)
    expect(client.cookie).not.toBe(before)
    expect(await statuses(before)).toEqual([401, 401, 401])
    expect(await statuses(client.cookie)).toEqual([200, 200, 200])
  })

  test('as somebody else ends the session of the first', async () => {
    const [ada, bob] = [await signUp(fleet), await signUp(fleet)]
    const before = ada.cookie
    await logIn(ada, bob.email)
    expect((await ada.call('/api/users/me')).json().id).toBe(bob.id)
    expect(await statuses(before)).toEqual([401, 401, 401])
  })

  test.each(['sid=made-up', 'sid=made-up.signature', 'sid=', 'sid=%00%ff', 'sid={0123456789abcdef01234567}.x.y'])(
    'cannot be made to take the id %s',
    async (cookie) => {
      const { email } = await signUp(fleet)
      const client = new Client(fleet)
      client.cookie = cookie
      expect((await logIn(client, email)).statusCode).toBe(201)
      expect(client.cookie).not.toContain('made-up')
      expect(await statuses(cookie)).toEqual([401, 401, 401])
    },
  )

  test('with a wrong password and with an unknown e-mail gets the same answer', async () => {
    const client = await signUp(fleet)
    const before = client.cookie
    const answers = await Promise.all(
      [client.email, newEmail()].map((email) => client.post('/api/sessions', { email, password: 'wrong password' })),
    )
    const seen = answers.map(({ statusCode, headers, body }) => {
      const { instance, ...problem } = JSON.parse(body)
      return { statusCode, names: Object.keys(headers).sort(), problem }
    })
    expect(seen[0]).toEqual(seen[1])
    expect(seen[0]).toMatchObject({ statusCode: 401, problem: { code: 'unauthenticated' } })
    expect(client.cookie).toBe(before)
    expect(await statuses(before)).toEqual([200, 200, 200])
  })

  test('tried again by Nginx at another replica leaves one session', async () => {
    const { email } = await signUp(fleet)
    const headers = { 'x-request-id': 'fedcba9876543210fedcba9876543210' }
    const [first, second] = [new Client(fleet), new Client(fleet)]
    await logIn(first, email, headers, 0)
    await logIn(second, email, headers, 1)
    expect(await statuses(first.cookie)).toEqual([401, 401, 401])
    // That of the sign-up, and this one.
    expect((await second.call('/api/sessions')).json().items).toHaveLength(2)
  })

  test('beyond the most that a user may have ends the session that was seen longest ago', async () => {
    const client = await signUp(fleet)
    const first = client.cookie
    const { userId, entries } = await ageSessions(client, 60_000)
    const copies = Array.from({ length: maxSessionsPerUser - 1 }, (_, index) => [
      `copy-${index}`,
      JSON.stringify({ ...entries[0], publicId: `copy-${index}`, lastSeenAt: new Date().toISOString() }),
    ])
    await fleet.redis.hset(`sessions:{${userId}}`, ...copies.flat())
    expect(await statuses(first)).toEqual([200, 200, 200])
    await logIn(new Client(fleet), client.email)
    expect(await statuses(first)).toEqual([401, 401, 401])
  })
})

describe('the list of sessions', () => {
  test('shows where a user is logged in, and nobody else', async () => {
    const client = await signUp(fleet)
    const other = new Client(fleet)
    await logIn(other, client.email, { 'user-agent': 'Phone/2' })
    await signUp(fleet)
    const answer = await other.call('/api/sessions', {}, 1)
    expect(answer.statusCode).toBe(200)
    const { items, nextCursor } = answer.json()
    expect(nextCursor).toBeNull()
    expect(items).toHaveLength(2)
    expect(items.find(({ current }: { current: boolean }) => current)).toMatchObject({ device: 'Phone/2' })
    // The list is no place for what opens a session.
    expect(answer.body).not.toContain(decodeURIComponent(other.cookie ?? '').split('.')[1])
  })

  test('is where one of them is revoked, on every replica', async () => {
    const client = await signUp(fleet)
    const lost = new Client(fleet)
    const { id } = (await logIn(lost, client.email)).json()
    const answer = await client.call(`/api/sessions/${id}`, { method: 'DELETE' }, 2)
    expect([answer.statusCode, answer.body]).toEqual([204, ''])
    expect(await statuses(lost.cookie)).toEqual([401, 401, 401])
    expect(await statuses(client.cookie)).toEqual([200, 200, 200])
    expect((await client.call('/api/sessions')).json().items).toHaveLength(1)
  })

  test('does not give away the sessions of others', async () => {
    const [ada, bob] = [await signUp(fleet), await signUp(fleet)]
    const [{ id }] = (await bob.call('/api/sessions')).json().items
    const answers = await Promise.all(
      [id, unknownId].map((each) => ada.call(`/api/sessions/${each}`, { method: 'DELETE' })),
    )
    const seen = answers.map(({ statusCode, body }) => [statusCode, { ...JSON.parse(body), instance: '' }])
    expect(seen[0]).toEqual(seen[1])
    expect(seen[0]?.[0]).toBe(404)
    expect(await statuses(bob.cookie)).toEqual([200, 200, 200])
  })
})

describe('a log-out', () => {
  test.each(['current', 'by id'])('counts on every replica and takes the cookie back: %s', async (how) => {
    const client = await signUp(fleet)
    const before = client.cookie
    const [{ id }] = (await client.call('/api/sessions')).json().items
    const answer = await client.call(`/api/sessions/${how === 'current' ? how : id}`, { method: 'DELETE' }, 1)
    expect([answer.statusCode, answer.body]).toEqual([204, ''])
    expect(setCookies(answer)).toEqual([expect.stringMatching(/^sid=; .*Path=\/; Expires=Thu, 01 Jan 1970/)])
    expect(await statuses(before)).toEqual([401, 401, 401])
    expect(await statuses(before, '/api/sessions')).toEqual([401, 401, 401])
  })

  test('twice at once gives no error that would be the client’s fault', async () => {
    const client = await signUp(fleet)
    const headers = { cookie: client.cookie ?? '' }
    const answers = await Promise.all(
      [0, 1, 2].map((replica) => client.call('/api/sessions/current', { method: 'DELETE', headers }, replica)),
    )
    for (const { statusCode } of answers) expect([204, 401]).toContain(statusCode)
  })

  test('counts against a request that was already running with the session', async () => {
    const client = await signUp(fleet)
    const cookie = client.cookie ?? ''
    const [sid = ''] = unsigned(cookie)
    // Old enough that the slow request writes it again when it ends.
    await ageSessions(client, 600_000)
    const watcher = await openRedis()
    const monitor = await watcher.monitor()
    let loaded = false
    monitor.on('monitor', (_time: string, [command = '', key]: string[]) => {
      if (command.toLowerCase() === 'get' && key === `session:${sid}`) loaded = true
    })
    const [url = ''] = await listen(fleet)
    const body = JSON.stringify({ email: newEmail(), password, name: 'Ada' })
    const slow = request(`${url}/api/restaurants`, {
      method: 'POST',
      headers: { cookie, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    })
    const answered = new Promise<number | undefined>((resolve, reject) => {
      slow.on('response', (response) => response.resume().on('end', () => resolve(response.statusCode)))
      slow.on('error', reject)
    })
    slow.write(body.slice(0, 5))
    await waitFor('the slow request to load its session', 10_000, async () => loaded)
    expect((await client.call('/api/sessions/current', { method: 'DELETE' }, 1)).statusCode).toBe(204)
    slow.end(body.slice(5))
    expect(await answered).toBe(400)
    monitor.disconnect()
    watcher.disconnect()
    expect(await statuses(cookie)).toEqual([401, 401, 401])
    expect(await fleet.redis.exists(`session:${sid}`)).toBe(0)
  })
})

/** What the cookie carries, without its signature. */
function unsigned(cookie: string): [string, string] {
  const value = decodeURIComponent(cookie.slice('sid='.length))
  const end = value.lastIndexOf('.')
  return [value.slice(0, end), value.slice(end + 1)]
}

/** Makes the sessions of a user look as if they had been seen last some time ago. */
async function ageSessions(client: { id: string }, ms: number) {
  const lastSeenAt = new Date(Date.now() - ms).toISOString()
  const index = `sessions:{${client.id}}`
  const entries = []
  for (const [sid, entry] of Object.entries(await fleet.redis.hgetall(index))) {
    const aged = { ...JSON.parse(entry), lastSeenAt }
    entries.push(aged)
    await fleet.redis.hset(index, sid, JSON.stringify(aged))
    const session = JSON.parse((await fleet.redis.get(`session:${sid}`)) ?? '')
    await fleet.redis.set(`session:${sid}`, JSON.stringify({ ...session, lastSeenAt }), 'KEEPTTL')
  }
  return { userId: client.id, entries }
}

describe('a session in use', () => {
  test('is written again, and its cookie renewed, only when it was seen long ago', async () => {
    const client = await signUp(fleet)
    const [sid] = unsigned(client.cookie ?? '')
    await fleet.redis.expire(`session:${sid}`, 1_000)
    const quiet = await client.call('/api/users/me')
    expect(setCookies(quiet)).toEqual([])
    expect(await fleet.redis.ttl(`session:${sid}`)).toBeLessThanOrEqual(1_000)
    await ageSessions(client, 600_000)
    const before = client.cookie
    const renewed = await client.call('/api/users/me')
    expect(setCookies(renewed)).toHaveLength(1)
    expect(client.cookie).toBe(before)
    expect(await fleet.redis.ttl(`session:${sid}`)).toBeGreaterThan(1_000)
    const [{ lastSeenAt }] = (await client.call('/api/sessions')).json().items
    expect(Date.now() - Date.parse(lastSeenAt)).toBeLessThan(60_000)
  })

  test('is not accepted with a single bit of its cookie changed', async () => {
    const client = await signUp(fleet)
    const [sid, signature] = unsigned(client.cookie ?? '')
    const value = Buffer.from(`${sid}.${signature}`)
    const tampered = Array.from(value, (byte, index) => {
      const copy = Buffer.from(value)
      copy[index] = byte ^ (1 << (index % 7))
      return encodeURIComponent(copy.toString('latin1'))
    })
    const answers = await Promise.all(
      tampered.map((each, index) =>
        new Client(fleet).call('/api/users/me', { headers: { cookie: `sid=${each}` } }, index % 3),
      ),
    )
    expect(answers.filter(({ statusCode }) => statusCode !== 401)).toEqual([])
    expect(await statuses(`sid=${encodeURIComponent(sid)}`)).toEqual([401, 401, 401])
    expect(await statuses(client.cookie)).toEqual([200, 200, 200])
  })

  test('outlives a change of the secret that signs it, and is signed anew', async () => {
    const old = 'the first secret which is old by now'
    const next = 'the second secret which is in use now'
    const before = await fleetForTest({ SESSION_SECRET: old }, 1)
    const during = await fleetForTest({ SESSION_SECRET: `${next},${old}` }, 1)
    const after = await fleetForTest({ SESSION_SECRET: next }, 1)
    const client = await signUp(before)
    const bring = (fleet: Fleet, cookie = client.cookie) =>
      new Client(fleet).call('/api/sessions', { headers: { cookie: cookie ?? '' } })
    const answer = await bring(during)
    expect(answer.statusCode).toBe(200)
    const [renewed = ''] = setCookies(answer)
    expect((await bring(during)).statusCode).toBe(200)
    expect((await bring(after, renewed.split(';')[0])).statusCode).toBe(200)
    expect((await bring(after)).statusCode).toBe(401)
  })
})

describe('behind TLS', () => {
  const tls = { 'x-forwarded-proto': 'https' }
  const fromProxy = () => Object.assign(new Client(fleet), { address: '127.0.0.1' })

  test('a cookie is Secure where a trusted proxy says so', async () => {
    const { email } = await signUp(fleet)
    expect(setCookies(await logIn(fromProxy(), email, tls))[0]).toContain('; Secure')
    expect(setCookies(await logIn(fromProxy(), email))[0]).not.toContain('; Secure')
    expect(setCookies(await logIn(new Client(fleet), email, tls))[0]).not.toContain('; Secure')
  })

  test('a session that began without TLS gets a Secure cookie as soon as it comes with it', async () => {
    const { email } = await signUp(fleet)
    const client = fromProxy()
    await logIn(client, email)
    expect(setCookies(await logIn(client, email, tls))[0]).toContain('; Secure')
  })
})

describe('a request that changes something', () => {
  const body = { email: 'nobody@example.com', password }
  test.each<[string, Record<string, string>, boolean]>([
    ['from no browser', {}, true],
    ['from this site', { 'sec-fetch-site': 'same-origin', origin: 'http://localhost:80' }, true],
    ['typed by the user', { 'sec-fetch-site': 'none' }, true],
    ['from this origin, by an old browser', { origin: 'http://brigade.example', host: 'brigade.example' }, true],
    ['from another site', { 'sec-fetch-site': 'cross-site' }, false],
    ['from a neighbouring site', { 'sec-fetch-site': 'same-site' }, false],
    ['from another origin, by an old browser', { origin: 'http://evil.example', host: 'brigade.example' }, false],
    ['from nowhere, by an old browser', { origin: 'null', host: 'brigade.example' }, false],
    ['from what is no origin', { origin: 'brigade.example', host: 'brigade.example' }, false],
  ])('%s', async (_from, headers, allowed) => {
    const client = await signUp(fleet)
    const answers = [
      await client.post('/api/orders', {}, headers),
      await client.call(`/api/sessions/${unknownId}`, { method: 'DELETE', headers }),
      await new Client(fleet).post('/api/sessions', body, headers),
    ]
    expect(answers.map(({ statusCode }) => statusCode)).toEqual(allowed ? [400, 404, 401] : [403, 403, 403])
    expect((await client.call('/api/users/me', { headers })).statusCode).toBe(200)
  })
})
