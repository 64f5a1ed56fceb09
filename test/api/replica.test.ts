import { beforeAll, describe, expect, test } from 'vitest'
import type { ProblemBody } from '../support/answers.ts'
import { Client, fleetForFile, fleetForTest, listen, unknownId } from '../support/api.ts'
import { sendRaw } from '../support/nginx.ts'

const fleet = fleetForFile({}, 1)
let port: number
beforeAll(async () => {
  const [url = ''] = await listen(fleet)
  port = Number(new URL(url).port)
})

describe('a replica', () => {
  test('lives, is ready, and tells what it measures', async () => {
    const client = new Client(fleet)
    expect((await client.call('/livez')).json()).toEqual({ status: 'ok' })
    const ready = await client.call('/readyz')
    expect([ready.statusCode, ready.json()]).toEqual([200, { status: 'ok', mongo: 'ok', redis: 'ok' }])
    expect(ready.headers['cache-control']).toBe('no-store')
    await client.call(`/api/restaurants/${unknownId}`)
    await client.call('/api/nothing/at/all')
    const metrics = await client.call('/metrics')
    const counts = metrics.body.split('\n').filter((line) => line.startsWith('http_request_duration_seconds_count'))
    const label = (route: string) => `{method="GET",route="${route}",status_code="404"} 1`
    expect(counts.filter((line) => line.includes('"404"'))).toEqual([
      expect.stringContaining(label('/api/restaurants/:id')),
      expect.stringContaining(label('unknown')),
    ])
  })

  test('that is about to stop says so, and goes on answering', async () => {
    const { replicas, check } = await fleetForTest({}, 1)
    replicas[0]?.health.drain()
    const ask = (url: string) => replicas[0]?.server.inject({ url })
    const ready = await ask('/readyz')
    expect([ready?.statusCode, ready?.json().status]).toEqual([503, 'draining'])
    expect(Number(ready?.headers['retry-after'])).toBeGreaterThan(0)
    const answer = await ask('/api/restaurants')
    expect([answer?.statusCode, answer?.headers.connection]).toEqual([200, 'close'])
    if (answer) check('GET', '/api/restaurants', answer)
  })

  test('answers for a request under the id that Nginx gave to it, and under one of its own to others', async () => {
    const client = new Client(fleet)
    const given = '0123456789abcdef0123456789abcdef'
    const idFor = async (id: string) =>
      (await client.call('/api/restaurants', { headers: { 'x-request-id': id } })).headers['x-request-id']
    expect(await idFor(given)).toBe(given)
    for (const id of ['', 'x', given.toUpperCase(), `${given}0`, `${given}\u00e9`]) expect(await idFor(id)).not.toBe(id)
  })

  test('protects what a browser shows', async () => {
    for (const path of ['/api/restaurants', '/api/nothing', '/docs', '/openapi.json']) {
      const { headers } = await new Client(fleet).call(path)
      expect(headers['x-content-type-options']).toBe('nosniff')
      expect(headers['content-security-policy']).toContain("default-src 'none'")
      expect(headers['content-security-policy']).toContain("frame-ancestors 'none'")
      expect(headers['referrer-policy']).toBe('no-referrer')
    }
  })
})

describe('what is no request', () => {
  test.each<[string, string, number]>([
    ['no HTTP', 'hello\r\n\r\n', 400],
    ['two lengths', 'POST /api/users HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx', 400],
    [
      'a length and chunks',
      'POST /api/users HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
    ['a blank in a name', 'GET /api/restaurants HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n', 400],
    ['an unknown method', 'BREW /api/restaurants HTTP/1.1\r\nHost: x\r\n\r\n', 400],
    ['endless headers', `GET /api/restaurants HTTP/1.1\r\nHost: x\r\nA: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
  ])('is refused as a problem: %s', async (_what, text, status) => {
    const answer = await sendRaw(port, text)
    expect(answer.status).toBe(status)
    expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8')
    const problem = JSON.parse(answer.body) as ProblemBody
    expect(problem).toMatchObject({ status, type: `/problems/${problem.code}` })
    expect(problem.instance.replaceAll('-', '')).toBe(`urn:uuid:${answer.headers['x-request-id']}`)
    expect(answer.headers['x-served-by']).toBe('app-1')
  })
})
