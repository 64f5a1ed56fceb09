import { createHash } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Failure } from './failure.ts'
import { isFree } from './free-port.ts'
import { listenerOn } from './process-table.ts'
import { host, memberNames, type Ports } from './topology.ts'

// Below 32768, where Linux begins to give ports to outgoing connections: a client must never sit on a port of ours.
const firstBlock = 10_000
const blockSize = 100
const blockCount = 220
const endingMs = 5_000
const blocksToTry = 40
const inBlock = { mongo: 0, redis: 10, status: 20, ops: 21, apps: 30 }

/** The block of ports that a data directory would like to have: the same at every start, another one for most others. */
export function preferredBlock(dataDir: string): number {
  const hash = createHash('sha256').update(dataDir).digest().readUInt32BE()
  return firstBlock + (hash % blockCount) * blockSize
}

export function portsOfBlock(block: number): Ports {
  return {
    mongo: memberNames.map((_, index) => block + inBlock.mongo + index),
    redis: block + inBlock.redis,
    status: block + inBlock.status,
    ops: block + inBlock.ops,
    apps: { first: block + inBlock.apps, last: block + blockSize - 1 },
  }
}

/**
 * The internal ports of a stack: those remembered in its data directory, else a free block, which is then remembered,
 * since the members of a replica set know each other by host and port.
 *
 * @param publicPort the port of Nginx, which no other process may get
 * @throws Failure if a port is taken that cannot move
 */
export async function claimPorts(dataDir: string, publicPort: number): Promise<Ports> {
  const path = join(dataDir, 'ports.json')
  const remembered = readPorts(path)
  const ports = remembered ? await repairPorts(remembered, path, publicPort) : await freshPorts(dataDir, publicPort)
  if (JSON.stringify(ports) !== JSON.stringify(remembered)) {
    writeFileSync(`${path}.new`, `${JSON.stringify(ports)}\n`)
    renameSync(`${path}.new`, path)
  }
  return ports
}

/** The remembered ports of a data directory; undefined if it has none yet. */
export function readPorts(path: string): Ports | undefined {
  if (!existsSync(path)) return undefined
  try {
    const ports = JSON.parse(readFileSync(path, 'utf8')) as Ports
    // Directories from before there was an ops have no port for it.
    ports.ops ??= ports.status + inBlock.ops - inBlock.status
    const all = [...ports.mongo, ports.redis, ports.status, ports.ops, ports.apps.first, ports.apps.last]
    if (ports.mongo.length === memberNames.length && all.every((port) => Number.isInteger(port))) return ports
  } catch {
    // Told below, together with what is no valid content.
  }
  throw new Failure(
    `${path} is damaged. It names the ports by which the members of the replica set know each other; mongod's own logs beside it still name them.`,
  )
}

async function freshPorts(dataDir: string, publicPort: number): Promise<Ports> {
  const preferred = preferredBlock(dataDir)
  for (let tried = 0; tried < blocksToTry; tried++) {
    const block = firstBlock + ((preferred - firstBlock + tried * blockSize) % (blockCount * blockSize))
    if (publicPort >= block && publicPort < block + blockSize) continue
    const ports = portsOfBlock(block)
    const needed = [...ports.mongo, ports.redis, ports.status, ports.ops, ports.apps.first]
    const free = await Promise.all(needed.map((port) => isFree(port, host)))
    if (free.every(Boolean)) return ports
  }
  throw new Failure(`No free block of ports was found between ${preferred} and the ${blocksToTry} blocks above it.`)
}

/**
 * A mongod that was just killed may be gone by its pid, while threads of it that are still ending hold its sockets.
 */
async function becomesFree(port: number): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < endingMs; waitedMs += 100) {
    if (await isFree(port, host)) return true
    await sleep(100)
  }
  return isFree(port, host)
}

async function repairPorts(ports: Ports, path: string, publicPort: number): Promise<Ports> {
  for (const [index, port] of ports.mongo.entries()) {
    const name = memberNames[index]
    if (port === publicPort)
      throw new Failure(`Port ${port} belongs to ${name} of this data directory: choose another --port.`)
    if (!(await becomesFree(port))) {
      throw new Failure(
        `Port ${port}, by which the replica set knows its member ${name} (${path}), is taken by ${listenerOn(port) ?? 'another process'}. End that process, then start again.`,
      )
    }
  }
  const taken = new Set([publicPort, ...ports.mongo])
  const claim = async (port: number) => {
    // Redis, the status page and ops may move: nobody outside this start knows where they are.
    for (const candidate of [port, ...range(ports.mongo[0] ?? port, ports.apps.first - 1)]) {
      if (taken.has(candidate) || !(await isFree(candidate, host))) continue
      taken.add(candidate)
      return candidate
    }
    throw new Failure(`Port ${port} is taken by ${listenerOn(port) ?? 'another process'}, and so are those beside it.`)
  }
  return {
    ...ports,
    redis: await claim(ports.redis),
    status: await claim(ports.status),
    ops: await claim(ports.ops),
  }
}

/** A free port for one more replica. */
export async function claimReplicaPort(ports: Ports, taken: Iterable<number>): Promise<number> {
  const inUse = new Set(taken)
  for (const port of range(ports.apps.first, ports.apps.last)) {
    if (!inUse.has(port) && (await isFree(port, host))) return port
  }
  throw new Failure(`No port between ${ports.apps.first} and ${ports.apps.last} is free for another replica.`)
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}
