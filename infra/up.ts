/** The local launcher: starts a stack, keeps it running, and stops it in reverse order. `npm start` runs it. */
import { readFileSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseStart, type StartOptions, startUsage } from './arguments.ts'
import { findBinaries } from './binaries.ts'
import { type Commands, serveControl } from './control.ts'
import { type DataDir, openDataDir, takeLock } from './data-dir.ts'
import { Failure } from './failure.ts'
import { whyNotFree } from './free-port.ts'
import { endLeftovers } from './leftovers.ts'
import { boundLogs } from './logs.ts'
import { keepEdgeCache } from './nginx-cache.ts'
import { publicHosts } from './nginx-place.ts'
import { runOnce } from './one-shot.ts'
import { claimPorts } from './ports.ts'
import { listenerOn } from './process-table.ts'
import { replicaCheck } from './replica.ts'
import { ensureSecrets, secrets } from './secrets.ts'
import { Stack } from './stack.ts'
import { host, memberNames, type Site } from './topology.ts'

const root = dirname(import.meta.dirname)
/** npm and the terminal may both pass on one Ctrl-C. */
const sameSignalMs = 500
const boundLogsEveryMs = 60_000
const keepEdgeCacheEveryMs = 1_000

const startedAt = Date.now()
const audience = new Set<(message: string) => void>([(message) => process.stdout.write(`${message}\n`)])
const tell = (message: string) => {
  for (const listener of audience) listener(message)
}

const stopping = new AbortController()
let stopSignal: NodeJS.Signals | undefined
let stack: Stack | undefined

process.exitCode = await main().catch((error) => {
  process.stderr.write(`${error instanceof Failure ? error.message : error.stack}\n`)
  return error instanceof Failure ? error.exitCode : 1
})

/** Returns the exit status. */
async function main(): Promise<number> {
  const options = parseStart(process.argv.slice(2), { root, cwd: process.env.INIT_CWD ?? process.cwd() })
  if (options === 'help') {
    tell(startUsage)
    return 0
  }
  listenToSignals()
  const url = `http://localhost:${options.port}`
  tell(`Brigade: data in ${options.dataDir}`)
  const dataDir = openDataDir(options.dataDir, memberNames)
  const unlock = takeLock(dataDir.path, url)
  const end = Promise.withResolvers<void>()
  const control = await serveControl(dataDir.path, commands(dataDir, url, end.promise))
  try {
    await endLeftovers(dataDir.path, tell)
    const site = await prepare(options, dataDir)
    stopping.signal.throwIfAborted()
    stack = new Stack(site, url, tell)
    await stack.start(options.replicas)
    stopping.signal.throwIfAborted()
    tell(summary(url, dataDir, stack.hasOps))
    const logKeeper = setInterval(() => boundLogs(dataDir.logs), boundLogsEveryMs)
    const cacheKeeper = setInterval(() => keepCache(dataDir), keepEdgeCacheEveryMs)
    await new Promise((resolve) => stopping.signal.addEventListener('abort', resolve))
    clearInterval(logKeeper)
    clearInterval(cacheKeeper)
    return 0
  } catch (error) {
    if (!stopping.signal.aborted) throw error
    return stopSignal === 'SIGINT' ? 130 : 143
  } finally {
    if (stack) {
      tell('stopping')
      await stack.stop()
      tell('everything has ended')
    }
    end.resolve()
    control.close()
    rmSync('control.sock', { force: true })
    unlock()
  }
}

function keepCache(dataDir: DataDir): void {
  try {
    keepEdgeCache(dataDir)
  } catch {
    // It is tried again, and ending the stack would help nobody.
  }
}

/** Everything that can be checked and found before the first process is started. */
async function prepare(options: StartOptions, dataDir: DataDir): Promise<Site> {
  const publicAddresses = await claimPublicPort(options.port)
  const ports = await claimPorts(dataDir.path, options.port)
  const { signal } = stopping
  const site = { root, dataDir, publicPort: options.port, publicAddresses, ports, env: process.env }
  const cacheDir = resolve(root, process.env.BRIGADE_CACHE_DIR || '.cache')
  await checkSettings(site, signal)
  const binaries = await findBinaries({ env: process.env, cacheDir, tell: (message) => tell(`  ${message}`), signal })
  for (const [name, { path, version, source }] of Object.entries(binaries)) {
    tell(`  ${name} ${version} (${source === 'PATH' ? path : source})`)
  }
  return { ...site, binaries }
}

