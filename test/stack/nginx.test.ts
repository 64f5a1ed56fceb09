import { readFile } from 'node:fs/promises'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { request } from 'node:http'
import { join } from 'node:path'
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { placeHttpConf, publicHosts } from '../../infra/nginx-place.ts'
import { type RunningNginx, type StandIn, sendRaw, startNginx, startStandIn } from '../support/nginx.ts'
import { waitFor } from '../support/servers.ts'

// The body of a list, long enough to be compressed.
const list = JSON.stringify({
  items: Array.from({ length: 300 }, (_, index) => ({ id: index, name: `Dish ${index}` })),
})

let standIns: StandIn[]
let nginx: RunningNginx
// Ids of requests at which one replica has already died.
let died: Set<string>
// Ports of replicas that can do nothing for reasons of their own.
let cutOff: Set<number>

const answers: Record<string, (request: IncomingMessage, response: ServerResponse) => void> = {
  '/api/list': (_request, response) => response.setHeader('content-type', 'application/json').end(list),
  '/api/compressed': (_request, response) =>
    response.setHeader('content-type', 'application/json').setHeader('content-encoding', 'gzip').end(gzipSync(list)),
  '/api/restaurants/0123456789abcdef01234567': (request, response) =>
    response
      .setHeader('content-type', 'application/json')
      .setHeader('content-encoding', String(request.headers['accept-encoding']).includes('br') ? 'br' : 'gzip')
      .end(brotliCompressSync(list)),
  '/api/busy': (_request, response) =>
    response
      .writeHead(503, {
        'content-type': 'application/problem+json',
        'retry-after': '7',
        'x-request-id': 'of the replica',
        'content-security-policy': 'of the replica',
      })
      .end('{"code":"unavailable","title":"of the replica"}'),
  '/docs/static/5.0.0/page.css': (_request, response) =>
    response
      .writeHead(200, { 'content-type': 'text/css', 'cache-control': 'public, max-age=31536000, immutable' })
      .end('body{}'),
  '/api/needs-redis': (request, response) => {
    if (!cutOff.has(request.socket.localPort ?? 0)) {
      response.writeHead(201).end('{"made":true}')
      return
    }
    const passesOn = 'x-pass-on' in request.headers ? { 'x-accel-redirect': '@elsewhere' } : {}
    response
      .writeHead(503, { 'content-type': 'application/problem+json', 'retry-after': '7', ...passesOn })
      .end('{"code":"unavailable","title":"of the replica"}')
  },
  '/api/dies-once': (request, response) => {
    const id = String(request.headers['x-request-id'])
    if (died.has(id)) {
      response.writeHead(201).end('{"made":true}')
      return
    }
    died.add(id)
    response.destroy()
  },
}

const replica: RequestListener = (request, response) => {
  const path = request.url?.split('?')[0] ?? ''
  const answer = answers[path]
  if (answer) answer(request, response)
  else response.setHeader('content-type', 'application/json').end('{}')
}

const startReplicas = () => Promise.all(['app-1', 'app-2', 'app-3'].map((name) => startStandIn(name, replica)))
const received = () => standIns.flatMap(({ requests }) => requests)

beforeAll(async () => {
  standIns = await startReplicas()
  nginx = await startNginx(standIns.map(({ port }) => port))
})
afterAll(async () => {
  await nginx?.stop()
  await Promise.all(standIns?.map((standIn) => standIn.close()) ?? [])
})
beforeEach(() => {
  died = new Set()
  cutOff = new Set()
  for (const { requests } of standIns) requests.length = 0
})

/** A second Nginx with shorter limits than a test could wait for. */
async function startImpatient(change: Record<string, string>, answer: RequestListener) {
  const replicas = await Promise.all(['app-1', 'app-2'].map((name) => startStandIn(name, answer)))
  const impatient = await startNginx(
    replicas.map(({ port }) => port),
    change,
  )
  onTestFinished(async () => {
    await impatient.stop()
    await Promise.all(replicas.map((standIn) => standIn.close()))
  })
  return { ...impatient, replicas }
}

