import type { Counters } from './counter-window.ts'
import { histogramQuantile } from './percentiles.ts'
import type { Values } from './thresholds.ts'
import { groups, type ProcessUsage } from './usage.ts'
import type { Sources } from './watch.ts'

const targets = ['cache', 'secondary', 'primary']

/** The values of one second, by the names of their series; README.md lists them. */
export function valuesOf(sources: Sources, usage: ProcessUsage[], nowMs: number): Values {
  const { replicas, nginx, members, machine } = sources
  const all = replicas.current()
  const rates = sum(all.map((replica) => replica.rates(nowMs)))
  const gauges = sum(all.map((replica) => replica.gauges))
  // What all replicas do together is not known while one of them does not tell; how long requests take is, by the others.
  const isPartial = all.some((replica) => replica.isSilent(nowMs))
  const ofAll = (value: number | undefined) => (isPartial ? undefined : value)
  const edge = nginx.rates(nowMs)
  const requests = edge.requests ?? ofAll(rates.requests)
  const errors = edge.requests === undefined || edge.errors === undefined ? rates.errors : edge.errors
  // Without the log it is of what replicas answered, and so is the share.
  const answered = edge.errors === undefined ? rates.requests : edge.requests
  const latency = histogram(rates, 'latency|')
  const lookups = rates.requests === undefined ? undefined : total(rates, 'cache|') - (rates['cache|unavailable'] ?? 0)
  const values: Record<string, number | null | undefined> = {
    'requests.rate': requests,
    'requests.replicas': ofAll(rates.requests),
    'errors.rate': edge.errors === undefined ? ofAll(errors) : errors,
    'errors.share': share(errors, answered),
    'latency.p50': histogramQuantile(0.5, latency),
    'latency.p95': histogramQuantile(0.95, latency),
    'latency.p99': histogramQuantile(0.99, latency),
    'connections.nginx': nginx.status()?.active,
    'connections.replicas': ofAll(gauges.connections),
    inflight: ofAll(gauges.inflight),
    'cache.lookups': lookups,
    'cache.redis': share(rates['cache|hit'] ?? 0, lookups),
    'cache.edge': share(edge.edge, edge.requests),
    'pool.max': gauges['pool.max'],
    'pool.fullest': highest(all.map((replica) => fullestPool(replica.gauges))),
    'query.p95': histogramQuantile(0.95, histogram(rates, 'query|')),
    eventloop: highest(all.map((replica) => replica.gauges.eventloop)),
    'cpu.machine': machine.cpuShare(nowMs),
    'cpu.count': machine.cpuCount,
    'memory.machine': machine.memoryShare(),
    'members.down': members.current().filter(({ isUp }) => isUp === false).length,
  }
  for (const target of targets) {
    values[`reads.${target}`] = rates.requests === undefined ? undefined : ofAll(rates[`reads|${target}`] ?? 0)
  }
  for (const member of members.current()) {
    if (member.name === member.address && !member.isUp) continue
    values[`lag.${member.name}`] = member.lagMs(nowMs)
    values[`pool.inuse.${member.name}`] = ofAll(gauges[`pool.inuse|${member.name}`])
    values[`pool.open.${member.name}`] = ofAll(gauges[`pool.open|${member.name}`])
  }
  for (const group of groups) {
    const own = usage.filter((process) => process.group === group)
    values[`cpu.${group}`] = plus(own.map(({ cores }) => cores))
    values[`memory.${group}`] = plus(own.map(({ residentBytes }) => residentBytes))
  }
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, rounded(value)]))
}

/** Five digits are more than anybody reads, and half as many bytes as all of them. */
function rounded(value: number | null | undefined): number | null {
  return value == null || !Number.isFinite(value) ? null : Number(value.toPrecision(5))
}

function sum(records: Counters[]): Counters {
  const result: Counters = {}
  for (const record of records) {
    for (const [name, value] of Object.entries(record)) result[name] = (result[name] ?? 0) + value
  }
  return result
}

/** The sum of what is known; undefined where nothing is. */
function plus(values: (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined)
  return known.length === 0 ? undefined : known.reduce((result, value) => result + value, 0)
}

function highest(values: (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined)
  return known.length === 0 ? undefined : Math.max(...known)
}

function total(counters: Counters, prefix: string): number {
  return Object.entries(counters).reduce((result, [name, value]) => result + (name.startsWith(prefix) ? value : 0), 0)
}

/** The share in use of a replica's pool to that member of which it uses most. */
function fullestPool(gauges: Counters): number | undefined {
  const inUse = Object.entries(gauges).flatMap(([name, value]) => (name.startsWith('pool.inuse|') ? [value] : []))
  return share(highest(inUse), gauges['pool.max'])
}

function share(part: number | undefined, whole: number | undefined): number | undefined {
  return part === undefined || !whole ? undefined : part / whole
}

function histogram(counters: Counters, prefix: string) {
  return Object.entries(counters)
    .filter(([name]) => name.startsWith(prefix))
    .map(([name, count]) => ({ le: Number(name.slice(prefix.length)), count }))
}
