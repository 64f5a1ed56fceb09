/**
 * What counting costs: starts one more replica beside those of a running stack, and prints as a table the share of its CPU
 * time that goes into the modules that count, by V8's sampling profiler.
 *
 *   npm start -- --data-dir DIR
 *   node loadtest/metrics-cost.ts DIR
 *
 * A share of one process in one run: on a shared machine two replicas, one with and one without them, differ by more than
 * counting costs. Takes a minute.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Profiler } from 'node:inspector'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import autocannon from 'autocannon'
import { isFree } from '../infra/free-port.ts'
import { answersOk } from '../infra/probes.ts'
import { findStack, type Stack } from './stack.ts'

const requestsPerRoute = 8_000
const connections = 8
const root = resolve(import.meta.dirname, '..')

const counting =
  /\/apps\/api\/plugins\/(metrics|counting)\.ts$|\/apps\/data\/(pools|commands)\.ts$|\/node_modules\/prom-client\//
// What a hook of theirs hands over to is not theirs.
const others = /\/node_modules\/fastify\//

interface Replica {
  process: ChildProcess
  url: string
}

async function measure(stack: Stack): Promise<void> {
  const replica = await startReplica(stack)
  try {
    const rows = []
    for (const { name, path, headers } of await routesOf(replica.url)) {
      const load = async () => {
        const result = await autocannon({ url: replica.url + path, connections, amount: requestsPerRoute, headers })
        if (result.errors > 0 || result.non2xx > 0) throw new Error(`${name}: not every request was answered`)
      }
      await load()
      await ask(replica, 'start')
      await load()
      const share = shareOfCounting((await ask(replica, 'stop')) as Profiler.Profile)
      rows.push(`| ${name} | ${(share * 100).toFixed(1)} % |`)
    }
    process.stdout.write(['| requests for | counting, of the CPU time |', '| --- | --: |', ...rows, ''].join('\n'))
  } finally {
    await end(replica.process)
  }
}

async function ask({ process: child }: Replica, what: 'start' | 'stop'): Promise<unknown> {
  const answered = once(child, 'message', { signal: AbortSignal.timeout(10_000) })
  child.send(what)
  return (await answered)[0]
}

function shareOfCounting({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): number {
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])))
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const counts = (id: number): boolean => {
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const url = byId.get(at)?.callFrame.url ?? ''
      if (counting.test(url)) return true
      if (others.test(url)) return false
    }
    return false
  }
  let all = 0
  let counted = 0
  for (const [index, id] of samples.entries()) {
    if (byId.get(id)?.callFrame.functionName === '(idle)') continue
    const spent = timeDeltas[index] ?? 0
    all += spent
    if (counts(id)) counted += spent
  }
  return counted / all
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
async function startReplica(stack: Stack): Promise<Replica> {
  const sibling = stack.named('app-1')
  if (!sibling) throw new Error('The stack has no app-1')
  const env = Object.fromEntries(
    readFileSync(`/proc/${sibling.pid}/environ`, 'utf8')
      .split('\0')
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
  const port = await freePort()
  const profiling = `
    import { Session } from 'node:inspector/promises'
    const session = new Session()
    session.connect()
    await session.post('Profiler.enable')
    process.on('message', async (what) => {
      const { profile } = await session.post('Profiler.' + what)
      process.send(profile ?? {})
    })
    process.once('disconnect', () => process.exit())`
  const child = spawn(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(profiling)}`, resolve(root, 'apps/api/main.ts')],
    {
      env: { ...env, PORT: `${port}`, NAME: 'profiled', RATE_LIMIT_MAX: '1000000000' },
      // The channel closes with this process, which ends the replica.
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    },
  )
  for (let tries = 100; !(await answersOk('127.0.0.1', port, '/readyz')); tries--) {
    if (tries > 0 && child.exitCode === null) await sleep(100)
    else {
      await end(child)
      throw new Error('The replica did not start')
    }
  }
  return { process: child, url: `http://127.0.0.1:${port}` }
}

async function freePort(): Promise<number> {
  for (;;) {
    const port = 22_000 + Math.floor(Math.random() * 9_000)
    if (await isFree(port, '127.0.0.1')) return port
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}

const dataDir = process.argv[2] ?? '.brigade'
const { url } = JSON.parse(readFileSync(resolve(dataDir, 'stack.json'), 'utf8')) as { url: string }
await measure(findStack({ url, dataDir }))
