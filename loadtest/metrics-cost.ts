/**
 * What counting costs: starts two more replicas beside those of a running stack, one as it is and one whose modules that
 * count do nothing, and prints as a table the CPU time of both for the same requests, in turns.
 *
 *   npm start -- --data-dir DIR
 *   node loadtest/metrics-cost.ts DIR
 *
 * Needs /proc. Takes two minutes on two cores, which nothing else should use meanwhile.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import autocannon from 'autocannon'
import { isFree } from '../infra/free-port.ts'
import { answersOk } from '../infra/probes.ts'
import { findStack, type Stack } from './stack.ts'

const rounds = 15
const requestsPerRound = 800
const connections = 8
const root = resolve(import.meta.dirname, '..')

interface Variant {
  name: string
  /** Source by the end of a module's path, in place of what is there. */
  modules: Record<string, string>
}

const counting: Variant = { name: 'counting', modules: {} }
const silent: Variant = {
  name: 'silent',
  modules: {
    'apps/api/plugins/metrics.ts': `
      const nothing = () => {}
      export const limits = []
      export const createMeasurements = () => ({
        answered: nothing, reads: undefined, cache: undefined, sessions: undefined, ignoredToken: nothing,
        limited: nothing, loginFailed: nothing, close: nothing,
      })
      export const serveMetrics = nothing`,
    'apps/data/pools.ts': `export const watchPools = () => ({ all: () => [], onWaited: () => () => {} })`,
    'apps/data/commands.ts': `export const watchCommands = () => () => 'other'`,
  },
}

interface Replica {
  variant: Variant
  process: ChildProcess
  url: string
  /** By route: microseconds of CPU per request, one for each round. */
  measured: Map<string, number[]>
}

async function compare(stack: Stack): Promise<void> {
  const replicas: Replica[] = []
  try {
    for (const variant of [counting, silent]) replicas.push(await startReplica(stack, variant))
    const routes = await routesOf(replicas[0]?.url ?? '')
    // Round 0 warms up and is not counted.
    for (let round = 0; round <= rounds; round++) {
      for (const { name, path, headers } of routes) {
        for (const replica of round % 2 === 0 ? replicas : replicas.toReversed()) {
          const before = cpuMicroseconds(replica.process)
          const result = await autocannon({ url: replica.url + path, connections, amount: requestsPerRound, headers })
          if (result.errors > 0 || result.non2xx > 0) throw new Error(`${name}: not every request was answered`)
          const each = (cpuMicroseconds(replica.process) - before) / requestsPerRound
          if (round > 0) replica.measured.set(name, [...(replica.measured.get(name) ?? []), each])
        }
      }
    }
    process.stdout.write(table(routes, replicas))
  } finally {
    for (const replica of replicas) await end(replica.process)
  }
}

function table(routes: Route[], [counts, countsNot]: Replica[]): string {
  const rows = routes.map(({ name }) => {
    const more = counts?.measured.get(name) ?? []
    const less = countsNot?.measured.get(name) ?? []
    // Of what was measured one after the other, since the machine has its moods.
    const shares = more.map((value, round) => value / (less[round] ?? 0) - 1)
    return `| ${name} | ${median(more).toFixed(0)} | ${median(less).toFixed(0)} | ${(median(shares) * 100).toFixed(1)} % |`
  })
  const title = `CPU of a replica in µs per request, median of ${rounds} rounds`
  return [`| ${title} | counting | not counting | more by |`, '| --- | --: | --: | --: |', ...rows, ''].join('\n')
}

interface Route {
  name: string
  path: string
  headers: Record<string, string>
}

async function routesOf(url: string): Promise<Route[]> {
  const { items } = (await (await fetch(`${url}/api/restaurants?limit=1`)).json()) as { items: { id: string }[] }
  const account = { email: `${Date.now()}@example.com`, password: 'correct horse', name: 'Ada' }
  const signedUp = await fetch(`${url}/api/users`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(account),
  })
  const [cookie = ''] = signedUp.headers.getSetCookie().map((line) => line.split(';')[0] ?? '')
  return [
    { name: 'a restaurant, out of the cache', path: `/api/restaurants/${items[0]?.id}`, headers: {} },
    { name: 'a list of 20, from a secondary', path: '/api/restaurants', headers: {} },
    { name: 'a user, with a session', path: '/api/users/me', headers: { cookie } },
  ]
}

/** A replica of the stack, with its settings, out of everybody's way. */
async function startReplica(stack: Stack, variant: Variant): Promise<Replica> {
  const sibling = stack.named('app-1')
  if (!sibling) throw new Error('The stack has no app-1')
  const env = Object.fromEntries(
    readFileSync(`/proc/${sibling.pid}/environ`, 'utf8')
      .split('\0')
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
  const port = await freePort()
  const replacing = `
    import { registerHooks } from 'node:module'
    const modules = Object.entries(${JSON.stringify(variant.modules)})
    process.once('disconnect', () => process.exit())
    registerHooks({
      load(url, context, next) {
        const found = modules.find(([path]) => url.endsWith(path))
        return found ? { format: 'module', source: found[1], shortCircuit: true } : next(url, context)
      },
    })`
  const child = spawn(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(replacing)}`, resolve(root, 'apps/api/main.ts')],
    {
      env: { ...env, PORT: `${port}`, NAME: variant.name, RATE_LIMIT_MAX: '1000000000' },
      // The channel carries nothing and closes with this process, which ends the replica.
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    },
  )
  const replica = { variant, process: child, url: `http://127.0.0.1:${port}`, measured: new Map<string, number[]>() }
  for (let tries = 100; !(await answersOk('127.0.0.1', port, '/readyz')); tries--) {
    if (tries > 0 && child.exitCode === null) await sleep(100)
    else {
      await end(child)
      throw new Error(`The replica ${variant.name} did not start`)
    }
  }
  return replica
}

async function freePort(): Promise<number> {
  for (;;) {
    const port = 22_000 + Math.floor(Math.random() * 9_000)
    if (await isFree(port, '127.0.0.1')) return port
  }
}

/** Of all its threads. */
function cpuMicroseconds({ pid }: ChildProcess): number {
  return readdirSync(`/proc/${pid}/task`)
    .map((thread) => Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1_000)
    .reduce((sum, each) => sum + each, 0)
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return ((sorted[Math.floor(middle)] ?? 0) + (sorted[Math.ceil(middle) - 1] ?? 0)) / 2
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}

const dataDir = process.argv[2] ?? '.brigade'
const { url } = JSON.parse(readFileSync(resolve(dataDir, 'stack.json'), 'utf8')) as { url: string }
await compare(findStack({ url, dataDir }))
