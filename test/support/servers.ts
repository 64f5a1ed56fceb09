import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { chmod, mkdtemp, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import mongoose from 'mongoose'
import { GenericContainer, getContainerRuntimeClient, type StartedTestContainer, Wait } from 'testcontainers'
import { findBinaries } from '../../infra/binaries.ts'

/** A three-member replica set and a Redis for all test files, with credentials as in production. */
export interface Servers {
  /** Where they run, in words. */
  kind: string
  mongoHosts: string[]
  rootPassword: string
  redisPort: number
  redisPassword: string
  stop(): Promise<void>
}

export const rootUser = 'root'
const members = 3

/** In containers where a Docker daemon answers, else as processes of this machine. */
export async function startServers(): Promise<Servers> {
  const ports = await freePorts(members + 1)
  const rootPassword = randomBytes(16).toString('hex')
  const redisPassword = randomBytes(16).toString('hex')
  const start = (await dockerAnswers()) ? startContainers : startProcesses
  const { kind, stop } = await start(ports, rootPassword, redisPassword)
  const mongoPorts = ports.slice(0, members)
  try {
    await waitFor('a primary', 60_000, () => hasPrimary(mongoPorts[0] ?? 0, rootPassword))
  } catch (error) {
    await stop()
    throw error
  }
  return {
    kind,
    mongoHosts: mongoPorts.map((port) => `127.0.0.1:${port}`),
    rootPassword,
    redisPort: ports[members] ?? 0,
    redisPassword,
    stop,
  }
}

export async function dockerAnswers(): Promise<boolean> {
  try {
    await getContainerRuntimeClient()
    return true
  } catch {
    return false
  }
}

const mongodFlags = (port: number, keyFile: string) => [
  ...['--port', String(port), '--replSet', 'brigade', '--keyFile', keyFile],
  ...['--wiredTigerCacheSizeGB', '0.25', '--oplogSize', '64'],
  ...['--setParameter', 'shutdownTimeoutMillisForSignaledShutdown=0', '--setParameter', 'enableTestCommands=1'],
]

/** As the launcher finds them, with those it has fetched for the project. */
export function findTestBinaries(tell: (message: string) => void = () => {}) {
  return findBinaries({
    env: process.env,
    cacheDir: process.env.BRIGADE_CACHE_DIR ?? join(import.meta.dirname, '../../.cache'),
    tell,
  })
}

export const sayInLog = (message: string) => void process.stdout.write(`${message}\n`)

type Start = (
  ports: number[],
  rootPassword: string,
  redisPassword: string,
) => Promise<{ kind: string; stop(): Promise<void> }>

const startContainers: Start = async (ports, rootPassword, redisPassword) => {
  const mongoPorts = ports.slice(0, members)
  const redisPort = ports[members] ?? 0
  const keyFile = '/tmp/keyfile'
  // mongod insists on a key that only its own user can read, and files that are copied in belong to root.
  const entrypoint = [
    'bash',
    '-c',
    `install -m 400 /keyfile.in ${keyFile} && { [ "$(id -u)" != 0 ] || chown mongodb ${keyFile}; } && exec docker-entrypoint.sh mongod --bind_ip_all "$@"`,
  ]
  const key = { content: randomBytes(96).toString('base64'), target: '/keyfile.in', mode: 0o644 }
  const started: StartedTestContainer[] = []
  const stop = async () => {
    for (const container of started.reverse()) await container.stop({ timeout: 0 })
  }
  try {
    const redis = new GenericContainer('redis:8')
      .withExposedPorts({ container: 6379, host: redisPort })
      .withCommand(['redis-server', '--requirepass', redisPassword])
      .withWaitStrategy(Wait.forLogMessage(/Ready to accept connections/))
    // The members share one network namespace, so that 127.0.0.1 and a port mean the same inside and outside.
    const first = await new GenericContainer('mongo:8')
      .withExposedPorts(...mongoPorts.map((port) => ({ container: port, host: port })))
      .withEnvironment({ MONGO_INITDB_ROOT_USERNAME: rootUser, MONGO_INITDB_ROOT_PASSWORD: rootPassword })
      .withCopyContentToContainer([key])
      .withEntrypoint(entrypoint)
      .withCommand(['mongod', ...mongodFlags(mongoPorts[0] ?? 0, keyFile)])
      .withWaitStrategy(Wait.forLogMessage(/Waiting for connections/, 1))
      .start()
    started.push(first)
    const others = mongoPorts.slice(1).map((port) =>
      new GenericContainer('mongo:8')
        .withNetworkMode(`container:${first.getId()}`)
        .withCopyContentToContainer([key])
        .withEntrypoint(entrypoint)
        .withCommand(['mongod', ...mongodFlags(port, keyFile)])
        .withWaitStrategy(Wait.forLogMessage(/Waiting for connections/))
        .start(),
    )
    const results = await Promise.allSettled([redis.start(), ...others])
    for (const result of results) if (result.status === 'fulfilled') started.push(result.value)
    const failed = results.find((result) => result.status === 'rejected')
    if (failed) throw failed.reason
    await initiate(mongoPorts, rootPassword)
    return { kind: 'containers', stop }
  } catch (error) {
    await stop()
    throw error
  }
}

const startProcesses: Start = async (ports, rootPassword, redisPassword) => {
  const binaries = await findTestBinaries(sayInLog)
  const dir = await mkdtemp(join(tmpdir(), 'brigade-test-'))
  const children: ChildProcess[] = []
  const start = (command: string, args: string[]) => {
    children.push(endWithUs(spawn(command, args, { stdio: 'ignore', cwd: dir }), 'SIGKILL'))
  }
  const remove = () => rmSync(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 })
  process.once('exit', remove)
  const stop = async () => {
    await Promise.all(children.map(endProcess))
    remove()
    process.off('exit', remove)
  }
  try {
    const keyFile = join(dir, 'keyfile')
    await writeFile(keyFile, randomBytes(96).toString('base64'))
    await chmod(keyFile, 0o600)
    const mongoPorts = ports.slice(0, members)
    for (const port of mongoPorts) {
      const data = await mkdtemp(join(dir, 'mongod-'))
      start(binaries.mongod.path, ['--dbpath', data, '--bind_ip', '127.0.0.1', ...mongodFlags(port, keyFile)])
    }
    const redisPort = ports[members] ?? 0
    const redisArguments = [
      '--port',
      String(redisPort),
      '--bind',
      '127.0.0.1',
      '--save',
      '',
      '--requirepass',
      redisPassword,
    ]
    start(binaries.redis.path, redisArguments)
    await initiate(mongoPorts, rootPassword)
    return { kind: 'local processes', stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** As the setup program does it, but with the least that a test needs. */
async function initiate(ports: number[], rootPassword: string): Promise<void> {
  const hosts = ports.map((port) => `127.0.0.1:${port}`)
  const [port = 0] = ports
  const config = {
    _id: 'brigade',
    settings: { chainingAllowed: false, electionTimeoutMillis: 2_000 },
    members: hosts.map((host, index) => ({ _id: index, host, tags: { member: `mongo-${index + 1}` } })),
  }
  await waitFor('every member to answer', 60_000, async () => {
    for (const each of ports) await withAdmin(each, undefined, (admin) => admin.command({ hello: 1 }))
    return true
  })
  // A container's first member has its root user already; a process gets it through the localhost exception.
  const credentials = await withAdmin(port, rootPassword, (admin) => admin.command({ connectionStatus: 1 })).then(
    () => rootPassword,
    () => undefined,
  )
  await withAdmin(port, credentials, (admin) => admin.command({ replSetInitiate: config }))
  if (credentials !== undefined) return
  await waitFor('the first primary', 60_000, () =>
    withAdmin(port, undefined, async (admin) => (await admin.command({ hello: 1 })).isWritablePrimary === true),
  )
  await withAdmin(port, undefined, (admin) =>
    admin.command({ createUser: rootUser, pwd: rootPassword, roles: ['root'], writeConcern: { w: 'majority' } }),
  )
}

async function hasPrimary(port: number, rootPassword: string): Promise<boolean> {
  return withAdmin(port, rootPassword, async (admin) => {
    const { members: found } = await admin.command({ replSetGetStatus: 1 })
    const states = (found as { stateStr: string }[]).map(({ stateStr }) => stateStr)
    return states.includes('PRIMARY') && states.filter((state) => state === 'SECONDARY').length === members - 1
  })
}

async function withAdmin<T>(
  port: number,
  rootPassword: string | undefined,
  run: (admin: mongoose.mongo.Db) => Promise<T>,
): Promise<T> {
  const client = new mongoose.mongo.MongoClient(`mongodb://127.0.0.1:${port}/`, {
    directConnection: true,
    serverSelectionTimeoutMS: 2_000,
    ...(rootPassword === undefined ? {} : { auth: { username: rootUser, password: rootPassword } }),
  })
  try {
    return await run(client.db('admin'))
  } finally {
    await client.close()
  }
}

/** Polls until `check` gives true; what it throws meanwhile is only told when time is up. */
export async function waitFor(what: string, timeoutMs: number, check: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + timeoutMs
  let last: unknown
  while (Date.now() < deadline) {
    try {
      if (await check()) return
      last = undefined
    } catch (error) {
      last = error
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`Waited ${timeoutMs} ms for ${what}`, { cause: last })
}

// By themselves signals end a process without its `exit`, on which the children are ended.
for (const [signal, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 })) {
  process.once(signal, () => process.exit(128 + number))
}

/** Has a child end with this process, also where a signal ends that before any teardown can. */
export function endWithUs<T extends ChildProcess>(child: T, signal: NodeJS.Signals = 'SIGTERM'): T {
  const end = () => child.kill(signal)
  process.once('exit', end)
  child.once('exit', () => process.off('exit', end))
  return child
}

export async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await exited
}

const lowestPort = 22_000
const highestPort = 31_000

/** Ports below those that the system hands out itself, so that no outgoing connection takes one in between. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) {
    const port = lowestPort + Math.floor(Math.random() * (highestPort - lowestPort))
    if (await canListen(port)) ports.add(port)
  }
  return [...ports]
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
