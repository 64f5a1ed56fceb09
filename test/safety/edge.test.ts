import { randomBytes } from 'node:crypto'
import { type IncomingHttpHeaders, request } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { changes, type Route, routesOf, urlOf } from '../../loadtest/chaos/document.ts'
import { type Fleet, listen, newEmail, signUp, startFleet, type User, unknownId } from '../support/api.ts'
import { type RunningNginx, sendRaw, startNginx } from '../support/nginx.ts'
import { waitFor } from '../support/servers.ts'
import { goodBody, logIn, newTarget, newWorld, stored, type World, whoMay } from './routes.ts'

const maxRequests = 20
const maxLogins = 3

let fleet: Fleet
let nginx: RunningNginx
let world: World
// With limits that a test can reach.
let limited: Fleet
let limitedNginx: RunningNginx

const portsOf = async (each: Fleet) => (await listen(each)).map((url) => Number(new URL(url).port))

beforeAll(async () => {
  fleet = await startFleet({}, 3)
  limited = await startFleet({ RATE_LIMIT_MAX: String(maxRequests), LOGIN_LIMIT_MAX: String(maxLogins) }, 3)
  nginx = await startNginx(await portsOf(fleet), {}, ['127.0.0.1'])
  limitedNginx = await startNginx(await portsOf(limited))
  world = await newWorld(fleet)
})
afterAll(async () => {
  await nginx?.stop()
  await limitedNginx?.stop()
  await fleet?.close()
  await limited?.close()
})

interface Answer {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

interface Sent {
  method?: string
  headers?: Record<string, string>
  body?: unknown
}

/** As it comes over the wire, from replicas through Nginx. */
function send(path: string, { method = 'GET', headers = {}, body }: Sent = {}, { port } = nginx): Promise<Answer> {
  const text = body === undefined ? undefined : JSON.stringify(body)
  const type =
    text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path, method, headers: { ...type, ...headers } }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString(),
        }),
      )
      response.on('error', reject)
    })
      .on('error', reject)
      .end(text)
  })
}

const routes = () => routesOf(fleet.document)
const cookieOf = ({ cookie = '' }: { cookie?: string | undefined }) => ({ cookie })

/** What is public, and so may be kept by caches; everything else is for one person. */
const publicRoutes = ['GET /api/restaurants', 'GET /api/restaurants/{id}']

