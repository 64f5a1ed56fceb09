import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest'
import { buildApp } from '../../apps/ops/app.ts'
import { type Replica, readFigures } from '../../apps/ops/replicas.ts'
import { type Sampling, startSampling } from '../../apps/ops/sampling.ts'
import { createStreams, maxStreams } from '../../apps/ops/streams.ts'
import { valuesOf } from '../../apps/ops/values.ts'
import type { Snapshot, Update } from '../../apps/ops/wire.ts'
import { type Fleet, listen, startFleet } from '../support/api.ts'
import { samplingOptions } from '../support/sampling.ts'
import { freePorts, waitFor } from '../support/servers.ts'
import { startValve } from '../support/valve.ts'

let fleet: Fleet
let ports: number[]
let dir: string
let sampling: Sampling
let app: FastifyInstance
let url: string

type Noted = number | { name: string; port: number; pid?: number }

/** As the launcher does it. */
function noteReplicas(...taken: Noted[]): void {
  noteStack(taken, [])
}

/** With those that it is about to start again. */
function noteStack(taken: Noted[], restarting: { name: string; port: number }[]): void {
  const processes = taken.map((replica, index) => {
    const named = typeof replica === 'number' ? { name: `app-${index + 1}`, port: replica } : replica
    return { role: 'app', pid: process.pid, ...named }
  })
  const others = [{ role: 'redis', name: 'redis', pid: process.pid, port: inject('servers').redisPort }]
  writeFileSync(
    join(dir, 'stack.json'),
    JSON.stringify({
      processes: [...processes, ...others],
      restarting: restarting.map((one) => ({ role: 'app', ...one })),
    }),
  )
}

beforeAll(async () => {
  fleet = await startFleet({}, 3)
  ports = (await listen(fleet)).map((address) => Number(address.split(':').at(-1)))
  dir = mkdtempSync(join(tmpdir(), 'brigade-ops-'))
  noteReplicas(...ports.slice(0, 2))
  // In the database of the fleet, which drops it.
  sampling = startSampling(samplingOptions(fleet.mongo.connection.name, join(dir, 'stack.json')))
  app = await buildApp({ ...sampling, logger: pino({ level: 'silent' }) })
  const [port = 0] = await freePorts(1)
  await app.listen({ host: '127.0.0.1', port })
  url = `http://127.0.0.1:${port}`
})
afterAll(async () => {
  await app?.close()
  await sampling?.close()
  await fleet?.close()
  rmSync(dir, { recursive: true })
})

const snapshot = async () => (await (await fetch(`${url}/ops/snapshot`)).json()) as Snapshot
const latest = async (name: string) => (await snapshot()).history.series[name]?.at(-1) ?? null
const replicas = async () => (await snapshot()).state.nodes.filter(({ kind }) => kind === 'app')

/** Until those at these ports are all that there are, and ready. */
const waitForPorts = (...wanted: number[]) =>
  waitFor('these replicas', 10_000, async () => {
    const nodes = await replicas()
    const isReady = (port: number) => nodes.some(({ id, health }) => id === `app 127.0.0.1:${port}` && health === 'ok')
    return nodes.length === wanted.length && wanted.every(isReady)
  })

/** A reader of the stream; `read` waits for the next event. */
async function openStream() {
  const response = await new Promise<IncomingMessage>((resolve, reject) =>
    get(`${url}/ops/stream`, { agent: false }, resolve).on('error', reject),
  )
  onTestFinished(() => void response.destroy())
  response.setEncoding('utf8')
  let text = ''
  response.on('data', (chunk) => {
    text += chunk
  })
  response.on('error', () => {})
  return {
    response,
    async read<T>(): Promise<{ event: string; data: T }> {
      await waitFor('an event', 10_000, async () => /event: .*\ndata: .*\n\n/.test(text))
      const [whole = '', event = '', data = ''] = /event: (.*)\ndata: (.*)\n\n/.exec(text) ?? []
      text = text.slice(text.indexOf(whole) + whole.length)
      return { event, data: JSON.parse(data) as T }
    },
  }
}

