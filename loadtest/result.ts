import { cpus, loadavg, totalmem } from 'node:os'
import type { Part } from './cpu.ts'
import type { MemoryUse } from './memory.ts'

/** A load run as data: what reports are made of, and what `--json` writes. */
export interface LoadReport {
  startedAt: string
  command: string
  machine: Machine
  results: LoadResult[]
}

export interface Machine {
  cpus: number
  model: string
  memoryGigabytes: number
  node: string
  /** Of the minute before: what else was going on. */
  loadAverage: number
}

export interface LoadResult {
  scenario: string
  description: string
  seconds: number
  connections: number
  /** Requests per second that were due; null when each connection sent as soon as it had its answer. */
  rate: number | null
  /** Whether Nginx answered from its cache those who are not logged in. */
  edge: boolean
  /** Answers, right or wrong. */
  requests: number
  wrong: number
  /** What was wrong, a few of them. */
  examples: string[]
  /** Sent again since a connection had been closed, as clients do. */
  retries: number
  /** Due, but never sent. */
  unsent: number
  orders: OrderCounts
  kinds: KindResult[]
  perSecond: { requests: number; wrong: number; p99Ms: number }[]
  /** Who the data of the answers came from. */
  sources: { source: string; requests: number }[]
  /** CPU milliseconds by part; null where there is no /proc. */
  cpu: Record<Part, number> | null
  /** Resident memory by role; null where there is no /proc. */
  memory: MemoryUse[] | null
  /** What was done to the stack, in words. */
  meanwhile: string | null
}

export interface OrderCounts {
  acknowledged: number
  /** Without an answer: each may be there, once. */
  inDoubt: number
  found: number
  doubled: number
  lost: number
}

export interface KindResult {
  kind: string
  requests: number
  wrong: number
  maxMs: number
  percentiles: Percentile[]
}

export interface Percentile {
  /** From 0 to 1. */
  share: number
  ms: number
}

export const everything = 'all requests'

/** Whether every answer was right and every order is there once. */
export function isFine({ wrong, orders, requests }: LoadResult): boolean {
  return wrong === 0 && orders.doubled === 0 && orders.lost === 0 && requests > 0
}

/** The time that this share of the requests were within. */
export function percentile({ percentiles }: KindResult, share: number): number | undefined {
  return percentiles.find((each) => each.share >= share - 1e-9)?.ms
}

/** CPU milliseconds of the servers, without the load generator, per 1,000 requests. */
export function serverCpu({ cpu, requests }: Pick<LoadResult, 'cpu' | 'requests'>): number | undefined {
  if (!cpu || requests === 0) return undefined
  const { 'load generator': _, ...servers } = cpu
  return (Object.values(servers).reduce((sum, each) => sum + each, 0) / requests) * 1_000
}

export function thisMachine(): Machine {
  const all = cpus()
  return {
    cpus: all.length,
    model: (all[0]?.model ?? 'unknown').trim(),
    memoryGigabytes: Math.round(totalmem() / 2 ** 30),
    node: process.versions.node,
    loadAverage: Math.round((loadavg()[0] ?? 0) * 10) / 10,
  }
}