const problemHeaders = {
  'content-type': 'application/problem+json',
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
}

function expectProblem(
  answer: { status: number; headers: Record<string, string>; body: string },
  status: number,
  code: string,
): void {
  expect(answer.status).toBe(status)
  expect(answer.headers).toMatchObject(problemHeaders)
  const id = answer.headers['x-request-id'] ?? ''
  expect(id).toMatch(/^[0-9a-f]{32}$/)
  const problem = JSON.parse(answer.body)
  expect(problem).toEqual({
    type: `/problems/${code}`,
    title: expect.any(String),
    status,
    code,
    instance: expect.stringMatching(/^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
  })
  expect(problem.instance.replace(/urn:uuid:|-/g, '')).toBe(id)
  // What is sent once more by itself needs a time to wait.
  expect('retry-after' in answer.headers).toBe(status === 429 || status === 503)
}

async function fetchProblem(url: string, init?: RequestInit) {
  const response = await fetch(url, init)
  return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() }
}

test('the configuration has no warnings', () => {
  expect(nginx.checked).toContain('test is successful')
  expect(nginx.checked).not.toMatch(/\[(warn|alert|emerg|error)]/)
})

test('its places differ in addresses only', async () => {
  const blockOf = (pattern: RegExp, text: string) =>
    (pattern.exec(text)?.[1] ?? '')
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => line.replace(/^server \S+( resolve)?/, 'server'))
  const compose = await readFile(join(import.meta.dirname, '../../nginx/compose/place.http.conf'), 'utf8')
  const features = { version: '1.30', hasStubStatus: true, tempPaths: [] }
  const local = placeHttpConf(features, [3000], { status: 3001, ops: 3002 }, ['*'], {})
  for (const upstream of [/upstream app \{([^}]*)\}/, /upstream elsewhere \{([^}]*)\}/]) {
    expect(blockOf(upstream, compose)).toContain('least_conn;')
    expect(blockOf(upstream, compose)).toEqual(blockOf(upstream, local))
  }
  const cache = /proxy_cache_path \S+ ([^;]*);/
  expect(blockOf(cache, compose)).toEqual([expect.stringContaining('max_size=')])
  expect(blockOf(cache, compose)).toEqual(blockOf(cache, local))
})