describe('private answers', () => {
  /** A log-in for one route alone, since some of them end it. */
  async function newSession(route: Route): Promise<User> {
    const user = whoMay(world, route)
    const { client } = await logIn(fleet, user)
    return Object.assign(client, { id: user.id, email: user.email })
  }

  test('of every route are marked as such, always made anew, and never kept', { timeout: 120_000 }, async () => {
    const secrets = [...world.secrets, world.owner.id, world.owner.email]
    // Times and a seal, which two answers of the same moment have in common.
    const tokens: string[] = []
    for (const route of routes()) {
      const user = await newSession(route)
      secrets.push(...(user.cookie ?? '').slice('sid='.length).split('.').slice(1))
      const url = urlOf(route, await newTarget(world, route))
      const sent = { method: route.method, body: goodBody(world, route) }
      const isPublic = publicRoutes.includes(route.name)
      const first = await send(url, { ...sent, headers: cookieOf(user) })
      const second = await send(url, { ...sent, headers: cookieOf(user) })
      const anonymous = [await send(url, sent), await send(url, sent)]
      expect([route.name, Math.floor(first.status / 100)]).toEqual([route.name, 2])

      for (const { headers } of [first, second]) {
        expect([route.name, headers['cache-control'], headers['cdn-cache-control']]).toEqual([
          route.name,
          isPublic ? 'private, no-cache' : 'no-store',
          undefined,
        ])
        expect([route.name, headers['x-cache']]).toEqual([route.name, isPublic ? 'BYPASS' : undefined])
        expect(headers).not.toHaveProperty('age')
        expect(headers['x-served-by']).toMatch(/^app-[123]$/)
        if (headers['causal-token']) tokens.push(String(headers['causal-token']))
      }
      expect(first.headers['x-request-id']).not.toBe(second.headers['x-request-id'])

      for (const { status, headers, body } of anonymous) {
        expect([route.name, headers['cache-control']]).toEqual([
          route.name,
          isPublic ? 'public, max-age=300' : 'no-store',
        ])
        if (isPublic) {
          expect(headers).toMatchObject({ 'cdn-cache-control': 'max-age=3600', 'cache-tag': expect.any(String) })
          expect(['MISS', 'HIT', 'STALE']).toContain(headers['x-cache'])
          expect(headers).not.toHaveProperty('set-cookie')
          expect(headers).not.toHaveProperty('causal-token')
        } else if (route.operation.security) expect([route.name, status]).toEqual([route.name, 401])
        // Somebody who logs in or signs up is told of themselves.
        if (status < 300 && !isPublic) continue
        const told = JSON.stringify(headers) + body
        expect([route.name, secrets.filter((secret) => told.includes(secret))]).toEqual([route.name, []])
      }
    }
    const kept = await nginx.kept()
    expect(kept.length).toBeGreaterThan(1)
    const all = kept.join('\n')
    expect(secrets.length).toBeGreaterThan(30)
    expect([...secrets, ...tokens].filter((secret) => all.includes(secret))).toEqual([])
    expect(all).not.toMatch(/set-cookie|no-store|\bsid\b/i)
  })

  test('are not kept under the address of a public one either', async () => {
    const headers = cookieOf(world.owner)
    for (const path of ['/api/restaurants/../orders', '/api/restaurants/%2e%2e/orders', '/api/orders;.css']) {
      await send(path, { headers })
      const { status, body } = await send(path)
      expect([path, status >= 400, body.includes(world.owner.id)]).toEqual([path, true, false])
    }
    for (const path of ['/api/users/me/x.css', '/api/orders/x.js', '/api/sessions/logo.png']) {
      expect([path, (await send(path, { headers })).status >= 400]).toEqual([path, true])
    }
  })

  test('leave nothing that opens a session in the log of Nginx', async () => {
    const mark = randomBytes(8).toString('hex')
    const answer = await send('/api/orders', { headers: cookieOf(world.customer) })
    await send(`/api/orders?mark=${mark}&sid=${mark}`, {
      headers: { ...cookieOf(world.customer), 'causal-token': String(answer.headers['causal-token']) },
    })
    await send('/api/logged-last')
    await waitFor('the log to be written', 10_000, async () =>
      (await nginx.log()).some(({ path }) => path === '/api/logged-last'),
    )
    const text = JSON.stringify(await nginx.log())
    const [, secret = '', signature = ''] = decodeURIComponent(world.customer.cookie ?? '').split('.')
    for (const each of [secret, signature, mark, String(answer.headers['causal-token']), world.customer.email]) {
      expect([each, each.length > 8, text.includes(each)]).toEqual([each, true, false])
    }
  })
})

