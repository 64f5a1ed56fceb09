import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { identify } from '../../infra/process-table.ts'
import { readStackFile } from '../../infra/stack-file.ts'
import { type Launcher, launch, newDataDir, removeStack, stillRunning } from '../support/launcher.ts'
import { freePorts, waitFor } from '../support/servers.ts'

const dataDirs = [newDataDir(), newDataDir()] as const
const env = { SAMPLE_DATA: 'false' }

afterAll(() => Promise.all(dataDirs.map(removeStack)))

const hasStarted = (launcher: Launcher, name: string) => launcher.processes().some((process) => process.name === name)

test('settings that are not right are named at once, and nothing is started', async () => {
  const [port = 0] = await freePorts(1)
  const launcher = launch({
    dataDir: dataDirs[0],
    port,
    env: { RATE_LIMIT_MAX: 'many', MONGO_MAX_POOL_SIZE: '-1', SESSION_SECRET: 'short', PUBLIC_HOSTS: 'a b' },
  })
  expect(await launcher.ended).toBe(1)
  for (const name of ['RATE_LIMIT_MAX', 'MONGO_MAX_POOL_SIZE', 'SESSION_SECRET', 'PUBLIC_HOSTS']) {
    expect(launcher.said()).toContain(name)
  }
  expect(existsSync(join(dataDirs[0], 'stack.json'))).toBe(false)
})

test('a start that is told to end leaves nothing behind, and the next one goes on', { timeout: 240_000 }, async () => {
  const [port = 0] = await freePorts(1)
  // When the servers have only just been started, and again when a replica has.
  for (const name of ['mongo-3', 'app-1']) {
    const launcher = launch({ dataDir: dataDirs[0], port, env, byNpm: true })
    await waitFor(`${name} to be started`, 90_000, async () => hasStarted(launcher, name))
    const processes = launcher.processes()
    launcher.child.kill('SIGTERM')
    await launcher.ended
    await waitFor('everything to end', 15_000, async () => stillRunning(dataDirs[0], processes).length === 0)
    expect(launcher.said()).not.toContain('Brigade is ready')
    await waitFor('the lock to be given back', 5_000, async () => !existsSync(join(dataDirs[0], 'lock.json')))
    expect(readdirSync(dataDirs[0])).not.toContain('stack.json')
  }
})

test('two stacks run side by side, and a signal to npm ends the one that it started', {
  timeout: 240_000,
}, async () => {
  const [portA = 0, portB = 0] = await freePorts(2)
  const first = launch({ dataDir: dataDirs[0], port: portA, env, byNpm: true, args: ['--replicas', '1'] })
  await first.ready()
  const second = launch({ dataDir: dataDirs[1], port: portB, env, byNpm: true, args: ['--replicas', '1'] })
  await second.ready()
  const ports = [...first.processes(), ...second.processes()].map(({ port }) => port)
  expect(new Set(ports).size).toBe(ports.length)
  expect((await fetch(`${first.url}/api/restaurants`)).status).toBe(200)
  expect((await fetch(`${second.url}/api/restaurants`)).status).toBe(200)

  for (const [launcher, signal] of [
    [first, 'SIGTERM'],
    [second, 'SIGINT'],
  ] as const) {
    const processes = launcher.processes()
    const pid = readStackFile(launcher.dataDir)?.launcher.pid ?? 0
    launcher.child.kill(signal)
    await launcher.ended
    await waitFor('the launcher to end', 15_000, async () => identify(pid) === undefined)
    expect(stillRunning(launcher.dataDir, processes)).toEqual([])
    expect(launcher.said()).toContain('everything has ended')
    if (launcher === first) expect((await fetch(`${second.url}/api/restaurants`)).status).toBe(200)
  }
})
