import { connect, type Socket } from 'node:net'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { Client, type Fleet, fleetForTest, listen } from '../support/api.ts'
import { waitFor } from '../support/servers.ts'

describe('a replica with as many requests as it may have', () => {
  let fleet: Fleet
  let client: Client
  let held: Socket[]
  beforeEach(async () => {
    fleet = await fleetForTest({ MAX_REQUESTS_IN_FLIGHT: '2', BUSY_REQUESTS_IN_FLIGHT: '2' }, 1)
    client = new Client(fleet)
    const [url = ''] = await listen(fleet)
    // The first byte of a body, and no more yet.
    const head =
      'POST /api/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{'
    held = [1, 2].map(() => connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {}))
    for (const socket of held) socket.write(head)
    const sockets = held
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy()
    })
    // Not by what takes a place itself.
    await waitFor('both to be there', 10_000, async () => (await metric('brigade_http_requests_in_flight')) === 2)
  })

  const metric = async (name: string) => {
    const lines = (await client.call('/metrics')).body.split('\n')
    return Number(lines.find((line) => line.startsWith(`${name} `))?.slice(name.length))
  }
  const shed = () => metric('brigade_shed_requests_total{reason="in_flight"}')

  test('refuses the next before it does anything for it, and says when to come again', async () => {
    const before = await shed()
    for (const [method, path] of [
      ['GET', '/api/orders'],
      ['POST', '/api/orders'],
      ['HEAD', '/api/restaurants'],
      ['GET', '/api/nothing'],
      ['GET', '/docs'],
    ] as const) {
      const answer = await client.call(path, { method, ...(method === 'POST' ? { body: {} } : {}) })
      expect([path, answer.statusCode]).toEqual([path, 503])
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
      expect(answer.headers).not.toHaveProperty('ratelimit-limit')
      expect(answer.headers).not.toHaveProperty('set-cookie')
      if (method !== 'HEAD') expect(answer.json()).toMatchObject({ code: 'unavailable' })
    }
    expect((await shed()) - before).toBe(5)
  })

  test('passes some on to other replicas, where Nginx lets it, and no more than a few', async () => {
    const passedOn = async (headers: Record<string, string>) =>
      'x-accel-redirect' in (await client.call('/api/orders', { headers })).headers
    expect(await passedOn({})).toBe(false)
    let count = 0
    while (count < 1_000 && (await passedOn({ 'x-pass-on': '1' }))) count++
    expect(count).toBe(50)
  })

  test('still says how it is', async () => {
    for (const path of ['/livez', '/readyz', '/metrics']) expect((await client.call(path)).statusCode).toBe(200)
  })

  test.each([
    ['answered', (socket: Socket) => socket.write('}')],
    ['given up', (socket: Socket) => socket.destroy()],
  ])('has room again as soon as one is %s', async (_how, end) => {
    end(held[0] as Socket)
    await waitFor('room', 5_000, async () => (await client.call('/api/restaurants')).statusCode === 200)
    expect((await client.call('/api/restaurants')).statusCode).toBe(200)
  })
})

test('a replica whose answers are late on the whole refuses what is more than a few at a time', async () => {
  const fleet = await fleetForTest({ BUSY_REQUESTS_IN_FLIGHT: '1', BUSY_RESPONSE_MS: '1' }, 1)
  const client = new Client(fleet)
  // One that no replica keeps.
  const list = () => client.call('/api/restaurants?near=-73.98,40.75')
  // One after the other they are never refused, however late.
  for (let time = 0; time < 200; time++) expect((await list()).statusCode).toBe(200)
  const answers = await Promise.all(Array.from({ length: 20 }, list))
  expect(answers.filter(({ statusCode }) => statusCode === 200).length).toBeGreaterThan(0)
  expect(answers.filter(({ statusCode }) => statusCode === 503).length).toBeGreaterThan(0)
  expect((await client.call('/metrics')).body).toMatch(/brigade_shed_requests_total\{reason="response_time"\} [1-9]/)
  expect((await list()).statusCode).toBe(200)
})