describe('a request that is passed on', () => {
  test('carries the address and id that Nginx sees, whatever the client says of itself', async () => {
    const said = 'ffffffffffffffffffffffffffffffff'
    await fetch(`${nginx.url}/api/echo`, {
      headers: {
        'X-Real-IP': '203.0.113.7',
        'X-Forwarded-For': '203.0.113.7, 203.0.113.8',
        'X-Forwarded-Proto': 'https',
        'X-Forwarded-Host': 'evil.example',
        'X-Forwarded-Port': '1',
        Forwarded: 'for=203.0.113.7;host=evil.example',
        'X-Request-Id': said,
      },
    })
    const { headers, rawHeaders } = received()[0] as StandIn['requests'][number]
    expect(headers).toMatchObject({
      'x-real-ip': '127.0.0.1',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
      host: `127.0.0.1:${nginx.port}`,
    })
    expect(headers['x-request-id']).toMatch(/^[0-9a-f]{32}$/)
    expect(headers['x-request-id']).not.toBe(said)
    for (const name of ['x-forwarded-host', 'x-forwarded-port', 'forwarded']) expect(headers).not.toHaveProperty(name)
    const names = rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase())
    expect(names).toEqual([...new Set(names)])
  })

  test('keeps what is the client’s own', async () => {
    await fetch(`${nginx.url}/api/orders?limit=5&cursor=a%2Fb`, {
      method: 'POST',
      headers: { 'Idempotency-Key': 'lunch-1', Cookie: 'sid=abc', 'Content-Type': 'application/json' },
      body: '{"note":"größer"}',
    })
    expect(received()).toMatchObject([
      {
        method: 'POST',
        url: '/api/orders?limit=5&cursor=a%2Fb',
        headers: { 'idempotency-key': 'lunch-1', cookie: 'sid=abc' },
        body: '{"note":"größer"}',
      },
    ])
  })

  test('goes on with the trace that the client is in, and begins one after what is none', async () => {
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
    const span = '00f067aa0ba902b7'
    const passedOn = async (traceparent: string) => {
      for (const { requests } of standIns) requests.length = 0
      await fetch(`${nginx.url}/api/traced`, { headers: { traceparent, tracestate: 'a=b' } })
      const { headers } = received()[0] as StandIn['requests'][number]
      return headers
    }
    for (const good of [`00-${trace}-${span}-01`, `00-${trace}-${span}-00`, `01-${trace}-${span}-01-what`]) {
      expect(await passedOn(good)).toMatchObject({ traceparent: good, tracestate: 'a=b' })
    }
    const bad = [
      'x',
      `00-${trace}-${span}`,
      `00-${trace}-${span}-01-what`,
      `01-${trace}-${span}-01what`,
      `ff-${trace}-${span}-01`,
      `00-${trace.toUpperCase()}-${span}-01`,
      `00-${'0'.repeat(32)}-${span}-01`,
      `00-${trace}-${'0'.repeat(16)}-01`,
    ]
    for (const traceparent of bad) {
      const headers = await passedOn(traceparent)
      const id = String(headers['x-request-id'])
      expect(headers.traceparent).toBe(`00-${id}-${id.slice(0, 16)}-00`)
      expect(headers).not.toHaveProperty('tracestate')
    }
    await waitFor('the log to be written', 10_000, async () => {
      return (await nginx.log()).filter(({ path }) => path === '/api/traced').length === 3 + bad.length
    })
    const lines = (await nginx.log()).filter(({ path }) => path === '/api/traced')
    expect(lines.filter(({ traceId }) => traceId === trace)).toHaveLength(3)
    expect(lines.filter(({ traceId, requestId }) => traceId === requestId)).toHaveLength(bad.length)
  })

  test('loses headers with names that could be taken for others', async () => {
    await sendRaw(nginx.port, 'GET /api/echo HTTP/1.1\r\nHost: a\r\nX_Real_IP: 203.0.113.7\r\n\r\n')
    expect(received()[0]?.rawHeaders.join()).not.toContain('203.0.113.7')
  })

  test('needs no Host in HTTP/1.0', async () => {
    expect((await sendRaw(nginx.port, 'GET /api/echo HTTP/1.0\r\n\r\n')).status).toBe(200)
    expect(received()).toMatchObject([{ headers: { host: '127.0.0.1' } }])
  })

  test('is tried again elsewhere under the same id when a replica dies, a POST too', async () => {
    const body = JSON.stringify({ note: 'x'.repeat(100_000) })
    const response = await fetch(`${nginx.url}/api/dies-once`, { method: 'POST', body })
    expect(response.status).toBe(201)
    const tries = received()
    expect(tries).toHaveLength(2)
    expect(tries.map((each) => each.body)).toEqual([body, body])
    expect(tries[0]?.headers['x-request-id']).toBe(tries[1]?.headers['x-request-id'])
    expect(standIns.filter(({ requests }) => requests.length === 1)).toHaveLength(2)
  })

  test('is asked of others, once each, when a replica passes it on, a POST too', async () => {
    const body = JSON.stringify({ note: 'x'.repeat(100_000) })
    for (const { port } of standIns.slice(1)) cutOff.add(port)
    for (let time = 0; time < 6; time++) {
      for (const { requests } of standIns) requests.length = 0
      const response = await fetch(`${nginx.url}/api/needs-redis?time=${time}`, { method: 'POST', body })
      expect(response.status).toBe(201)
      expect(response.headers.has('x-accel-redirect')).toBe(false)
      const tries = received()
      expect(new Set(tries.map(({ headers }) => headers['x-request-id'])).size).toBe(1)
      for (const each of tries) {
        expect(each).toMatchObject({ method: 'POST', url: `/api/needs-redis?time=${time}`, body })
      }
      // The first may have been any of them, and may be asked once more.
      expect(tries.filter(({ headers }) => 'x-pass-on' in headers)).toHaveLength(1)
      for (const { requests } of standIns) {
        expect(requests.filter(({ headers }) => !('x-pass-on' in headers)).length).toBeLessThanOrEqual(1)
      }
    }
  })

  test('gets the answer of one of them where none can do it, and none is left out for it', async () => {
    const { url, replicas } = await startImpatient({}, replica)
    for (const { port } of replicas) cutOff.add(port)
    for (let time = 1; time <= 3; time++) {
      const { status, headers, body } = await fetchProblem(`${url}/api/needs-redis`, {
        headers: { 'X-Pass-On': 'by the client' },
      })
      expect([status, body]).toEqual([503, '{"code":"unavailable","title":"of the replica"}'])
      expect(headers).toMatchObject({ 'retry-after': '7' })
      expect(headers).not.toHaveProperty('x-accel-redirect')
      expect(replicas.flatMap(({ requests }) => requests)).toHaveLength(3 * time)
    }
    for (const { requests } of replicas) requests.length = 0
    for (let time = 0; time < 6; time++) expect((await fetch(`${url}/api/echo`)).status).toBe(200)
    expect(replicas.map(({ requests }) => requests.length)).toEqual([3, 3])
  })

  test('gets the replica’s answer as it is, also if that is an error', async () => {
    const { status, headers, body } = await fetchProblem(`${nginx.url}/api/busy`)
    expect(status).toBe(503)
    expect(body).toBe('{"code":"unavailable","title":"of the replica"}')
    expect(headers).toMatchObject({
      'retry-after': '7',
      'x-request-id': 'of the replica',
      'content-security-policy': 'of the replica',
    })
    expect(headers).not.toHaveProperty('x-content-type-options')
    expect(received()).toHaveLength(1)
  })

  test('may be cached for good where the replica says so', async () => {
    const response = await fetch(`${nginx.url}/docs/static/5.0.0/page.css`)
    expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
  })
})

