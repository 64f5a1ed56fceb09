import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import autocannon from 'autocannon'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { readPorts } from '../../infra/ports.ts'
import { isRunning } from '../../infra/process-table.ts'
import { command, type Launcher, launch, newDataDir, removeStack, stillRunning } from '../support/launcher.ts'
import { freePorts, waitFor } from '../support/servers.ts'

const checkout = join(import.meta.dirname, '../..')
const dataDir = newDataDir()
const account = { email: 'cook@brigade.example', password: 'a password for tests' }

let root: string
let port: number
let launcher: Launcher
// A request with a session is answered by a replica, never by a cache.
let cookie = ''

/** A checkout whose replicas fail while there is a file `broken` in it. */
function breakableCheckout(): string {
  const copy = mkdtempSync(join(tmpdir(), 'brigade checkout '))
  for (const name of ['apps', 'infra', 'nginx', 'package.json', 'package-lock.json']) {
    cpSync(join(checkout, name), join(copy, name), { recursive: true })
  }
  symlinkSync(join(checkout, 'node_modules'), join(copy, 'node_modules'))
  const main = join(copy, 'apps/api/main.ts')
  const check = `import * as files from 'node:fs'
if (files.existsSync(${JSON.stringify(join(copy, 'broken'))})) throw new Error('broken on purpose')
`
  writeFileSync(main, check + readFileSync(main, 'utf8'))
  return copy
}

const start = (args: string[] = []) =>
  launch({
    root,
    dataDir,
    port,
    args,
    env: {
      SAMPLE_DATA: 'false',
      RATE_LIMIT_MAX: '1000000000',
      // A replica that has to share two cores with the load must not take that for an outage of Redis.
      REDIS_COMMAND_TIMEOUT_MS: '10000',
      BRIGADE_CACHE_DIR: process.env.BRIGADE_CACHE_DIR ?? join(checkout, '.cache'),
    },
  })

const post = (path: string, body: unknown) =>
  fetch(`${launcher.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })

const replicas = () => launcher.processes().filter(({ role }) => role === 'app')

/** Requests from many connections for as long as the work takes; returns what went wrong with them. */
async function underLoad(work: () => Promise<void>) {
  const url = `${launcher.url}/api/orders`
  const connections = 40
  const result = Promise.withResolvers<autocannon.Result>()
  const load = autocannon({ url, connections, headers: { cookie }, duration: 600 }, (error, found) =>
    error ? result.reject(error) : result.resolve(found),
  )
  let answers = 0
  load.on('response', () => {
    answers++
  })
  const goOn = (count: number) => waitFor('answers', 60_000, async () => answers > count)
  try {
    // Every connection has been used before anything changes, and is used afterwards.
    await goOn(connections * 10)
    await work()
    await goOn(answers + connections * 10)
  } finally {
    load.stop()
  }
  const { errors, timeouts, non2xx } = await result.promise
  return { errors, timeouts, non2xx }
}

/** Where the edge cache lies, in memory on most systems. */
const edgeCache = () => realpathSync(join(dataDir, 'nginx/tmp/edge'))

const nothing = { errors: 0, timeouts: 0, non2xx: 0 }

beforeAll(async () => {
  root = breakableCheckout()
  ;[port = 0] = await freePorts(1)
  launcher = start()
  await launcher.ready()
})

afterAll(async () => {
  await removeStack(dataDir)
  rmSync(root, { recursive: true })
})

describe('a running stack', { timeout: 120_000 }, () => {
  test('is listed in stack.json, each process with its port', async () => {
    const { url } = JSON.parse(readFileSync(join(dataDir, 'stack.json'), 'utf8'))
    expect(url).toBe(`http://localhost:${port}`)
    const processes = launcher.processes()
    const names = ['nginx', 'app-1', 'app-2', 'app-3', 'redis', 'mongo-1', 'mongo-2', 'mongo-3', 'ops']
    expect(processes.map(({ name }) => name)).toEqual(names)
    for (const process of processes) expect(isRunning(process)).toBe(true)
    expect(launcher.process('nginx').port).toBe(port)
    expect(new Set(processes.map((process) => process.port)).size).toBe(processes.length)
  })

  test('serves, and every replica does', async () => {
    const signUp = await post('/api/users', { ...account, name: 'Cook' })
    expect(signUp.status).toBe(201)
    cookie = signUp.headers.get('set-cookie')?.split(';')[0] ?? ''
    const seen = new Set<string | null>()
    await waitFor('an answer of each replica', 20_000, async () => {
      const { status, headers } = await fetch(`${launcher.url}/api/orders`, { headers: { cookie } })
      expect(status).toBe(200)
      seen.add(headers.get('x-served-by'))
      return seen.size === 3
    })
    expect([...seen].sort()).toEqual(['app-1', 'app-2', 'app-3'])
  })

  test('is shown as a table', async () => {
    const { status, said } = await command(dataDir, 'status')
    expect(status).toBe(0)
    for (const { name, pid, port } of launcher.processes()) {
      expect(said).toMatch(new RegExp(`${name} +${pid} +${port} +ready`))
    }
    const members = said.split('\n').filter((line) => line.startsWith('mongod'))
    expect(members.map((line) => /MiB +(.*)$/.exec(line)?.[1]).sort()).toEqual(['primary', 'secondary', 'secondary'])
  })

  test('keeps a second launcher from its data directory', async () => {
    const second = launch({ dataDir, port: port + 1 })
    expect(await second.ended).toBe(1)
    expect(second.said()).toContain(`launcher pid ${launcher.child.pid}`)
    expect(second.said()).toContain(`http://localhost:${port}`)
    expect((await fetch(`${launcher.url}/healthz`)).status).toBe(200)
  })

  test('keeps another from its port', async () => {
    const other = newDataDir()
    onTestFinished(() => removeStack(other))
    const second = launch({ dataDir: other, port })
    expect(await second.ended).toBe(1)
    expect(second.said()).toMatch(
      new RegExp(`Port ${port} is taken by nginx\\S*, pid ${launcher.process('nginx').pid}`),
    )
    expect(stillRunning(other, [])).toEqual([])
  })

  test.each(['app-2', 'nginx', 'redis', 'mongo-3'])('starts %s again when it dies', async (name) => {
    const { pid } = launcher.process(name)
    process.kill(pid, 'SIGKILL')
    await waitFor(`${name} to be back`, 60_000, async () => launcher.said().includes(`${name} is ready again`))
    expect(launcher.said()).toContain(`${name} (pid ${pid}) ended by SIGKILL; starting it again`)
    expect(launcher.process(name).pid).not.toBe(pid)
    await waitFor('the stack to serve', 30_000, async () => (await fetch(`${launcher.url}/api/restaurants`)).ok)
  })

  test('scales out and in without a request failing', async () => {
    const failures = await underLoad(async () => {
      expect(await command(dataDir, 'scale', 'app=5')).toMatchObject({ status: 0 })
      expect(replicas().map(({ name }) => name)).toEqual(['app-1', 'app-2', 'app-3', 'app-4', 'app-5'])
      const before = replicas()
      expect(await command(dataDir, 'scale', 'app=2')).toMatchObject({ status: 0 })
      expect(replicas().map(({ name }) => name)).toEqual(['app-1', 'app-2'])
      expect(before.filter(isRunning)).toHaveLength(2)
    })
    expect(failures).toEqual(nothing)
  })

  test('restarts its replicas without a request failing', async () => {
    const before = replicas()
    const failures = await underLoad(async () => {
      expect(await command(dataDir, 'restart')).toMatchObject({ status: 0 })
    })
    expect(failures).toEqual(nothing)
    expect(replicas().map(({ name }) => name)).toEqual(before.map(({ name }) => name))
    expect(before.filter(isRunning)).toEqual([])
    expect(replicas().every(isRunning)).toBe(true)
  })

  test('goes on as it was when a new replica does not start', async () => {
    const before = launcher.processes()
    writeFileSync(join(root, 'broken'), '')
    onTestFinished(() => rmSync(join(root, 'broken')))
    for (const words of [['scale', 'app=4'], ['restart']]) {
      const { status, said } = await command(dataDir, ...words)
      expect(status).toBe(1)
      expect(said).toContain('ended before it was ready')
      expect(said).toContain('broken on purpose')
      expect(launcher.processes()).toEqual(before)
      expect((await fetch(`${launcher.url}/api/restaurants`)).status).toBe(200)
    }
  })

  test('refuses a second change while one is being made', async () => {
    const [first, second] = await Promise.all([command(dataDir, 'scale', 'app=3'), command(dataDir, 'scale', 'app=3')])
    expect([first.status, second.status].sort()).toEqual([0, 1])
    expect(first.said + second.said).toContain('scaling to 3 replicas')
  })
})