describe('the samples', () => {
  test('say what replicas served, and not what ops itself asks of them', async () => {
    await waitFor('both replicas', 10_000, async () => {
      const nodes = await replicas()
      return nodes.length === 2 && nodes.every(({ health }) => health === 'ok')
    })
    expect((await replicas()).map(({ name }) => name)).toEqual(['app-1', 'app-2'])
    await waitFor('a first rate', 10_000, async () => (await latest('requests.rate')) === 0)
    await waitFor('the requests to be seen', 20_000, async () => {
      await Promise.all(ports.slice(0, 2).map((port) => fetch(`http://127.0.0.1:${port}/api/restaurants?limit=1`)))
      return ((await latest('requests.rate')) ?? 0) > 0 && ((await latest('reads.secondary')) ?? 0) > 0
    })
    const { history } = await snapshot()
    for (const name of ['latency.p50', 'latency.p95', 'latency.p99']) {
      expect(history.series[name]?.at(-1)).toBeGreaterThan(0)
    }
    expect(history.series['errors.rate']?.at(-1)).toBe(0)
    expect(history.series['memory.redis']?.at(-1)).toBeGreaterThan(2 ** 20)
    expect(history.series['cpu.machine']?.at(-1)).toBeGreaterThan(0)
  })

  test('find a replica that is new within five seconds, and let go of one that is gone', async () => {
    noteReplicas(...ports)
    const sinceMs = Date.now()
    await waitFor(
      'the third',
      10_000,
      async () => (await replicas()).filter(({ health }) => health === 'ok').length === 3,
    )
    expect(Date.now() - sinceMs).toBeLessThan(5_000)
    noteReplicas(...ports.slice(0, 2))
    await waitFor('the third to be gone', 10_000, async () => (await replicas()).length === 2)
    await waitFor('both to be told', 5_000, async () => {
      const { events } = await snapshot()
      const told = events.filter(({ text }) => text.startsWith('app-3')).map(({ kind }) => kind)
      return told.join() === 'replica-joined,replica-left'
    })
  })

  /** Until the test ends. */
  async function putValveBeforeSecond() {
    const valve = await startValve(ports[1] ?? 0)
    noteReplicas(ports[0] ?? 0, valve.port)
    onTestFinished(() => noteReplicas(...ports.slice(0, 2)))
    await waitForPorts(ports[0] ?? 0, valve.port)
    return valve
  }

  test('go on every second while a replica hangs', async () => {
    const valve = await putValveBeforeSecond()
    const sinceMs = Date.now()
    valve.shut()
    await waitFor('it to be down', 10_000, async () => (await replicas())[1]?.health === 'down')
    expect((await replicas())[1]?.detail).toBe('no answer')
    // What it does is not known; until then it was what it had told last.
    await waitFor('the sum to be unknown', 5_000, async () => (await latest('requests.replicas')) === null)
    const before = (await snapshot()).history.timesMs.length
    await sleep(4_000)
    const { history, state } = await snapshot()
    expect(history.timesMs.length - before).toBeGreaterThanOrEqual(3)
    expect(state.nodes.filter(({ kind, health }) => kind === 'app' && health === 'ok')).toHaveLength(1)
    expect(state.nodes.filter(({ kind, health }) => kind === 'mongod' && health === 'ok')).toHaveLength(3)
    valve.open()
    await waitFor('it to be back', 10_000, async () => (await replicas())[1]?.health === 'ok')
    const told = (await snapshot()).events.filter(({ timeMs, kind }) => timeMs >= sinceMs && kind.startsWith('replica'))
    expect(told.map(({ kind, text }) => `${kind}: ${text}`)).toEqual([
      'replica-down: app-2 does not answer',
      'replica-up: app-2 answers again',
    ])
    await waitFor('the sum to be known', 5_000, async () => (await latest('requests.replicas')) !== null)
  })

  test('take one slow answer for nothing', async () => {
    const valve = await putValveBeforeSecond()
    const sinceMs = Date.now()
    valve.shut()
    // Longer than the time from one question to the end of the next.
    await sleep(1_950)
    valve.open()
    const states = new Set<string | undefined>()
    while (Date.now() - sinceMs < 4_000) {
      states.add((await replicas())[1]?.health)
      await sleep(200)
    }
    expect([...states]).toEqual(['ok'])
  })

  test('say that a replica died and is back, and not that it has left', async () => {
    const pid = process.ppid
    const crashing = { name: 'app-2', port: ports[1] ?? 0 }
    onTestFinished(() => noteReplicas(...ports.slice(0, 2)))
    noteReplicas(...ports.slice(0, 2))
    await waitForPorts(...ports.slice(0, 2))
    const sinceMs = Date.now()
    const told = async () =>
      (await snapshot()).events
        .filter(({ timeMs, kind }) => timeMs >= sinceMs && kind.startsWith('replica'))
        .map(({ kind, text }) => `${kind}: ${text}`)
    const down = 'replica-down: app-2 does not answer: its process has ended'
    noteStack([ports[0] ?? 0], [crashing])
    await expect.poll(told, { timeout: 5_000 }).toEqual([down])
    noteReplicas(ports[0] ?? 0, { ...crashing, pid })
    await expect.poll(told, { timeout: 5_000 }).toEqual([down, 'replica-up: app-2 answers again'])
    await expect.poll(async () => (await replicas()).map(({ name }) => name)).toEqual(['app-1', 'app-2'])
    // So quickly that nobody saw that it was away.
    noteReplicas(ports[0] ?? 0, crashing)
    await expect
      .poll(async () => (await told()).slice(2), { timeout: 5_000 })
      .toEqual([down, 'replica-up: app-2 answers again'])
  })

  test('take one that was never ready for one that starts, and not for one that is down', async () => {
    const [nobody = 0] = await freePorts(1)
    onTestFinished(() => noteReplicas(...ports.slice(0, 2)))
    noteReplicas(ports[0] ?? 0, ports[1] ?? 0, nobody)
    await waitFor('it', 10_000, async () => (await replicas()).length === 3)
    await sleep(4_500)
    expect((await replicas())[2]).toMatchObject({ name: 'app-3', health: 'starting' })
    const metrics = await (await fetch(`${url}/metrics`)).text()
    expect(metrics).toContain('replica_up{replica="app-1"} 1')
    expect(metrics).not.toContain('replica_up{replica="app-3"}')
  })

  test('are sorted by name, whoever came last', async () => {
    onTestFinished(() => noteReplicas(...ports.slice(0, 2)))
    const [first = 0, second = 0, third = 0] = ports
    noteReplicas({ name: 'app-10', port: first }, { name: 'app-2', port: second }, { name: 'app-1', port: third })
    await expect
      .poll(async () => (await replicas()).map(({ name }) => name), { timeout: 10_000 })
      .toEqual(['app-1', 'app-2', 'app-10'])
  })

  test('do not count what ops itself has replicas do as connections in use', async () => {
    const inUse = async () => {
      const { series } = (await snapshot()).history
      return Object.entries(series).flatMap(([name, values]) =>
        name.startsWith('pool.inuse.') ? values.slice(-8) : [],
      )
    }
    await waitFor('eight seconds without a request', 25_000, async () => {
      const values = await inUse()
      return values.length >= 8 && values.every((value) => value === 0 || value === null) && values.includes(0)
    })
  })

  test('read the metrics that a replica exports by their names', async () => {
    const text = await (await fetch(`http://127.0.0.1:${ports[0]}/metrics`)).text()
    const { counters, gauges } = readFigures(text)
    expect(Object.keys(counters)).toEqual(
      expect.arrayContaining(['requests', 'errors', 'latency|0.5', 'latency|Infinity', 'cpu']),
    )
    expect(gauges.memory).toBeGreaterThan(2 ** 20)
  })
})

