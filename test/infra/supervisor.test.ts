import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { accepts } from '../../infra/probes.ts'
import { isRunning, membersOfGroup, type ProcessIdentity } from '../../infra/process-table.ts'
import { type Program, type State, Supervised } from '../../infra/supervisor.ts'
import { freePorts, waitFor } from '../support/servers.ts'

let dir: string
let port: number
let told: string[]

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'brigade-supervisor-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  ;[port = 0] = await freePorts(1)
  told = []
})

const listens = 'require("node:net").createServer().listen(process.env.PORT, "127.0.0.1");'
const never = new AbortController().signal

function supervise(script: string, change: Partial<Program> = {}): { supervised: Supervised; states: State[] } {
  const states: State[] = []
  const supervised: Supervised = new Supervised(
    {
      role: 'app',
      name: 'app-1',
      port,
      command: process.execPath,
      args: ['-e', script],
      env: { PORT: `${port}` },
      cwd: dir,
      logPath: join(dir, 'app-1.log'),
      isReady: () => accepts('127.0.0.1', port),
      readyWithinMs: 20_000,
      stopSignal: 'SIGTERM',
      ...change,
    },
    { tell: (message) => told.push(message), onChange: () => states.push(supervised.state) },
  )
  onTestFinished(() => supervised.kill())
  return { supervised, states }
}

const identityOf = (supervised: Supervised) => supervised.identity as ProcessIdentity

test('starts a program, waits until it is ready, and ends it', async () => {
  const { supervised, states } = supervise(listens)
  await supervised.start(never)
  expect(supervised.state).toBe('ready')
  const identity = identityOf(supervised)
  expect(isRunning(identity)).toBe(true)
  await supervised.stop(5_000)
  expect(isRunning(identity)).toBe(false)
  expect(supervised.identity).toBeUndefined()
  expect([...new Set(states)]).toEqual(['starting', 'ready', 'stopping', 'stopped'])
  expect(told).toEqual([])
})

test('one that ends before it is ready is reported with the end of its log', async () => {
  const { supervised } = supervise('process.stderr.write("no such database"); process.exitCode = 7')
  const attempt = supervised.start(never)
  await expect(attempt).rejects.toThrow('app-1 ended before it was ready (with status 7)')
  await expect(attempt).rejects.toThrow('no such database')
  expect(supervised.restarts).toBe(0)
})

test('one that does not become ready in time is ended', async () => {
  const { supervised } = supervise('setInterval(() => {}, 1000)', { readyWithinMs: 500 })
  const attempt = supervised.start(never)
  const identity = identityOf(supervised)
  await expect(attempt).rejects.toThrow('app-1 was not ready within 0.5 s')
  expect(isRunning(identity)).toBe(false)
})

test('one that cannot be run at all is reported', async () => {
  const { supervised } = supervise('', { command: join(dir, 'nothing') })
  await expect(supervised.start(never)).rejects.toThrow('ENOENT')
})

test('one that dies is started again, each time it does', async () => {
  const { supervised } = supervise(listens)
  await supervised.start(never)
  for (const restarts of [1, 2]) {
    const { pid } = identityOf(supervised)
    process.kill(pid, 'SIGKILL')
    await waitFor(
      'the next process',
      20_000,
      async () => supervised.state === 'ready' && supervised.restarts === restarts,
    )
    expect(identityOf(supervised).pid).not.toBe(pid)
    expect(told).toContain(`app-1 (pid ${pid}) ended by SIGKILL; starting it again`)
  }
  await supervised.stop(5_000)
  expect(supervised.state).toBe('stopped')
})

test('one that does not heed its signal is killed, with all that it started', async () => {
  const child = `require("node:child_process").spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);`
  const { supervised } = supervise(`process.on("SIGTERM", () => {}); ${child} ${listens}`)
  await supervised.start(never)
  const { pid } = identityOf(supervised)
  expect(membersOfGroup(pid)).toHaveLength(2)
  await supervised.stop(200)
  expect(told).toEqual(['app-1 did not end within 0.2 s and was killed'])
  await waitFor('the child to be gone too', 5_000, async () => membersOfGroup(pid).length === 0)
})

test('a start can be given up', async () => {
  const { supervised } = supervise('setInterval(() => {}, 1000)')
  const giveUp = new AbortController()
  const attempt = supervised.start(giveUp.signal)
  const identity = identityOf(supervised)
  giveUp.abort(new Error('no longer wanted'))
  await expect(attempt).rejects.toThrow('no longer wanted')
  await supervised.stop(5_000)
  expect(isRunning(identity)).toBe(false)
  await expect(supervised.start(giveUp.signal)).rejects.toThrow('no longer wanted')
})

test('is stopped by two at once as by one', async () => {
  // The second signal would end it by its default.
  const counts =
    'process.once("SIGTERM", () => { process.stdout.write("SIGTERM\\n"); setTimeout(() => process.exit(), 300) });'
  const { supervised } = supervise(`${counts} ${listens}`)
  await supervised.start(never)
  await Promise.all([supervised.stop(5_000), supervised.stop(5_000)])
  expect(readFileSync(join(dir, 'app-1.log'), 'utf8')).toBe('SIGTERM\n')
  expect(told).toEqual([])
})