describe('a request from another site', { timeout: 120_000 }, () => {
  const foreign: [string, Record<string, string>][] = [
    ['as browsers say', { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }],
    ['as a neighbour', { 'sec-fetch-site': 'same-site', origin: 'http://other.localhost' }],
    ['as older browsers say', { origin: 'https://evil.example' }],
    ['as a sandboxed frame', { origin: 'null' }],
    ['as this host at another port', { origin: 'http://127.0.0.1:1' }],
    ['as a host that begins like this one', { origin: 'http://127.0.0.1.evil.example' }],
    ['as nonsense', { 'sec-fetch-site': 'SAME-ORIGIN' }],
    ['from a form', { origin: 'https://evil.example', 'content-type': 'text/plain' }],
    ['with a host of its own wish', { origin: 'https://evil.example', 'x-forwarded-host': 'evil.example' }],
  ]

  test.each(foreign)('changes nothing, whatever route and session: %s', async (_how, headers) => {
    const changing = routes().filter(changes)
    expect(changing.length).toBeGreaterThan(9)
    for (const route of changing) {
      const user = whoMay(world, route)
      const url = urlOf(route, await newTarget(world, route))
      const before = await stored(fleet)
      const sent = { method: route.method, body: goodBody(world, route), headers: { ...cookieOf(user), ...headers } }
      const answer = await send(url, sent)
      expect([route.name, answer.status, JSON.parse(answer.body).code]).toEqual([route.name, 403, 'forbidden'])
      expect(answer.headers).not.toHaveProperty('set-cookie')
      expect([route.name, await stored(fleet)]).toEqual([route.name, before])
      expect((await send('/api/users/me', { headers: cookieOf(user) })).status).toBe(200)
    }
  })

  test('is let through from this site, so that it is the site that counts', async () => {
    const origin = `http://127.0.0.1:${nginx.port}`
    for (const headers of [{ 'sec-fetch-site': 'same-origin', origin }, { origin }, {}] as Record<string, string>[]) {
      const sent = { method: 'PUT', headers: { ...cookieOf(world.customer), ...headers } }
      expect((await send(`/api/orders/${unknownId}/cancellation`, sent)).status).toBe(404)
    }
  })

  test('may not read an answer, nor ask in advance', async () => {
    for (const route of routes()) {
      const url = urlOf(route, unknownId)
      const headers = {
        ...cookieOf(world.customer),
        origin: 'https://evil.example',
        'access-control-request-method': route.method,
        'access-control-request-headers': 'content-type',
      }
      for (const method of ['GET', 'OPTIONS']) {
        const answer = await send(url, { method, headers })
        expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([])
      }
    }
  })
})

describe('an address that is made up', () => {
  const forged = (index: number): Record<string, string> => {
    const address = `198.51.${index >> 8}.${index & 255}`
    const all: Record<string, string>[] = [
      { 'x-forwarded-for': address },
      { 'x-real-ip': address },
      { forwarded: `for=${address}` },
      { 'x-forwarded-for': `${address}, 127.0.0.1`, 'x-real-ip': address, forwarded: `for="[2001:db8::${index}]"` },
      { x_forwarded_for: address, x_real_ip: address },
      { 'x-client-ip': address, 'true-client-ip': address, 'cf-connecting-ip': address },
      { 'x-cluster-client-ip': address, 'x-original-forwarded-for': address, via: `1.1 ${address}` },
      { 'x-forwarded-for': '127.0.0.1', 'x-forwarded': `for=${address}`, 'forwarded-for': address },
    ]
    return all[index % all.length] ?? {}
  }

  // All that comes through Nginx here, in other tests too, comes from one address.
  beforeEach(() => limited.redis.del('rate-limit:127.0.0.1'))

  test('gives nobody a second bucket, on any replica', async () => {
    const statuses: Record<number, number> = {}
    const replicas = new Set<unknown>()
    for (let index = 0; index < 400; index++) {
      const { status, headers } = await send('/api/orders', { headers: forged(index) }, limitedNginx)
      statuses[status] = (statuses[status] ?? 0) + 1
      replicas.add(headers['x-served-by'])
    }
    expect(statuses).toEqual({ 401: maxRequests, 429: 400 - maxRequests })
    expect(replicas.size).toBe(3)
  })

  test('nor more log-ins', async () => {
    const { email } = await signUp(limited)
    const statuses: number[] = []
    for (let index = 0; index < maxLogins + 5; index++) {
      const body = { email, password: 'guess' }
      const sent = { method: 'POST', body, headers: forged(index) }
      statuses.push((await send('/api/sessions', sent, limitedNginx)).status)
    }
    expect(statuses).toEqual([401, 401, 401, 429, 429, 429, 429, 429])
  })
})