describe('compression', () => {
  /** As it comes over the wire. */
  function get(
    path: string,
    acceptEncoding: string,
    more: Record<string, string> = {},
  ): Promise<{ headers: IncomingMessage['headers']; body: Buffer }> {
    return new Promise((resolve, reject) => {
      request(`${nginx.url}${path}`, { headers: { 'accept-encoding': acceptEncoding, ...more } }, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => resolve({ headers: response.headers, body: Buffer.concat(chunks) }))
      })
        .on('error', reject)
        .end()
    })
  }

  test('is done by Nginx, and replicas are not asked for it', async () => {
    const { headers, body } = await get('/api/list', 'gzip, br, zstd')
    expect(headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'Accept-Encoding' })
    expect(gunzipSync(body).toString()).toBe(list)
    expect(received()[0]?.headers).not.toHaveProperty('accept-encoding')
  })

  test('is left to replicas for what they keep compressed', async () => {
    const session = { cookie: 'sid=abc' }
    const { headers, body } = await get('/api/restaurants/0123456789abcdef01234567', 'gzip, br, zstd', session)
    expect(headers['content-encoding']).toBe('br')
    expect(brotliDecompressSync(body).toString()).toBe(list)
    expect(received()[0]?.headers['accept-encoding']).toBe('gzip, br, zstd')
  })

  test('is not done twice', async () => {
    const { headers, body } = await get('/api/compressed', 'gzip')
    expect(headers['content-encoding']).toBe('gzip')
    expect(gunzipSync(body).toString()).toBe(list)
  })

  test('is left out for clients that do not want it, and for small answers', async () => {
    const plain = await get('/api/list', 'identity')
    expect(plain.headers).not.toHaveProperty('content-encoding')
    expect(plain.body.toString()).toBe(list)
    expect((await get('/api/echo', 'gzip')).headers).not.toHaveProperty('content-encoding')
  })
})

