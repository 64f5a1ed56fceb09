import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Chance } from './chance.ts'
import { drive } from './connections.ts'
import { CpuMeter, partOf } from './cpu.ts'
import { MemoryMeter } from './memory.ts'
import { FixedRate, Unpaced } from './pace.ts'
import { pastEdge } from './requests.ts'
import type { LoadResult, OrderCounts } from './result.ts'
import type { Stack } from './stack.ts'
import { type Account, Mix, type Person, type Scenario } from './story.ts'
import { Tally } from './tally.ts'
import { countOrders, type Town } from './town.ts'

export interface LoadOptions {
  seconds: number
  connections: number
  /** Requests per second; undefined to send as soon as there is an answer. */
  rate: number | undefined
  edge: boolean
  seed: number
  warmUp: number
  /** What is done around the measurement: when the replicas are warm, and when the last answer is there. */
  around?: { begin: () => void; end: () => void }
}

// One that has been warmed up by another scenario needs less than a cold one.
const againShare = 0.25
const warmUpConnections = 8
const meanwhileAfterMs = 1_000
const progressMs = 2_000
// Of the clock with which replicas date orders, against the one here.
const clockMs = 5_000

/**
 * Warms the replicas up, puts the load of a scenario on the stack through Nginx, and looks whether all of it was right.
 *
 * @param options.warm pids of replicas that have been warmed up; those that are here come on top
 */
export async function runScenario(
  stack: Stack,
  scenario: Scenario,
  town: Town,
  options: LoadOptions & { warm: Set<number>; signal: AbortSignal; tell: (text: string) => void },
): Promise<LoadResult> {
  const { seconds, connections, rate, edge, warm, signal, tell } = options
  const since = new Date(Date.now() - clockMs)
  const chance = new Chance(options.seed)
  const mix = new Mix(scenario.stories)
  const peopleCount = Math.max(connections, warmUpConnections)
  const people: Person[] = Array.from({ length: peopleCount }, (_, index) => ({
    town,
    chance: chance.split(),
    anonymous: edge ? {} : pastEdge,
    accounts: accountsOf(town, index, peopleCount),
  }))
  const requestsOf = (index: number) => mix.requestsOf(people[index] as Person)
  const warmUp = new Tally()
  for (const { port, name, pid } of stack.processes.filter(({ role }) => role === 'app')) {
    signal.throwIfAborted()
    tell(`  warming ${name} up …`)
    await drive({
      url: `http://127.0.0.1:${port}`,
      connections: warmUpConnections,
      pace: new Unpaced(),
      until: { requests: Math.ceil(options.warmUp * (warm.has(pid) ? againShare : 1)) },
      requestsOf,
      onOutcome: (outcome) => warmUp.add(outcome),
      signal,
    })
    warm.add(pid)
    if (warmUp.wrong > 0) tell(`  ${warmUp.wrong} wrong answers while ${name} was warmed up`)
  }
  signal.throwIfAborted()

  options.around?.begin()
  const tally = new Tally(warmUp.orders)
  const pace = rate === undefined ? new Unpaced() : new FixedRate(rate)
  const hasProc = existsSync('/proc/self/stat')
  const meter = hasProc ? new CpuMeter(() => measuredOf(stack)) : undefined
  const memoryMeter = hasProc ? new MemoryMeter(() => residentsOf(stack)) : undefined
  const startedAt = performance.now()
  const progress = setInterval(() => {
    const { requests, p99Ms } = tally.latest()
    const passed = ((performance.now() - startedAt) / 1_000).toFixed(0)
    tell(`  ${passed.padStart(4)} s  ${requests} requests/s  p99 ${p99Ms.toFixed(1)} ms  wrong ${tally.wrong}`)
  }, progressMs)
  const doing = new AbortController()
  const meanwhile = doMeanwhile(stack, scenario, AbortSignal.any([signal, doing.signal]))
  try {
    await drive({
      url: stack.url.replace('//localhost:', '//127.0.0.1:'),
      connections,
      pace,
      until: { seconds, atLeast: meanwhile },
      requestsOf,
      onOutcome: (outcome) => tally.add(outcome),
      signal,
    })
    const elapsedMs = performance.now() - startedAt
    const cpu = meter?.end() ?? null
    const memory = memoryMeter?.end() ?? null
    options.around?.end()
    clearInterval(progress)
    signal.throwIfAborted()
    const result = tally.result()
    return {
      scenario: scenario.name,
      description: scenario.description,
      seconds: elapsedMs / 1_000,
      connections,
      rate: rate ?? null,
      edge,
      ...result,
      wrong: result.wrong + warmUp.wrong,
      examples: [...warmUp.examples, ...result.examples],
      unsent: pace.unsent,
      orders: await judgeOrders(stack, town, tally, since, signal),
      cpu,
      memory,
      meanwhile: await meanwhile,
    }
  } finally {
    doing.abort()
    clearInterval(progress)
    meter?.end()
    memoryMeter?.end()
    await meanwhile.catch(() => {})
  }
}

function accountsOf({ accounts }: Town, person: number, people: number): Account[] {
  return accounts.filter((_, number) => number % people === person % accounts.length)
}

/** What was done, in words. */
async function doMeanwhile(stack: Stack, { name, meanwhile }: Scenario, signal: AbortSignal): Promise<string | null> {
  if (!meanwhile) return null
  await sleep(meanwhileAfterMs, undefined, { signal })
  const startedAt = performance.now()
  await meanwhile(stack.dataDir, signal)
  return `the ${name} took ${((performance.now() - startedAt) / 1_000).toFixed(1)} s`
}

function measuredOf(stack: Stack) {
  return stack.processes.flatMap(({ role, pid }) => {
    const part = partOf(role)
    return part ? [{ part, pid }] : []
  })
}

function residentsOf({ processes, launcherPid }: Stack) {
  return launcherPid === undefined ? processes : [...processes, { role: 'launcher', pid: launcherPid }]
}

/** Holds what was answered against what is there. */
async function judgeOrders(
  stack: Stack,
  town: Town,
  { orders }: Tally,
  since: Date,
  signal: AbortSignal,
): Promise<OrderCounts> {
  const counts: OrderCounts = { acknowledged: 0, inDoubt: 0, found: 0, doubled: 0, lost: 0 }
  const cookies = new Set([...orders.values()].map(({ cookie }) => cookie))
  const found = new Map<string, string[]>()
  for (const account of town.accounts.filter(({ cookie }) => cookies.has(cookie))) {
    for (const [key, ids] of await countOrders(stack.url, account, since, signal)) found.set(key, ids)
  }
  for (const [key, { id }] of orders) {
    const ids = found.get(key) ?? []
    if (id === undefined) counts.inDoubt++
    else counts.acknowledged++
    counts.found += ids.length
    if (ids.length > 1) counts.doubled++
    if (id !== undefined && !ids.includes(id)) counts.lost++
  }
  return counts
}