describe('the next start', { timeout: 180_000 }, () => {
  test('comes after an end that leaves nothing behind', async () => {
    const processes = launcher.processes()
    const cache = edgeCache()
    const { status, said } = await command(dataDir, 'stop')
    expect(status).toBe(0)
    expect(said).toContain('everything has ended')
    expect(await launcher.ended).toBe(0)
    expect(stillRunning(dataDir, processes)).toEqual([])
    expect(existsSync(cache)).toBe(false)
    expect(await command(dataDir, 'status')).toMatchObject({ status: 3 })
    expect(await command(dataDir, 'stop')).toMatchObject({ status: 0, said: `No stack runs on ${dataDir}.\n` })
    expect(await command(dataDir, 'scale', 'app=2')).toMatchObject({ status: 1 })
  })

  test('names who took the port of a member', async () => {
    const [, taken = 0] = readPorts(join(dataDir, 'ports.json'))?.mongo ?? []
    const thief = createServer()
    await new Promise<void>((resolve) => thief.listen(taken, '127.0.0.1', resolve))
    onTestFinished(() => new Promise<void>((resolve) => thief.close(() => resolve())))
    launcher = start()
    expect(await launcher.ended).toBe(1)
    expect(launcher.said()).toContain(`Port ${taken}, by which the replica set knows its member mongo-2`)
    expect(stillRunning(dataDir, [])).toEqual([])
  })

  test('finds the data of the last, also where its launcher was killed', async () => {
    launcher = start(['--replicas', '1'])
    await launcher.ready()
    expect((await post('/api/sessions', account)).status).toBe(201)

    const left = launcher.processes()
    const mark = join(edgeCache(), 'mark')
    writeFileSync(mark, '')
    launcher.child.kill('SIGKILL')
    await launcher.ended
    expect(stillRunning(dataDir, left)).not.toEqual([])
    expect((await command(dataDir, 'status')).said).toContain('Its launcher was killed')

    launcher = start(['--replicas', '2'])
    await launcher.ready()
    expect(launcher.said()).toContain('the launcher of an earlier start was killed')
    expect(left.filter(isRunning)).toEqual([])
    expect(replicas()).toHaveLength(2)
    expect(existsSync(mark)).toBe(false)
    expect((await post('/api/sessions', account)).status).toBe(201)
  })

  test('is followed by an end on SIGINT', async () => {
    const processes = launcher.processes()
    launcher.child.kill('SIGINT')
    expect(await launcher.ended).toBe(0)
    expect(stillRunning(dataDir, processes)).toEqual([])
  })
})