describe('what replicas keep to themselves', () => {
  test.each([
    '/livez',
    '/readyz',
    '/metrics',
    '/nothing',
    '/api',
    '/docsify',
    '/openapi.json/',
    '/.problem',
    '/.edge',
    '/.refresh',
    '//api/echo',
    '//healthz',
    '/api/../metrics',
    '/api/%2e%2e/metrics',
    '/api/..%2fmetrics',
    '/metrics/../api/echo',
    '/metrics;/../docs',
    '/metrics%3f/../api/echo',
    '/livez#/../api/echo',
  ])('%s is not found', async (path) => {
    expectProblem(await sendRaw(nginx.port, `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`), 404, 'not_found')
    expect(received()).toEqual([])
  })
})

describe('names that it answers to', () => {
  const ask = (port: number, host: string | undefined, target = '/api/echo', more = '') =>
    sendRaw(
      port,
      host === undefined
        ? `GET ${target} HTTP/1.0\r\n${more}\r\n`
        : `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${more}\r\n`,
    )
  const restaurant = '/api/restaurants/0123456789abcdef01234567'

  let named: RunningNginx
  beforeAll(async () => {
    named = await startNginx(
      standIns.map(({ port }) => port),
      {},
      publicHosts({ PUBLIC_HOSTS: 'Brigade.example, 192.0.2.7,,food.example' }),
    )
  })
  afterAll(() => named?.stop())

  test.each([
    'localhost',
    'localhost:8080',
    'LOCALHOST',
    'localhost.',
    '127.0.0.1:1',
    '[::1]',
    '[::1]:8080',
    'brigade.example',
    'BRIGADE.example:443',
    '192.0.2.7',
    'food.example',
    undefined,
  ])('are those of this machine and those that it was given: %s', async (host) => {
    for (const path of ['/api/echo', restaurant]) expect((await ask(named.port, host, path)).status, path).toBe(200)
    expect(received().length).toBeGreaterThan(0)
  })

  test.each([
    'evil.example',
    'localhost.evil.example',
    'evil-localhost',
    'example',
    'xfood.example',
    'brigade.example,192.0.2.7',
    '192.0.2.70',
    '[::2]',
    '*',
    'evil;localhost',
  ])('are no others: %s', async (host) => {
    for (const path of ['/api/echo', restaurant, '/docs', `http://${host}/api/echo`]) {
      const answer = await ask(named.port, path.startsWith('http') ? 'localhost' : host, path)
      // What is no name at all is malformed.
      if (answer.status !== 400) expectProblem(answer, 421, 'invalid')
    }
    expect(received()).toEqual([])
    expect((await ask(named.port, host, '/healthz')).status).toBe(200)
  })

  test('in the target count, and Host does not then', async () => {
    expect((await ask(named.port, 'evil.example:7', 'http://food.example/api/echo')).status).toBe(200)
    expect((await ask(named.port, 'food.example:7', 'http://food.example/api/echo')).status).toBe(200)
    expect(received().map(({ headers }) => headers.host)).toEqual(['food.example', 'food.example:7'])
  })

  test('may be any, where that is what it was told', async () => {
    expect((await ask(nginx.port, 'evil.example')).status).toBe(200)
  })

  test.each(['X-Forwarded-Host', 'X-Original-URL', 'X-Rewrite-URL', 'Forwarded'])(
    'and addresses are not taken from %s',
    async (name) => {
      for (const path of ['/api/echo', `${restaurant}1`, '/api/restaurants?q=named']) {
        for (const value of ['evil.example', 'host=evil.example', '/api/other']) {
          expect((await ask(named.port, 'localhost', path, `${name}: ${value}\r\n`)).status).toBe(200)
        }
      }
      expect(new Set(received().map(({ url }) => url)).size).toBe(3)
      for (const { headers, url } of received()) {
        expect(headers.host, url).toBe('localhost')
        expect(JSON.stringify(headers), url).not.toMatch(/evil|other/)
      }
    },
  )

  test.each(['a b', 'localhost:8080', 'x"; }', 'evil/x', '-a', '[x]'])('are refused at the start: %s', (name) => {
    expect(() => publicHosts({ PUBLIC_HOSTS: `food.example,${name}` })).toThrow(`PUBLIC_HOSTS: ${name} is no host`)
  })
})