test('figures of a replica are summed to what is shown', () => {
  const text = `# HELP http_request_duration_seconds Time
http_request_duration_seconds_bucket{le="0.1",method="GET",route="/api/orders",status_code="200"} 3
http_request_duration_seconds_bucket{le="0.1",method="GET",route="/api/users",status_code="503"} 1
http_request_duration_seconds_bucket{le="+Inf",method="GET",route="/api/orders",status_code="200"} 4
http_request_duration_seconds_bucket{le="+Inf",method="GET",route="/metrics",status_code="200"} 99
http_request_duration_seconds_count{method="GET",route="/api/orders",status_code="200"} 4
http_request_duration_seconds_count{method="GET",route="/api/users",status_code="503"} 2
http_request_duration_seconds_count{method="GET",route="/readyz",status_code="503"} 99
brigade_cache_lookups_total{layer="redis",outcome="hit"} 7
brigade_mongo_pool_connections{member="mongo-1",state="open"} 10
brigade_mongo_pool_connections{member="mongo-1",state="in_use"} 2
brigade_mongo_pool_max_connections 50
brigade_mongo_command_duration_seconds_bucket{command="find",member="mongo-2",le="0.1"} 5
brigade_mongo_command_duration_seconds_bucket{command="insert",member="mongo-1",le="0.1"} 5
brigade_mongo_command_duration_seconds_count{command="find",member="mongo-2"} 6
nonsense {
brigade_http_connections NaN
`
  expect(readFigures(text)).toEqual({
    counters: {
      requests: 6,
      errors: 2,
      'latency|0.1': 4,
      'latency|Infinity': 4,
      'cache|hit': 7,
      'query|0.1': 5,
      'queries|mongo-2': 6,
    },
    gauges: { 'pool.open|mongo-1': 10, 'pool.inuse|mongo-1': 2, 'pool.max': 50 },
  })
})

