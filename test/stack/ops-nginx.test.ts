import type { RequestListener } from 'node:http'
import { networkInterfaces } from 'node:os'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type RunningNginx, type StandIn, sendRaw, startNginx, startStandIn } from '../support/nginx.ts'
import { freePorts } from '../support/servers.ts'

// What stands in for ops: says what it is told, and streams on until it is closed.
const answer: RequestListener = (request, response) => {
  if (request.url === '/ops/stream') {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('event: history\ndata: {}\n\n')
    return
  }
  response.writeHead(200, { 'content-type': 'text/html', 'content-security-policy': 'of ops' }).end('dashboard')
}

const outside = Object.values(networkInterfaces())
  .flat()
  .find((address) => address?.family === 'IPv4' && !address.internal)?.address

let ops: StandIn
let replica: StandIn
let nginx: RunningNginx
let farPort: number
beforeAll(async () => {
  ops = await startStandIn('ops', answer)
  replica = await startStandIn('app-1', answer)
  ;[farPort = 0] = await freePorts(1)
  // Also where clients from elsewhere come in.
  const listen = {
    'include place.server.conf;': `include place.server.conf; listen ${outside ?? '127.0.0.1'}:${farPort};`,
  }
  nginx = await startNginx([replica.port], listen, ['*'], ops.port)
})
afterAll(async () => {
  await nginx?.stop()
  await ops?.close()
  await replica?.close()
})
beforeEach(() => {
  ops.requests.length = 0
  replica.requests.length = 0
})

describe('the dashboard', () => {
  test.each(['/ops', '/ops/', '/ops/snapshot', '/ops/assets/page.js', '/ops?x=1'])('is passed on: %s', async (path) => {
    const response = await fetch(`${nginx.url}${path}`)
    expect([response.status, await response.text()]).toEqual([200, 'dashboard'])
    expect(response.headers.get('content-security-policy')).toBe('of ops')
    expect(ops.requests.map(({ url }) => url)).toEqual([path])
    expect(ops.requests[0]?.headers['x-request-id']).toMatch(/^[0-9a-f]{32}$/)
    expect(replica.requests).toEqual([])
  })

  test.each(['/opsx', '/Ops', '//ops', '/ops%2fsnapshot', '/x/../ops', '/ops/../metrics', '/ops/../streams'])(
    'is not what looks like it: %s',
    async (path) => {
      const { status } = await sendRaw(nginx.port, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
      expect(status === 404 || ops.requests.every(({ url }) => url === '/ops%2fsnapshot')).toBe(true)
      expect(replica.requests).toEqual([])
    },
  )

  test('has a stream that is passed on as it comes', async () => {
    const response = await fetch(`${nginx.url}/ops/stream`)
    const reader = response.body?.getReader()
    // It comes although the answer has no end yet.
    const { value } = (await reader?.read()) ?? {}
    expect(new TextDecoder().decode(value)).toContain('event: history')
    await reader?.cancel()
  })

  test.skipIf(outside === undefined)('is not there for who comes from elsewhere', async () => {
    const far = `http://${outside}:${farPort}`
    const [dashboard, nothing] = await Promise.all([fetch(`${far}/ops`), fetch(`${far}/nothing`)])
    expect([dashboard.status, nothing.status]).toEqual([404, 404])
    expect(Object.keys((await dashboard.json()) as object)).toEqual(Object.keys((await nothing.json()) as object))
    const claimed = await fetch(`${far}/ops`, { headers: { 'x-real-ip': '127.0.0.1', 'x-forwarded-for': '127.0.0.1' } })
    expect(claimed.status).toBe(404)
    expect(ops.requests).toEqual([])
    expect((await fetch(`${far}/api/x`)).status).toBe(200)
  })

  test('takes no method that the API does not know', async () => {
    expect((await fetch(`${nginx.url}/ops`, { method: 'PROPFIND' })).status).toBe(405)
    expect(ops.requests).toEqual([])
  })

  test('that is away is a problem of its own, and nothing else is concerned', async () => {
    const alone = await startNginx([replica.port])
    try {
      for (let time = 0; time < 3; time++) {
        const response = await fetch(`${alone.url}/ops`)
        expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1'])
        expect(await response.json()).toMatchObject({ code: 'unavailable', status: 503 })
      }
      expect((await fetch(`${alone.url}/api/x`)).status).toBe(200)
    } finally {
      await alone.stop()
    }
  })
})
