import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { OpsEvent, Snapshot } from '../../apps/ops/wire.ts'
import { isRunning } from '../../infra/process-table.ts'
import { command, type Launcher, launch, newDataDir, removeStack } from '../support/launcher.ts'
import { freePorts, waitFor } from '../support/servers.ts'

const checkout = join(import.meta.dirname, '../..')
const env = {
  SAMPLE_DATA: 'false',
  RATE_LIMIT_MAX: '1000000000',
  BRIGADE_CACHE_DIR: process.env.BRIGADE_CACHE_DIR ?? join(checkout, '.cache'),
}

let launcher: Launcher
beforeAll(async () => {
  const [port = 0] = await freePorts(1)
  launcher = launch({ dataDir: newDataDir(), port, args: ['--replicas', '2'], env })
  await launcher.ready()
})
afterAll(async () => {
  await removeStack(launcher.dataDir)
})

const snapshot = async () => (await (await fetch(`${launcher.url}/ops/snapshot`)).json()) as Snapshot
const nodes = async (kind: string) => (await snapshot()).state.nodes.filter((node) => node.kind === kind)
const eventsSince = async (sinceMs: number, ...kinds: OpsEvent['kind'][]) =>
  (await snapshot()).events.filter(({ timeMs, kind }) => timeMs >= sinceMs && kinds.includes(kind))
const api = async () => (await fetch(`${launcher.url}/api/restaurants?limit=1`)).status

const allWell = (replicas: number) =>
  waitFor('everything to be well', 60_000, async () => {
    const { state } = await snapshot()
    const unwell = state.nodes.filter(({ health }) => health !== 'ok')
    return unwell.length === 0 && state.nodes.filter(({ kind }) => kind === 'app').length === replicas
  })

/** A dashboard that is open. */
async function openStream(): Promise<{ response: IncomingMessage; ended: Promise<unknown>; text: () => string }> {
  const response = await new Promise<IncomingMessage>((resolve, reject) =>
    get(`${launcher.url}/ops/stream`, { agent: false }, resolve).on('error', reject),
  )
  onTestFinished(() => void response.destroy())
  let text = ''
  response.on('data', (chunk) => {
    text += chunk
  })
  response.on('error', () => {})
  return { response, ended: new Promise((resolve) => response.on('close', resolve)), text: () => text }
}