test('the fullest pool is that of one replica, not of all together', () => {
  const usedBy = (inUse: number) => ({
    rates: () => ({}),
    isSilent: () => false,
    gauges: { 'pool.inuse|mongo-1': inUse, 'pool.inuse|mongo-2': 1, 'pool.max': 50 },
  })
  const current = () => [usedBy(5), usedBy(45), usedBy(5)] as unknown as Replica[]
  const values = valuesOf({ ...sampling.sources, replicas: { ...sampling.sources.replicas, current } }, [], 0)
  expect([values['pool.fullest'], values['pool.max']]).toEqual([0.9, 150])
})

describe('the stream', () => {
  test('begins with the history and goes on with a sample each second; so does the next one', async () => {
    for (let time = 0; time < 2; time++) {
      const { response, read } = await openStream()
      expect(response.headers['content-type']).toBe('text/event-stream')
      const first = await read<Snapshot>()
      expect(first.event).toBe('history')
      const { history, state } = first.data
      expect(history.timesMs.length).toBeGreaterThan(0)
      for (const column of Object.values(history.series)) expect(column).toHaveLength(history.timesMs.length)
      expect(state.nodes.length).toBeGreaterThan(4)
      let lastMs = history.timesMs.at(-1) ?? 0
      for (let second = 0; second < 2; second++) {
        const { event, data } = await read<Update>()
        expect(event).toBe('sample')
        expect(data.sample.timeMs).toBeGreaterThan(lastMs)
        lastMs = data.sample.timeMs
      }
      response.destroy()
    }
  })

  test('has so many readers at the most, and takes others when some have gone', async () => {
    const readers = []
    for (let reader = 0; reader < maxStreams; reader++) readers.push(await openStream())
    const refused = await fetch(`${url}/ops/stream`)
    expect(refused.status).toBe(503)
    expect(refused.headers.get('content-type')).toMatch(/^application\/problem\+json/)
    await refused.body?.cancel()
    for (const { response } of readers) response.destroy()
    await waitFor('room', 10_000, async () => {
      const response = await fetch(`${url}/ops/stream`)
      await response.body?.cancel()
      return response.ok
    })
  })

  test('is dropped for a reader who takes nothing, however much is sent', { timeout: 60_000 }, async () => {
    const streams = createStreams({
      snapshot: () => ({ history: { timesMs: [], series: {} }, state: { nodes: [], advice: [] }, events: [] }),
      subscribe: sampling.watch.subscribe,
    })
    const stream = streams.open()
    const other = streams.open()
    other?.resume()
    await waitFor('it to be dropped', 45_000, async () => streams.count() === 1)
    expect([stream?.destroyed, other?.destroyed]).toEqual([true, false])
    // A dozen samples, not all that could have been sent.
    expect(stream?.readableLength).toBeLessThan(200_000)
    streams.end()
  })

  test('is ended for all when they are to connect anew', async () => {
    const { response, read } = await openStream()
    await read()
    const ended = new Promise((resolve) => response.on('end', resolve))
    expect((await fetch(`${url}/streams`, { method: 'DELETE' })).status).toBe(204)
    await ended
  })
})

