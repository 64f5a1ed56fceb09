/**
 * What becomes of answers when more is asked for than can be: finds how much a running stack answers at most, then sends
 * half of that, as much, and three times as much, and prints a table.
 *
 *   RATE_LIMIT_MAX=1000000000 npm start -- --data-dir DIR
 *   node loadtest/overload.ts DIR [SECONDS]
 *
 * Times are those of Nginx's log: what offers too much is itself late on a machine that it shares with the stack. Needs
 * /proc. Takes four times SECONDS (20 unless given), in which nothing else should use the machine.
 */
import { readFileSync, statSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import autocannon from 'autocannon'
import { findStack, type Stack } from './stack.ts'

// Enough to keep every process busy, and few enough that nobody waits for long.
const capacityConnections = 24
const shares = [0.5, 1, 3]
const tickMs = 5
// More than this are not sent: it is the generator then that is too slow, and the table says so.
const maxOpen = 4_000
const timeoutMs = 15_000
const probeMs = 100
const recoveredWithinMs = 10_000
// Nginx gathers lines for a second.
const loggedWithinMs = 1_500

interface Call {
  method: 'GET' | 'POST'
  path: string
  headers: Record<string, string>
  body?: string
}

/** What customers do, each with a session, so that no cache of Nginx answers: seven look at orders, two at a menu, one orders. */
async function callsOf(url: string): Promise<Call[]> {
  const json = { 'content-type': 'application/json' }
  const account = { email: `${Date.now()}@example.com`, password: 'correct horse', name: 'Ada' }
  const signedUp = await fetch(`${url}/api/users`, { method: 'POST', headers: json, body: JSON.stringify(account) })
  const cookie = signedUp.headers.getSetCookie()[0]?.split(';')[0] ?? ''
  const { items } = (await (await fetch(`${url}/api/restaurants?limit=1`)).json()) as { items: { id: string }[] }
  const path = `/api/restaurants/${items[0]?.id}`
  const { id, menu } = (await (await fetch(url + path)).json()) as { id: string; menu: { id: string }[] }
  const body = JSON.stringify({ restaurantId: id, items: [{ menuItemId: menu[0]?.id, quantity: 1 }] })
  const orders: Call = { method: 'GET', path: '/api/orders?limit=5', headers: { cookie } }
  const restaurant: Call = { method: 'GET', path, headers: { cookie } }
  const order: Call = { method: 'POST', path: '/api/orders', headers: { cookie, ...json }, body }
  return [orders, orders, restaurant, orders, orders, order, orders, orders, restaurant, orders]
}

interface Outcome {
  offered: number
  seconds: number
  /** Answers below 400 that have arrived. */
  goodput: number
  /** Milliseconds of each answer below 400. */
  answered: number[]
  /** Milliseconds of each 503. */
  refused: number[]
  /** By status, or by the code of what went wrong on the way. */
  failed: Map<string, number>
  notSent: number
  probe: number[]
  probesFailed: number
  peakRssMb: number
  recoveryMs: number
}

/** Sends at the times that were set, whether answers come or not. In its rate mode autocannon sends in one burst a second. */
async function offer(stack: Stack, calls: Call[], perSecond: number, seconds: number): Promise<Outcome> {
  const agent = new Agent({ keepAlive: true, maxSockets: maxOpen })
  const outcome: Outcome = {
    ...{ offered: 0, seconds, goodput: 0, answered: [], refused: [], failed: new Map(), notSent: 0 },
    ...{ probe: [], probesFailed: 0, peakRssMb: 0, recoveryMs: Number.NaN },
  }
  const fail = (why: string) => {
    outcome.failed.set(why, (outcome.failed.get(why) ?? 0) + 1)
  }
  const pending = new Set<Promise<void>>()
  const watching = new AbortController()
  const watched = watch(stack, outcome, watching.signal)
  const log = join(stack.dataDir, 'logs', 'access.log')
  const logged = statSync(log).size
  const begin = performance.now()
  try {
    while (performance.now() - begin < seconds * 1_000) {
      const due = Math.floor(((performance.now() - begin) / 1_000) * perSecond)
      for (; outcome.offered < due; outcome.offered++) {
        if (pending.size >= maxOpen) {
          outcome.notSent++
          continue
        }
        const call = calls[outcome.offered % calls.length] as Call
        const done: Promise<void> = send(agent, stack.url, call)
          .then(
            (status) => {
              if (status < 400) outcome.goodput++
              else fail(`${status}`)
            },
            (error: NodeJS.ErrnoException) => fail(error.code ?? error.message),
          )
          .finally(() => pending.delete(done))
        pending.add(done)
      }
      await sleep(tickMs)
    }
    outcome.recoveryMs = await recovery(stack, calls, agent)
    await Promise.all(pending)
    await sleep(loggedWithinMs)
    for (const line of readFileSync(log).subarray(logged).toString().split('\n').filter(Boolean)) {
      const { status, durationMs } = JSON.parse(line) as { status: number; durationMs: number }
      if (status < 400) outcome.answered.push(durationMs)
      else if (status === 503) outcome.refused.push(durationMs)
    }
    watching.abort()
    await watched
    return outcome
  } finally {
    watching.abort()
    agent.destroy()
  }
}

function send(agent: Agent, url: string, { method, path, headers, body }: Call): Promise<number> {
  return new Promise((done, failed) => {
    const sent = request(url + path, { agent, method, headers, timeout: timeoutMs }, (response) => {
      response.resume()
      response.once('end', () => done(response.statusCode ?? 0))
      response.once('error', failed)
    })
    sent.once('timeout', () => sent.destroy(Object.assign(new Error('timed out'), { code: 'timeout' })))
    sent.once('error', failed)
    sent.end(body)
  })
}

/** Milliseconds until twenty requests in a row, one after the other, are answered. */
async function recovery(stack: Stack, calls: Call[], agent: Agent): Promise<number> {
  const ended = performance.now()
  let since = ended
  for (let inARow = 0; inARow < 20; ) {
    if (performance.now() - ended > recoveredWithinMs) return Number.POSITIVE_INFINITY
    const began = performance.now()
    const status = await send(agent, stack.url, calls[inARow % calls.length] as Call).catch(() => 0)
    if (status > 0 && status < 400) {
      inARow++
      continue
    }
    inARow = 0
    since = performance.now()
    await sleep(Math.max(0, 20 - (since - began)))
  }
  return since - ended
}

/** Asks a replica beside the load whether it lives, and how much memory all of them take. */
async function watch(stack: Stack, outcome: Outcome, signal: AbortSignal): Promise<void> {
  const replicas = stack.processes.filter(({ role }) => role === 'app')
  while (!signal.aborted) {
    const sent = performance.now()
    const probe = replicas[outcome.probe.length % replicas.length]
    const isAlive = await fetch(`http://127.0.0.1:${probe?.port}/livez`, {
      signal: AbortSignal.timeout(timeoutMs),
    }).then(
      async (answer) => {
        await answer.arrayBuffer()
        return answer.ok
      },
      () => false,
    )
    outcome.probe.push(performance.now() - sent)
    if (!isAlive) outcome.probesFailed++
    const rssMb = replicas.reduce((sum, { pid }) => sum + rssOf(pid), 0) / 2 ** 20
    outcome.peakRssMb = Math.max(outcome.peakRssMb, rssMb)
    await sleep(probeMs, undefined, { signal }).catch(() => {})
  }
}

function rssOf(pid: number): number {
  const [, kilobytes = '0'] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1_024
}

async function capacityOf(url: string, calls: Call[], seconds: number): Promise<number> {
  const requests = calls.map(({ method, path, headers, body }) => ({ method, path, headers, body }))
  const run = (duration: number) => autocannon({ url, requests, connections: capacityConnections, duration })
  // Until everything is compiled.
  await run(5)
  const { '2xx': answered, '4xx': limited, duration, errors } = await run(seconds)
  if (errors > 0 || limited > 0) throw new Error(`${errors} errors and ${limited} refusals: is RATE_LIMIT_MAX set?`)
  return answered / duration
}

function percentile(values: number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN
}

function row(share: number, peak: number, outcome: Outcome): string {
  const { offered, seconds, answered, refused, failed, notSent, probe, probesFailed, peakRssMb, recoveryMs } = outcome
  const goodput = outcome.goodput / seconds
  const ms = (value: number) => (Number.isNaN(value) ? '–' : value.toFixed(0))
  const cells = [
    `${share}`,
    (offered / seconds).toFixed(0),
    `${goodput.toFixed(0)} (${((goodput / peak) * 100).toFixed(0)} %)`,
    `${ms(percentile(answered, 50))} / ${ms(percentile(answered, 99))}`,
    `${ms(percentile(refused, 50))} / ${ms(percentile(refused, 99))}`,
    [...failed].map(([why, count]) => `${count} × ${why}`).join(', ') || '–',
    `${notSent}`,
    ms(recoveryMs),
    peakRssMb.toFixed(0),
    `${ms(percentile(probe, 99))}${probesFailed > 0 ? ` (${probesFailed} failed)` : ''}`,
  ]
  return `| ${cells.join(' | ')} |\n`
}

const [dataDir = '.brigade', duration = '20'] = process.argv.slice(2)
const { url } = JSON.parse(readFileSync(resolve(dataDir, 'stack.json'), 'utf8')) as { url: string }
const stack = findStack({ url: url.replace('localhost', '127.0.0.1'), dataDir: resolve(dataDir) })
const calls = await callsOf(stack.url)
const seconds = Number(duration)
const peak = await capacityOf(stack.url, calls, seconds)
process.stdout.write(`At most ${peak.toFixed(0)} requests a second, by ${capacityConnections} connections\n\n`)
process.stdout.write(
  '| times that | offered /s | answered /s | ms, p50 / p99 | refused after ms, p50 / p99 | not answered | not sent | recovered after ms | replicas, MB | /livez, p99 ms |\n',
)
process.stdout.write(`|${' --: |'.repeat(10)}\n`)
for (const share of shares) {
  process.stdout.write(row(share, peak, await offer(stack, calls, peak * share, seconds)))
  await sleep(2_000)
}