/** @throws Failure that names every setting that is not right */
async function checkSettings(site: Omit<Site, 'binaries'>, signal: AbortSignal): Promise<void> {
  const problems = ensureSecrets(site.dataDir.secrets, process.env)
  const check = await runOnce(replicaCheck(site, problems.length === 0), { signal })
  if (check.status !== 0) problems.unshift(...check.lines)
  try {
    publicHosts(site.env)
  } catch (error) {
    problems.push((error as Error).message)
  }
  if (problems.length > 0) throw new Failure(problems.join('\n'))
}

/** Returns the loopback addresses on which Nginx can listen. */
async function claimPublicPort(port: number): Promise<string[]> {
  const addresses: string[] = []
  for (const address of [host, '::1']) {
    const problem = await whyNotFree(port, address)
    if (problem === undefined) {
      addresses.push(address)
    } else if (problem === 'EACCES') {
      throw new Failure(`Port ${port} needs root: choose one above 1023 by npm start -- --port P.`)
    } else if (problem === 'EADDRINUSE' || address === host) {
      const by =
        problem === 'EADDRINUSE' ? `taken by ${listenerOn(port) ?? 'another process'}` : `of no use: ${problem}`
      throw new Failure(`Port ${port} is ${by}. Choose another one by npm start -- --port P.`)
    }
  }
  return addresses
}

function commands(dataDir: DataDir, url: string, ended: Promise<void>): Commands {
  const running = () => {
    if (!stack) throw new Failure('The stack is still being started. Try again in a few seconds.')
    return stack
  }
  return {
    status: async () => ({
      url,
      dataDir: dataDir.path,
      launcher: { pid: process.pid, uptimeMs: Date.now() - startedAt },
      processes: (await stack?.status()) ?? [],
    }),
    scale: (count, listener) => heardBy(listener, (say) => running().scale(count, say)),
    restart: (listener) => heardBy(listener, (say) => running().restart(say)),
    stop: (listener) =>
      heardBy(listener, async () => {
        stop('SIGTERM')
        await ended
      }),
  }
}

/** Lets whoever gave a command hear everything that is told while it is carried out. */
async function heardBy(listener: (message: string) => void, work: (tell: (message: string) => void) => Promise<void>) {
  audience.add(listener)
  try {
    await work(tell)
  } finally {
    audience.delete(listener)
  }
}

function stop(signal: NodeJS.Signals): void {
  stopSignal ??= signal
  stopping.abort(new Failure('stopped'))
  if (!stack) return
  // A start that is under way gives up by this; one that is done is ended by main.
  void stack.stop()
}

function listenToSignals(): void {
  let firstAt = 0
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (!firstAt) {
        firstAt = Date.now()
        stop(signal)
      } else if (Date.now() - firstAt > sameSignalMs) {
        tell('killing everything')
        stack?.kill()
        process.exit(130)
      }
    })
  }
  process.on('uncaughtException', (error) => {
    process.stderr.write(`${error.stack}\n`)
    stack?.kill()
    process.exit(1)
  })
  // A terminal or pipe that is gone must not take the stack with it in disorder.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
}

function summary(url: string, dataDir: DataDir, hasOps: boolean): string {
  const password = readFileSync(join(dataDir.secrets, secrets.demoPassword.file), 'utf8').trim()
  const logIn = [
    `  log in as    customer@brigade.example or owner@brigade.example`,
    `               password ${password}`,
  ]
  return [
    '',
    `Brigade is ready after ${((Date.now() - startedAt) / 1_000).toFixed(1)} s.`,
    '',
    `  API          ${url}`,
    `  reference    ${url}/docs`,
    ...(hasOps ? [`  dashboard    ${url}/ops`] : []),
    ...(process.env.SAMPLE_DATA === 'false' ? [] : logIn),
    `  logs         ${dataDir.logs}`,
    '',
    '  npm run status · npm run scale -- app=5 · npm run restart · npm stop, or Ctrl-C here',
    ...(dataDir.path === join(root, '.brigade') ? [] : [`  each with    --data-dir ${JSON.stringify(dataDir.path)}`]),
    '',
  ].join('\n')
}
