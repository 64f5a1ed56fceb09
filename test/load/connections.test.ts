import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { type Driven, drive, type Outcome } from '../../loadtest/connections.ts'
import { Unpaced } from '../../loadtest/pace.ts'

let server: Server | undefined
afterEach(() => {
  server?.closeAllConnections()
  server?.close()
})

async function listen(answer: RequestListener): Promise<string> {
  server = createServer(answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Asks for `/0`, `/1` and so on, each to be answered by its own path. */
async function askAll(url: string, more: { connections?: number; until: Driven['until'] }) {
  const outcomes: Outcome[] = []
  const told: (string | undefined)[] = []
  let next = 0
  await drive({
    url,
    connections: more.connections ?? 1,
    pace: new Unpaced(),
    until: more.until,
    requestsOf: () => ({
      next: (body?: string) => {
        told.push(body)
        return { done: false, value: { kind: 'any', method: 'GET' as const, path: `/${next++}`, expected: 200 } }
      },
    }),
    onOutcome: (outcome) => {
      outcomes.push(outcome)
      return outcome.body === outcome.request.path
    },
    signal: AbortSignal.timeout(20_000),
  })
  return { outcomes, told }
}

describe('connections', () => {
  test('send so many requests and tell each the answer before', async () => {
    const url = await listen((request, response) => response.end(request.url))
    const { outcomes, told } = await askAll(url, { until: { requests: 5 } })
    expect(outcomes.map(({ status, body }) => [status, body])).toEqual(
      ['/0', '/1', '/2', '/3', '/4'].map((path) => [200, path]),
    )
    expect(told).toEqual([undefined, '/0', '/1', '/2', '/3'])
  })

  test('send again what a connection that was used before took with it, and mix no answers up', async () => {
    const asked = new WeakMap<Socket, number>()
    const url = await listen((request, response) => {
      const count = (asked.get(request.socket) ?? 0) + 1
      asked.set(request.socket, count)
      if (count === 3) request.socket.destroy()
      else response.end(request.url)
    })
    const { outcomes } = await askAll(url, { connections: 2, until: { requests: 60 } })
    expect(outcomes).toHaveLength(60)
    expect(outcomes.filter(({ failure }) => failure !== undefined)).toEqual([])
    expect(outcomes.filter(({ body, request }) => body !== request.path)).toEqual([])
    expect(outcomes.filter(({ retries }) => retries === 1).length).toBeGreaterThanOrEqual(28)
  })

  test('fail a request whose answer breaks off on a new connection, and go on', async () => {
    const url = await listen((request, response) => {
      if (request.url !== '/0') return response.end(request.url)
      response.writeHead(200, { 'content-length': 100 }).write('a part')
      setTimeout(() => request.socket.destroy(), 20)
    })
    const { outcomes } = await askAll(url, { until: { requests: 3 } })
    expect(outcomes.map(({ status, failure }) => [status, failure])).toEqual([
      [0, 'the connection was closed without an answer'],
      [200, undefined],
      [200, undefined],
    ])
  })

  test('open another connection when the server says that it closes this one', async () => {
    const url = await listen((request, response) => response.setHeader('connection', 'close').end(request.url))
    const { outcomes } = await askAll(url, { until: { requests: 10 } })
    expect(outcomes.map(({ body, retries }) => [body, retries])).toEqual(
      Array.from({ length: 10 }, (_, index) => [`/${index}`, 0]),
    )
  })
})
