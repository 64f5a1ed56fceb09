import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { METHODS, request } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import {
  Client,
  type Fleet,
  fleetForTest,
  listen,
  newEmail,
  openRestaurant,
  signUp,
  startFleet,
} from '../support/api.ts'
import { waitFor } from '../support/servers.ts'

let fleet: Fleet
let port: number
beforeAll(async () => {
  fleet = await startFleet({}, 1)
  const [url = ''] = await listen(fleet)
  port = Number(new URL(url).port)
})
afterAll(() => fleet.close())

async function metricsText(of = fleet): Promise<string> {
  return (await new Client(of).call('/metrics')).body
}

/** Values by name and labels, as they are written. */
async function series(of = fleet): Promise<Map<string, number>> {
  const lines = (await metricsText(of)).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )
}

async function metric(name: string, of = fleet): Promise<number | undefined> {
  return (await series(of)).get(name)
}

describe('the metrics', () => {
  test('are those that the README lists, with their labels', async () => {
    const readme = readFileSync(join(import.meta.dirname, '../../apps/data/README.md'), 'utf8')
    const [, section = ''] = readme.split('\n## Metrics\n')
    const listed = [...section.matchAll(/^\| `(\w+)` \|([^|]*)\|/gm)].map(([, name = '', labels = '']) => [
      name,
      [...labels.replaceAll(/: [^;|]*/g, '').matchAll(/`(\w+)`/g)].map(([, label]) => label).sort(),
    ])
    const user = await signUp(fleet)
    await user.call('/api/orders')
    const served = [...(await metricsText()).matchAll(/^# TYPE (\w+)/gm)]
      .map(([, name = '']) => name)
      .filter((name) => !/^(process|nodejs)_/.test(name))
    expect(listed.map(([name]) => name).sort()).toEqual(served.sort())
    const all = [...(await series()).keys()]
    for (const [name, labels] of listed as [string, string[]][]) {
      const one = all.find((key) => key.replace(/_(bucket|sum|count)?(?=\{|$)/, '').startsWith(name))
      const found = [...(one ?? '').matchAll(/(\w+)="/g)].map(([, label]) => label).filter((label) => label !== 'le')
      if (one?.includes('{') && found.length > 0) expect([name, found.sort()]).toEqual([name, labels])
    }
  })

  const hasPromtool = spawnSync('promtool', ['--version']).status === 0
  test.skipIf(!hasPromtool)('are as Prometheus wants them', async () => {
    await signUp(fleet)
    // It complains on standard error and by its status.
    expect(execFileSync('promtool', ['check', 'metrics'], { input: await metricsText(), encoding: 'utf8' })).toBe('')
  })

  test('have buckets that tell quantiles from a millisecond to ten seconds', async () => {
    await new Client(fleet).call('/api/restaurants')
    for (const name of ['http_request_duration_seconds', 'brigade_mongo_command_duration_seconds']) {
      const first = [...(await series()).keys()].find((key) => key.startsWith(`${name}_bucket`))
      const labels = first?.replace(/le="[^"]*",?/, '')
      const bounds = [...(await series()).keys()]
        .filter((key) => key.startsWith(`${name}_bucket`) && key.replace(/le="[^"]*",?/, '') === labels)
        .map((key) => Number(/le="([^"]*)"/.exec(key)?.[1]?.replace('+Inf', 'Infinity')))
      expect([bounds[1], bounds.at(-2), bounds.at(-1)]).toEqual([0.001, 10, Number.POSITIVE_INFINITY])
      // What advice and alerts ask about is a bound, not a guess.
      for (const threshold of [0.1, 0.5]) expect(bounds).toContain(threshold)
      const widest = Math.max(...bounds.slice(1, -1).map((bound, index) => bound / (bounds[index] ?? 0)))
      expect(widest).toBeLessThanOrEqual(2)
      expect(Math.max(...bounds.slice(2, -1).map((bound, index) => bound / (bounds[index + 1] ?? 0)))).toBeLessThan(
        1.67,
      )
    }
  })
})

describe('a scan', () => {
  test('of ten thousand unknown paths and of all methods adds no series', async () => {
    const { server } = fleet.replicas[0] ?? {}
    const scan = async (from: number, until: number) => {
      for (let number = from; number < until; number++) {
        // One in a hundred where the limit of requests counts too.
        await server?.inject({ url: `${number % 100 === 0 ? '/api' : ''}/${number}/index.php?x=${number}` })
      }
    }
    const probe = (method: string, path: string) =>
      new Promise<void>((resolve, reject) => {
        const sent = request({ port, host: '127.0.0.1', method, path, agent: false }, (response) => {
          response.resume().on('end', resolve)
        })
        sent.on('error', reject).end()
      })
    // CONNECT and what is no HTTP gets an end of the connection.
    const strange = METHODS.filter((method) => !/^(CONNECT|GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$/.test(method))
    await scan(0, 200)
    for (const method of strange) await probe(method, '/0')
    const before = [...(await series()).keys()]
    await scan(200, 10_200)
    for (const method of strange) await probe(method, `/${method}`)
    for (const method of strange) await probe(method, `/api/${method}`)
    const after = [...(await series()).keys()]
    expect(after.filter((key) => !before.includes(key) && !/^(nodejs|process)_/.test(key))).toEqual([])
    expect(await metric('http_request_duration_seconds_count{method="GET",route="unknown",status_code="404"}')).toBe(
      10_200,
    )
  }, 120_000)

  test('leaves what is known countable, however many label values there are', async () => {
    const { createMeasurements } = await import('../../apps/api/plugins/metrics.ts')
    const measurements = createMeasurements(fleet.mongo)
    onTestFinished(() => measurements.close())
    for (let number = 0; number < 10_000; number++) measurements.reads.command('find', `member-${number}`, 0.001)
    measurements.reads.command('find', 'member-0', 0.001)
    const text = await measurements.registry.metrics()
    const counts = [...text.matchAll(/^brigade_mongo_command_duration_seconds_count\{(.*)\} (\d+)$/gm)]
    expect(counts).toHaveLength(501)
    expect(counts.find(([, labels]) => labels?.includes('member="member-0"'))?.[2]).toBe('2')
    expect(counts.find(([, labels]) => labels?.includes('member="other"'))?.[2]).toBe('9500')
  })

  test('of paths that cannot be decoded is counted', async () => {
    const key = 'http_request_duration_seconds_count{method="GET",route="unknown",status_code="400"}'
    const before = (await metric(key)) ?? 0
    await new Client(fleet).call('/api/%zz')
    expect(await metric(key)).toBe(before + 1)
  })
})

test('commands are counted by name and member', async () => {
  const owner = await signUp(fleet)
  const restaurant = await openRestaurant(owner)
  await owner.call(`/api/restaurants/${restaurant.id}`, { method: 'PATCH', body: { name: 'Other' } })
  await owner.call('/api/restaurants?near=-73.9855,40.758')
  const keys = [...(await series()).keys()].filter((key) =>
    key.startsWith('brigade_mongo_command_duration_seconds_count'),
  )
  const [commands, members] = ['command', 'member'].map((label) => [
    ...new Set(keys.map((key) => new RegExp(`${label}="([^"]*)"`).exec(key)?.[1])),
  ])
  expect(commands?.sort()).toEqual(['aggregate', 'find', 'findAndModify', 'insert'])
  for (const member of members ?? []) expect(member).toMatch(/^mongo-[123]$/)
})

test('what is open and under way is seen while it is, and no longer', async () => {
  const connections = await metric('brigade_http_connections')
  const socket = connect(port, '127.0.0.1')
  onTestFinished(() => {
    socket.destroy()
  })
  socket.write(
    'POST /api/sessions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{',
  )
  await waitFor('the request to be under way', 10_000, async () => {
    return (await metric('brigade_http_requests_in_flight')) === 1
  })
  expect(await metric('brigade_http_connections')).toBe((connections ?? 0) + 1)
  socket.destroy()
  await waitFor('the request to be gone', 10_000, async () => {
    return (await metric('brigade_http_requests_in_flight')) === 0
  })
  await waitFor('the connection to be gone', 10_000, async () => {
    return (await metric('brigade_http_connections')) === connections
  })
})

test('the event loop is busy for some of the time', async () => {
  await waitFor('a second to pass', 10_000, async () => ((await metric('brigade_eventloop_utilization')) ?? 0) > 0)
  expect(await metric('brigade_eventloop_utilization')).toBeLessThanOrEqual(1)
})

test('a turn of the event loop that took long is seen', async () => {
  await metric('nodejs_eventloop_lag_max_seconds')
  const untilMs = performance.now() + 300
  while (performance.now() < untilMs);
  // Two turns: of this one it is known when the next has begun.
  for (let turns = 0; turns < 2; turns++) await new Promise((resolve) => setTimeout(resolve, 1))
  expect(await metric('nodejs_eventloop_lag_max_seconds')).toBeGreaterThan(0.2)
  expect(await metric('nodejs_eventloop_lag_p50_seconds')).toBeLessThan(0.2)
})

test('refusals are counted from nothing on', async () => {
  const limited = await fleetForTest({ LOGIN_LIMIT_MAX: '2', RATE_LIMIT_MAX: '20' }, 1)
  const counted = async () => {
    const all = await series(limited)
    const names = ['requests', 'logins_of_account', 'logins_of_address']
    return [
      ...names.map((limit) => all.get(`brigade_rate_limited_requests_total{limit="${limit}"}`)),
      all.get('brigade_login_failures_total'),
    ]
  }
  expect(await counted()).toEqual([0, 0, 0, 0])
  const client = new Client(limited)
  const email = newEmail()
  for (let tries = 0; tries < 4; tries++) await client.post('/api/sessions', { email, password: 'wrong horse' })
  expect(await counted()).toEqual([0, 2, 0, 2])
  for (let tries = 0; tries < 17; tries++) await client.call('/api/restaurants')
  expect(await counted()).toEqual([1, 2, 0, 2])
  const guesser = new Client(limited)
  for (let tries = 0; tries < 11; tries++) {
    await guesser.post('/api/sessions', { email: newEmail(), password: 'wrong horse' })
  }
  expect(await counted()).toEqual([1, 2, 1, 12])
})

test('operations on sessions are timed', async () => {
  const timed = await fleetForTest({}, 1)
  const user = await signUp(timed)
  await user.call('/api/sessions')
  await user.call('/api/sessions/current', { method: 'DELETE' })
  const keys = [...(await series(timed)).keys()]
  const operations = keys.flatMap((key) => /^brigade_session_store_\w+_count\{operation="(\w+)"/.exec(key)?.[1] ?? [])
  expect(operations.sort()).toEqual(expect.arrayContaining(['get', 'list', 'open', 'revoke', 'set']))
})
