import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { claimPorts, claimReplicaPort, portsOfBlock, preferredBlock } from '../../infra/ports.ts'
import { maxReplicas, type Ports } from '../../infra/topology.ts'

const publicPort = 8080
let dir: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'brigade-ports-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
})

async function occupy(port: number): Promise<void> {
  const server: Server = createServer()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())))
}

const all = ({ mongo, redis, status, ops, apps }: Ports) => [...mongo, redis, status, ops, apps.first, apps.last]

test('lie below those that the system hands out, whatever the directory', () => {
  for (let number = 0; number < 500; number++) {
    const ports = all(portsOfBlock(preferredBlock(`/data/${number}`)))
    expect(Math.min(...ports)).toBeGreaterThan(1_023)
    expect(Math.max(...ports)).toBeLessThan(32_768)
    expect(new Set(ports).size).toBe(ports.length)
  }
})

test('are enough for all replicas and those that take their place', () => {
  const { first, last } = portsOfBlock(preferredBlock('/data')).apps
  expect(last - first + 1).toBeGreaterThanOrEqual(2 * maxReplicas)
})

test('are remembered', async () => {
  const ports = await claimPorts(dir, publicPort)
  expect(await claimPorts(dir, publicPort)).toEqual(ports)
})

test('are others where the preferred ones are taken', async () => {
  const preferred = portsOfBlock(preferredBlock(dir))
  await occupy(preferred.mongo[1] as number)
  const ports = await claimPorts(dir, publicPort)
  expect(all(ports).filter((port) => all(preferred).includes(port))).toEqual([])
})

test('leave out the block in which Nginx listens', async () => {
  const block = preferredBlock(dir)
  expect((await claimPorts(dir, block + 77)).redis).not.toBe(portsOfBlock(block).redis)
})

test('of Redis and of replicas move when they are taken', async () => {
  const ports = await claimPorts(dir, publicPort)
  await occupy(ports.redis)
  await occupy(ports.apps.first)
  const moved = await claimPorts(dir, publicPort)
  expect(moved.mongo).toEqual(ports.mongo)
  expect(moved.redis).not.toBe(ports.redis)
  expect(new Set(all(moved)).size).toBe(all(moved).length)
  expect(await claimReplicaPort(ports, [ports.apps.first + 1])).toBe(ports.apps.first + 2)
})

test('of a member cannot move: who holds it is named', async () => {
  const ports = await claimPorts(dir, publicPort)
  await occupy(ports.mongo[2] as number)
  const attempt = claimPorts(dir, publicPort)
  await expect(attempt).rejects.toThrow(`Port ${ports.mongo[2]}`)
  await expect(attempt).rejects.toThrow('mongo-3')
  if (process.platform === 'linux') await expect(attempt).rejects.toThrow(`pid ${process.pid}`)
  await expect(claimPorts(dir, ports.mongo[0] as number)).rejects.toThrow('choose another --port')
})

test('that nobody can read any more are not guessed', async () => {
  writeFileSync(join(dir, 'ports.json'), '{"mongo": [1')
  await expect(claimPorts(dir, publicPort)).rejects.toThrow('is damaged')
})