describe('what Nginx answers itself', () => {
  test('it is healthy, whether replicas are or not', async () => {
    const response = await fetch(`${nginx.url}/healthz`)
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('text/plain')
    expect(await response.text()).toBe('ok\n')
    expect(received()).toEqual([])
  })

  test('the front page is the reference', async () => {
    const response = await fetch(nginx.url, { redirect: 'manual' })
    expect(response.status).toBe(302)
    expect(response.headers.get('location')).toBe('/docs')
  })

  const many = Array.from({ length: 20 }, (_, index) => `X-${index}: ${'x'.repeat(4_000)}\r\n`).join('')
  const refused: [string, number, string, string][] = [
    ['no request at all', 400, 'invalid', 'GARBAGE\r\n\r\n'],
    ['a method in small letters', 400, 'invalid', 'get /api/echo HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['no Host', 400, 'invalid', 'GET /api/echo HTTP/1.1\r\n\r\n'],
    ['two Hosts', 400, 'invalid', 'GET /api/echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
    ['a Host that is none', 400, 'invalid', 'GET /api/echo HTTP/1.1\r\nHost: a/b\r\n\r\n'],
    ['a blank in the name of a header', 400, 'invalid', 'GET /api/echo HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n'],
    ['a null in a header', 400, 'invalid', 'GET /api/echo HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n'],
    [
      'a length and chunks',
      400,
      'invalid',
      'POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    [
      'two lengths',
      400,
      'invalid',
      'POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ',
    ],
    [
      'chunks that are none',
      400,
      'invalid',
      'POST /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n',
    ],
    [
      'an unknown transfer encoding',
      501,
      'invalid',
      'POST /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n',
    ],
    ['a version that does not exist', 505, 'invalid', 'GET /api/echo HTTP/3.1\r\nHost: a\r\n\r\n'],
    ['TRACE', 405, 'method_not_allowed', 'TRACE /api/echo HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['an unknown method', 405, 'method_not_allowed', 'BREW /api/echo HTTP/1.1\r\nHost: a\r\n\r\n'],
    [
      'a body that is too large',
      413,
      'too_large',
      'POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 262145\r\n\r\n',
    ],
    [
      'chunks that are too large together',
      413,
      'too_large',
      `POST /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n40001\r\n${'x'.repeat(0x40001)}\r\n0\r\n\r\n`,
    ],
    ['a long address', 414, 'too_large', `GET /api/${'x'.repeat(9_000)} HTTP/1.1\r\nHost: a\r\n\r\n`],
    ['a large header', 431, 'too_large', `GET /api/echo HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(9_000)}\r\n\r\n`],
    ['many headers', 431, 'too_large', `GET /api/echo HTTP/1.1\r\nHost: a\r\n${many}\r\n`],
  ]
  test.each(refused)('%s: %i', async (_what, status, code, text) => {
    const answer = await sendRaw(nginx.port, text)
    expectProblem(answer, status, code)
    expect('allow' in answer.headers).toBe(status === 405)
    expect(received()).toEqual([])
  })

  test('a body as large as allowed is not refused', async () => {
    const body = 'x'.repeat(262_144)
    expect((await fetch(`${nginx.url}/api/echo`, { method: 'POST', body })).status).toBe(200)
    expect(received()[0]?.body).toBe(body)
  })

  test('HEAD gets the headers of a problem without its body', async () => {
    const response = await fetch(`${nginx.url}/nothing`, { method: 'HEAD' })
    expect(response.status).toBe(404)
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    expect(await response.text()).toBe('')
  })

  test('replicas that die one after the other: 503', async () => {
    const { url, replicas } = await startImpatient({}, (_request, response) => response.destroy())
    expectProblem(await fetchProblem(`${url}/api/orders`, { method: 'POST', body: '{}' }), 503, 'unavailable')
    const ids = replicas.flatMap(({ requests }) => requests.map(({ headers }) => headers['x-request-id']))
    expect(ids).toHaveLength(2)
    expect(new Set(ids).size).toBe(1)
  })

  test('no replica at all: 503', async () => {
    const { url, replicas } = await startImpatient({}, replica)
    await Promise.all(replicas.map((standIn) => standIn.close()))
    expectProblem(await fetchProblem(`${url}/api/orders`), 503, 'unavailable')
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
  })

  test('replicas that do not answer: 504, after one more try', async () => {
    const { url, replicas } = await startImpatient(
      { 'proxy_read_timeout 10s': 'proxy_read_timeout 500ms', 'upstream_timeout 12s': 'upstream_timeout 600ms' },
      () => {},
    )
    expectProblem(await fetchProblem(`${url}/api/orders`, { method: 'POST', body: '{}' }), 504, 'timeout')
    expect(replicas.map(({ requests }) => requests.length)).toEqual([1, 1])
  })

  test('more requests at a time than one client may have: 429', async () => {
    const held: ServerResponse[] = []
    const { url } = await startImpatient(
      { 'limit_conn clients 2048': 'limit_conn clients 2' },
      (_request, response) => {
        held.push(response)
      },
    )
    const two = [1, 2].map(() => fetch(`${url}/api/orders`))
    await waitFor('both to be held', 10_000, async () => held.length === 2)
    expectProblem(await fetchProblem(`${url}/api/orders`), 429, 'rate_limited')
    for (const response of held) response.end('{}')
    expect((await Promise.all(two)).map(({ status }) => status)).toEqual([200, 200])
  })

  test('clients that send too slowly are cut off without an answer', async () => {
    const { port, replicas } = await startImpatient(
      { 'client_header_timeout 10s': 'client_header_timeout 1s', 'client_body_timeout 10s': 'client_body_timeout 1s' },
      replica,
    )
    const answers = await Promise.all([
      sendRaw(port, 'GET /api/echo HTTP/1.1\r\nHost: a\r\nX: '),
      sendRaw(port, 'POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{'),
    ])
    expect(answers.map(({ status }) => status)).toEqual([0, 0])
    expect(replicas.flatMap(({ requests }) => requests)).toEqual([])
  })
})

test('the log has every request as JSON, the way it came, without what was searched for', async () => {
  await fetch(`${nginx.url}/api/logged?q=secret`, { method: 'DELETE' })
  await fetch(`${nginx.url}/api/busy?q=secret`)
  await sendRaw(nginx.port, 'PROPFIND /api/"quoted"?q=secret HTTP/1.1\r\nHost: a\r\n\r\n')
  const id = received().find(({ method }) => method === 'DELETE')?.headers['x-request-id']
  // Each worker writes its own lines when their time has come.
  await waitFor('the log to be written', 10_000, async () => {
    const lines = (await nginx.log()).filter(({ path }) => /logged|quoted/.test(String(path)))
    return lines.length === 2
  })
  const log = await nginx.log()
  expect(log.find(({ requestId }) => requestId === id)).toEqual({
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$/),
    requestId: id,
    traceId: id,
    remoteAddress: '127.0.0.1',
    method: 'DELETE',
    path: '/api/logged',
    status: 200,
    bytes: expect.any(Number),
    durationMs: expect.any(Number),
    cache: '',
    replica: '',
    readFrom: '',
    upstreamAddress: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
    upstreamStatus: '200',
    upstreamConnectSeconds: expect.stringMatching(/^\d+\.\d+$/),
    upstreamHeaderSeconds: expect.stringMatching(/^\d+\.\d+$/),
    upstreamResponseSeconds: expect.stringMatching(/^\d+\.\d+$/),
  })
  expect(log.find(({ method }) => method === 'PROPFIND')).toMatchObject({ path: '/api/"quoted"', status: 405 })
  expect(JSON.stringify(log)).not.toContain('secret')
})