describe('the dashboard of a stack', { timeout: 120_000 }, () => {
  test('is told at the start, listed and shows every process', async () => {
    expect(launcher.said()).toMatch(/dashboard +http:\/\/localhost:\d+\/ops\n/)
    const { pid, port } = launcher.process('ops')
    expect((await command(launcher.dataDir, 'status')).said).toMatch(new RegExp(`ops +ops +${pid} +${port} +ready`))
    await allWell(2)
    const names = (await snapshot()).state.nodes.map(({ name }) => name)
    expect(names).toEqual(launcher.processes().map(({ name }) => name))
    await waitFor('CPU and memory of all', 20_000, async () => {
      const all = (await snapshot()).state.nodes
      return all.every(({ cpu, memoryBytes }) => cpu !== undefined && memoryBytes !== undefined)
    })
  })

  test('shows what Nginx answers, by its log', async () => {
    await waitFor('requests to be seen', 20_000, async () => {
      for (let request = 0; request < 5; request++) expect(await api()).toBe(200)
      const { series } = (await snapshot()).history
      return (series['requests.rate']?.at(-1) ?? 0) > 0 && (series['cache.edge']?.at(-1) ?? 0) > 0
    })
  })

  test('follows a scale out and in, and an open stream does not hold it up', async () => {
    const sinceMs = Date.now()
    const stream = await openStream()
    expect(await command(launcher.dataDir, 'scale', 'app=3')).toMatchObject({ status: 0 })
    await waitFor('the stream to be ended', 10_000, async () => stream.response.destroyed)
    await waitFor('the third replica', 5_000, async () => (await nodes('app')).length === 3)
    await allWell(3)
    const again = await openStream()
    await waitFor('the history', 10_000, async () => again.text().includes('event: history'))
    const scaleInMs = performance.now()
    expect(await command(launcher.dataDir, 'scale', 'app=2')).toMatchObject({ status: 0 })
    // Old workers are given fifteen seconds. An open stream must not use them up.
    expect(performance.now() - scaleInMs).toBeLessThan(12_000)
    await again.ended
    await allWell(2)
    const told = await eventsSince(sinceMs, 'replica-joined', 'replica-left')
    expect(told.map(({ kind, text }) => `${kind} ${text.split(' ')[0]}`)).toEqual([
      'replica-joined app-3',
      'replica-left app-3',
    ])
  })

  test('tells of a primary that dies, and of the next; no lag is negative, nor grows by it', async () => {
    const sinceMs = Date.now()
    const before = (await nodes('mongod')).find(({ role }) => role === 'primary')?.name ?? ''
    process.kill(launcher.process(before).pid, 'SIGKILL')
    await waitFor('an election', 30_000, async () => (await eventsSince(sinceMs, 'election')).length > 0)
    const [election] = await eventsSince(sinceMs, 'election')
    const primaryNow = async () => (await nodes('mongod')).find(({ role }) => role === 'primary')?.name ?? before
    await waitFor('the next primary', 10_000, async () => (await primaryNow()) !== before)
    expect(election?.text).toBe(`${await primaryNow()} is primary after ${before}`)
    await allWell(2)
    await waitFor('the lag of all', 30_000, async () => {
      const { series } = (await snapshot()).history
      return ['mongo-1', 'mongo-2', 'mongo-3'].every((name) => (series[`lag.${name}`]?.at(-1) ?? 1_000) < 500)
    })
    const { timesMs, series } = (await snapshot()).history
    const first = timesMs.findIndex((timeMs) => timeMs >= sinceMs)
    const lags = ['mongo-1', 'mongo-2', 'mongo-3'].flatMap((name) => series[`lag.${name}`]?.slice(first) ?? [])
    expect(lags).toContain(null)
    expect(lags.filter((lagMs) => lagMs !== null && lagMs < 0)).toEqual([])
  })

  test('tells of a secondary that is away and comes back', async () => {
    const sinceMs = Date.now()
    const { name = '' } = (await nodes('mongod')).find(({ role }) => role === 'secondary') ?? {}
    const { pid } = launcher.process(name)
    // Longer away than its supervisor takes to start it again.
    process.kill(pid, 'SIGSTOP')
    try {
      await waitFor('it to be down', 20_000, async () => (await eventsSince(sinceMs, 'member-down')).length > 0)
      await waitFor('the alert', 15_000, async () => {
        const fired = await eventsSince(sinceMs, 'alert-fired')
        return fired.some(({ text }) => text.startsWith('Members'))
      })
      const node = (await nodes('mongod')).find((other) => other.name === name)
      expect([node?.health, node?.detail]).toEqual(['down', 'down'])
      expect((await snapshot()).history.series[`lag.${name}`]?.at(-1)).toBeNull()
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await waitFor('it to be up', 20_000, async () => (await eventsSince(sinceMs, 'member-up')).length > 0)
    await waitFor('the alert to clear', 30_000, async () => {
      const cleared = await eventsSince(sinceMs, 'alert-cleared')
      return cleared.some(({ text }) => text.startsWith('Members'))
    })
    await allWell(2)
  })

  test('tells of a replica that is killed that it is down and up again, and not that it has left', async () => {
    const sinceMs = Date.now()
    process.kill(launcher.process('app-1').pid, 'SIGKILL')
    await waitFor('it to be up', 60_000, async () => (await eventsSince(sinceMs, 'replica-up')).length > 0)
    const told = await eventsSince(sinceMs, 'replica-joined', 'replica-left', 'replica-down', 'replica-up')
    const ofKilled = told.filter(({ text }) => text.startsWith('app-1 ')).map(({ kind }) => kind)
    expect(ofKilled).toEqual(['replica-down', 'replica-up'])
    await allWell(2)
    expect((await nodes('app')).map(({ name }) => name)).toEqual(['app-1', 'app-2'])
  })

  test('logs times as replicas and Nginx do, and has Nginx log no file that is missing', () => {
    const logOf = (name: string) => readFileSync(join(launcher.dataDir, 'logs', `${name}.log`), 'utf8')
    const [first = '{}'] = logOf('ops').split('\n')
    expect(JSON.parse(first).time).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
    expect(logOf('nginx')).not.toContain('failed (2:')
  })

  test('costs the API nothing when it dies or hangs, and comes back', async () => {
    const { pid } = launcher.process('ops')
    process.kill(pid, 'SIGSTOP')
    for (let request = 0; request < 20; request++) expect(await api()).toBe(200)
    process.kill(pid, 'SIGKILL')
    for (let request = 0; request < 20; request++) {
      expect(await api()).toBe(200)
      await sleep(50)
    }
    await waitFor('ops to be back', 30_000, async () => launcher.said().includes('ops is ready again'))
    const stream = await openStream()
    await waitFor('the history', 10_000, async () => stream.text().includes('event: history'))
  })

  test('does not hold up the end', async () => {
    const stream = await openStream()
    const processes = launcher.processes()
    expect(await command(launcher.dataDir, 'stop')).toMatchObject({ status: 0 })
    await stream.ended
    expect(await launcher.ended).toBe(0)
    expect(launcher.said()).not.toContain('was killed')
    expect(processes.filter(isRunning)).toEqual([])
  })
})

test('a stack whose dashboard does not start serves all the same, and says so', { timeout: 120_000 }, async () => {
  const root = mkdtempSync(join(tmpdir(), 'brigade checkout '))
  const [port = 0] = await freePorts(1)
  const dataDir = newDataDir()
  onTestFinished(async () => {
    await removeStack(dataDir)
    rmSync(root, { recursive: true })
  })
  for (const name of ['apps', 'infra', 'nginx', 'package.json', 'package-lock.json']) {
    cpSync(join(checkout, name), join(root, name), { recursive: true })
  }
  symlinkSync(join(checkout, 'node_modules'), join(root, 'node_modules'))
  writeFileSync(join(root, 'apps/ops/main.ts'), "throw new Error('broken on purpose')\n")
  const broken = launch({ root, dataDir, port, args: ['--replicas', '1'], env })
  await broken.ready()
  expect(broken.said()).toContain('there is no dashboard: ops ended before it was ready')
  expect(broken.said()).toContain('broken on purpose')
  expect(broken.said()).not.toMatch(/dashboard +http/)
  expect((await fetch(`${broken.url}/api/restaurants`)).status).toBe(200)
  expect((await fetch(`${broken.url}/ops`)).status).toBe(503)
  expect((await command(dataDir, 'status')).said).toMatch(/ops +ops +- +\d+ +stopped/)
})