describe('security headers', { timeout: 120_000 }, () => {
  const expected = {
    'x-content-type-options': 'nosniff',
    'content-security-policy': expect.stringMatching(/default-src 'none'.*frame-ancestors 'none'/),
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
    'cache-control': expect.any(String),
    'x-request-id': expect.stringMatching(/^[0-9a-f]{32}$/),
  }
  const check = (what: string, { headers }: { headers: IncomingHttpHeaders }) => {
    expect({ what, ...headers }).toMatchObject({ what, ...expected })
    expect([what, headers.server]).toEqual([what, 'nginx'])
    for (const name of ['x-powered-by', 'access-control-allow-origin', 'x-edge-status', 'x-edge-cache-control']) {
      expect([what, name in headers]).toEqual([what, false])
    }
  }

  test('are on every answer of every route, with a session and without', async () => {
    for (const route of routes()) {
      const { client } = await logIn(fleet, whoMay(world, route))
      const url = urlOf(route, await newTarget(world, route))
      const sent = { method: route.method, body: goodBody(world, route) }
      const asked = { ...sent, headers: cookieOf(client) }
      for (const each of [asked, asked, sent, sent, { ...sent, body: { unknown: 1 } }]) {
        check(`${route.name} ${JSON.stringify(each)}`, await send(url, each))
      }
      check(`${route.name} by no method`, await send(url, { method: 'OPTIONS' }))
    }
  })

  test.each([
    ['/', 302],
    ['/healthz', 200],
    ['/docs', 200],
    ['/docs/start.js', 200],
    ['/docs/nothing', 404],
    ['/openapi.json', 200],
    ['/metrics', 404],
    ['/api/nothing', 404],
    ['/api/restaurants/x', 400],
    ['/api/orders/%ff', 400],
    ['/api/orders/%zz', 400],
    [`/api/orders/${'x'.repeat(300)}`, 404],
  ])('are on what is no route of the document: %s', async (path, status) => {
    const answer = await send(path)
    expect(answer.status).toBe(status)
    check(path, answer)
  })

  const line = (text: string, more = '') => `${text} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n${more}\r\n`
  test.each<[string, number, string]>([
    ['no request', 400, 'GET / NONSENSE/9\r\n\r\n'],
    ['two lengths', 400, line('POST /api/orders', 'Content-Length: 1\r\nContent-Length: 2\r\n')],
    ['a method of others', 405, line('PROPFIND /api/orders')],
    ['a large body', 413, line('POST /api/orders', 'Content-Length: 9999999\r\n')],
    ['a long address', 414, line(`GET /api/${'x'.repeat(9_000)}`)],
    ['another host', 421, line('GET /api/orders').replace('127.0.0.1', 'evil.example')],
    ['a large header', 431, line('GET /api/orders', `X: ${'x'.repeat(9_000)}\r\n`)],
    ['an unknown encoding', 501, line('POST /api/orders', 'Transfer-Encoding: x\r\n')],
  ])('are on what Nginx refuses by itself: %s', async (what, status, text) => {
    const answer = await sendRaw(nginx.port, text)
    expect(answer.status).toBe(status)
    check(what, answer)
  })

  test('are on what Nginx says while there is no replica', async () => {
    const alone = await startNginx([1])
    try {
      for (const path of ['/api/orders', '/api/restaurants']) {
        const answer = await send(path, {}, alone)
        expect(answer.status).toBe(503)
        check(path, answer)
      }
    } finally {
      await alone.stop()
    }
  })

  test('make a session cookie that scripts and other sites do not get', async () => {
    const body = { email: newEmail(), password: 'correct horse', name: 'Ada' }
    const { headers } = await send('/api/users', { method: 'POST', body })
    expect(headers['set-cookie']).toHaveLength(1)
    const attributes = headers['set-cookie']?.[0]?.split('; ').slice(1)
    expect(attributes).toEqual(expect.arrayContaining(['HttpOnly', 'SameSite=Lax', 'Path=/']))
    expect(attributes?.some((attribute) => attribute.startsWith('Domain='))).toBe(false)
  })
})