describe('the targets for Prometheus', () => {
  const targets = async () => (await (await fetch(`${url}/ops/targets`)).json()) as unknown
  const ops = () => ({ targets: [new URL(url).host], labels: { job: 'ops', instance: 'ops' } })
  const replica = (index: number, name: string) => ({
    targets: [`127.0.0.1:${ports[index]}`],
    labels: { job: 'app', instance: name },
  })

  test('are each replica by its name and ops itself, at addresses that have metrics', async () => {
    const expected = [replica(0, 'app-1'), replica(1, 'app-2'), ops()]
    await expect.poll(targets, { timeout: 10_000 }).toEqual(expected)
    expect((await fetch(`${url}/ops/targets`)).headers.get('content-type')).toMatch(/^application\/json(; |$)/)
    for (const address of expected.flatMap((entry) => entry.targets)) {
      expect(await (await fetch(`http://${address}/metrics`)).text()).toMatch(/^# HELP /)
    }
  })

  test('have no two of the same name, and are ops alone where there is no replica', async () => {
    onTestFinished(() => noteReplicas(...ports.slice(0, 2)))
    noteReplicas({ name: 'app-1', port: ports[0] ?? 0 }, { name: 'app-1', port: ports[2] ?? 0 })
    await expect.poll(targets, { timeout: 10_000 }).toEqual([replica(2, 'app-1'), ops()])
    noteReplicas()
    await expect.poll(targets, { timeout: 10_000 }).toEqual([ops()])
  })
})

describe('an answer', () => {
  test('of the dashboard lets a page load its own files only, and is not kept', async () => {
    const { headers } = await fetch(`${url}/ops/snapshot`)
    expect(headers.get('content-security-policy')).toMatch(/^default-src 'none'/)
    expect(headers.get('content-security-policy')).not.toMatch(/unsafe|https?:|\*/)
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('x-request-id')).toMatch(/^[0-9a-f]{32}$/)
  })

  test('has the files of the charts, and none from elsewhere', async () => {
    const { status, headers } = await fetch(`${url}/ops/assets/uplot/uPlot.iife.min.js`)
    expect(status).toBe(200)
    expect(headers.get('content-type')).toMatch(/javascript/)
    for (const path of ['/ops/assets/../app.ts', '/ops/assets/%2e%2e/app.ts', '/ops/assets/..%2fapp.ts', '/nothing']) {
      expect((await fetch(`${url}${path}`)).status).toBe(404)
    }
  })
})

// The page itself is looked at in test/stack/dashboard.test.ts.
const index = join(import.meta.dirname, '../../apps/ops/page/index.html')
test.skipIf(!existsSync(index))('the page is there, and every file that it names', async () => {
  for (const path of ['/ops', '/ops/']) {
    const response = await fetch(`${url}${path}`)
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
    const named = [...(await response.text()).matchAll(/(?:src|href)="(\/[^"]+)"/g)].map((match) => match[1])
    expect(named.length).toBeGreaterThan(3)
    for (const file of named) expect([file, (await fetch(`${url}${file}`)).status]).toEqual([file, 200])
  }
  for (const file of ['README.md', 'tsconfig.json']) expect((await fetch(`${url}/ops/assets/${file}`)).status).toBe(404)
})

test('the metrics are those of the README, with the labels that it names', async () => {
  const readme = readFileSync(join(import.meta.dirname, '../../apps/ops/README.md'), 'utf8')
  const rows = [...readme.matchAll(/^\| `([a-z_]+)` \|(.*?)\| (counter|gauge) \|/gm)]
  const documented = rows.map(([, name, labels = '', type]) => {
    return [name, type, [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label)]
  })
  let text = ''
  await waitFor('all to be measured', 20_000, async () => {
    text = await (await fetch(`${url}/metrics`)).text()
    return (
      /^mongodb_replication_lag_seconds\{member="mongo-\d"\} \d/m.test(text) &&
      text.includes('\nmongodb_operations_total{')
    )
  })
  const exported = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name, type]) => {
    const sample = new RegExp(`^${name}(?:\\{(.*)\\})? `, 'm').exec(text)
    const labels = sample ? [...(sample[1] ?? '').matchAll(/(\w+)="/g)].map(([, label]) => label) : undefined
    return [name, type, labels ?? documented.find(([other]) => other === name)?.[2]]
  })
  expect(documented.sort()).toEqual(exported.sort())
})
