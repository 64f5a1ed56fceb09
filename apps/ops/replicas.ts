import { lookup } from 'node:dns/promises'
import { type Counters, CounterWindow } from './counter-window.ts'
import { poll } from './poll.ts'
import { numberOf, readMetrics } from './prometheus-text.ts'
import type { StackProcess } from './stack-file.ts'

/** Where replicas are found: those of the launcher's list, or all addresses of a name. */
export type ReplicaSource = { kind: 'stack' } | { kind: 'dns'; name: string; port: number }

/** What is known of one replica. */
export interface Replica {
  /** `host:port`. */
  readonly address: string
  /** By its own word (`X-Served-By`), or the launcher's. */
  readonly name: string
  readonly pid: number | undefined
  /** It answers; undefined until it was asked. */
  readonly isUp: boolean | undefined
  readonly isReady: boolean
  /** Per second over the last ten; see `readFigures` for their names. */
  rates(nowMs: number): Counters
  readonly gauges: Counters
}

export interface Replicas {
  current(): Replica[]
  close(): Promise<void>
}

export interface ReplicaEvents {
  joined(replica: Replica): void
  left(replica: Replica): void
}

const everyMs = 1_000
const limitMs = 900
const maxReplicas = 64
/** A replica that goes on being silent is out after so many tries in a row; one slow answer says nothing. */
const triesUntilDown = 2

// What ops itself asks for, and whoever checks health, is no request of a client.
const ownRoutes = new Set(['/metrics', '/readyz', '/livez'])

const wanted = new Set([
  'http_request_duration_seconds_bucket',
  'http_request_duration_seconds_count',
  'brigade_reads_total',
  'brigade_cache_lookups_total',
  'brigade_mongo_command_duration_seconds_bucket',
  'brigade_mongo_command_duration_seconds_count',
  'brigade_http_requests_in_flight',
  'brigade_http_connections',
  'brigade_eventloop_utilization',
  'brigade_mongo_pool_connections',
  'brigade_mongo_pool_max_connections',
  'process_cpu_seconds_total',
  'process_resident_memory_bytes',
])

const queryCommands = new Set(['find', 'aggregate', 'getMore', 'count', 'distinct'])

/**
 * Sums what a replica exports to what is shown, by names of its own: counters `requests`, `errors`, `latency|<le>`,
 * `query|<le>`, `queries|<member>`, `reads|<target>`, `cache|<outcome>`, `cpu`; gauges `inflight`, `connections`,
 * `eventloop`, `pool.open|<member>`, `pool.inuse|<member>`, `pool.max`, `memory`, and `cpu` once more.
 */
export function readFigures(text: string): { counters: Counters; gauges: Counters } {
  const counters: Counters = { requests: 0, errors: 0 }
  const gauges: Counters = {}
  const add = (to: Counters, key: string, value: number) => {
    to[key] = (to[key] ?? 0) + value
  }
  for (const { name, labels, value } of readMetrics(text, wanted)) {
    switch (name) {
      case 'http_request_duration_seconds_bucket':
        if (!ownRoutes.has(labels.route ?? '')) add(counters, `latency|${numberOf(labels.le ?? '')}`, value)
        break
      case 'http_request_duration_seconds_count':
        if (ownRoutes.has(labels.route ?? '')) break
        add(counters, 'requests', value)
        add(counters, 'errors', labels.status_code?.startsWith('5') ? value : 0)
        break
      case 'brigade_reads_total':
        add(counters, `reads|${labels.target}`, value)
        break
      case 'brigade_cache_lookups_total':
        if (labels.layer === 'redis') add(counters, `cache|${labels.outcome}`, value)
        break
      case 'brigade_mongo_command_duration_seconds_bucket':
        if (queryCommands.has(labels.command ?? '')) add(counters, `query|${numberOf(labels.le ?? '')}`, value)
        break
      case 'brigade_mongo_command_duration_seconds_count':
        if (queryCommands.has(labels.command ?? '')) add(counters, `queries|${labels.member}`, value)
        break
      case 'brigade_http_requests_in_flight':
        add(gauges, 'inflight', value)
        break
      case 'brigade_http_connections':
        add(gauges, 'connections', value)
        break
      case 'brigade_eventloop_utilization':
        add(gauges, 'eventloop', value)
        break
      case 'brigade_mongo_pool_connections':
        if (labels.state === 'open') add(gauges, `pool.open|${labels.member}`, value)
        if (labels.state === 'in_use') add(gauges, `pool.inuse|${labels.member}`, value)
        break
      case 'brigade_mongo_pool_max_connections':
        gauges['pool.max'] = value
        break
      case 'process_cpu_seconds_total':
        add(counters, 'cpu', value)
        add(gauges, 'cpu', value)
        break
      case 'process_resident_memory_bytes':
        add(gauges, 'memory', value)
        break
    }
  }
  return { counters, gauges }
}

interface Target {
  host: string
  port: number
  name?: string
  pid?: number
}

interface Watched extends Replica {
  name: string
  pid: number | undefined
  isUp: boolean | undefined
  isReady: boolean
  gauges: Counters
  hasJoined: boolean
  failures: number
  window: CounterWindow
  stop(): Promise<void>
}

/** Watches every replica that the source names, each by itself, and looks for others once a second. */
export function watchReplicas(source: ReplicaSource, stack: () => StackProcess[], events: ReplicaEvents): Replicas {
  const watched = new Map<string, Watched>()
  // Replicas that are on their way out; their last poll may still run.
  const ending = new Set<Promise<void>>()

  function watch({ host, port, name, pid }: Target): Watched {
    const window = new CounterWindow()
    const replica: Watched = {
      address: `${host}:${port}`,
      name: name ?? `${host}:${port}`,
      pid,
      isUp: undefined,
      isReady: false,
      gauges: {},
      hasJoined: false,
      failures: 0,
      window,
      rates: (nowMs) => window.rates(nowMs),
      stop: poll(everyMs, limitMs, (signal) => sample(signal)),
    }
    async function sample(signal: AbortSignal): Promise<void> {
      try {
        const metrics = await fetch(`http://${replica.address}/metrics`, { signal })
        const { counters, gauges } = readFigures(await metrics.text())
        const sampledMs = performance.now()
        // Not at the same time: it takes a connection to MongoDB, which would count as one in use.
        const readiness = await fetch(`http://${replica.address}/readyz`, { signal })
        await readiness.text()
        window.add(sampledMs, counters)
        replica.gauges = gauges
        replica.isUp = true
        replica.failures = 0
        replica.isReady = readiness.status === 200
        if (name === undefined) replica.name = readiness.headers.get('x-served-by') ?? replica.address
        if (replica.isReady && !replica.hasJoined && watched.get(replica.address) === replica) {
          replica.hasJoined = true
          events.joined(replica)
        }
      } catch {
        replica.isReady = false
        if (++replica.failures < triesUntilDown && replica.isUp) return
        replica.isUp = false
        replica.gauges = {}
      }
    }
    return replica
  }

  async function targets(): Promise<Target[] | undefined> {
    if (source.kind === 'stack') {
      const processes = stack()
      // A list without anybody is one that is just being written, or the end of the stack.
      if (processes.length === 0) return undefined
      return processes
        .filter(({ role }) => role === 'app')
        .map(({ name, pid, port }) => ({ host: '127.0.0.1', port, name, pid }))
    }
    try {
      const found = await lookup(source.name, { all: true, family: 4 })
      return found.map(({ address }) => ({ host: address, port: source.port }))
    } catch {
      // A name without an address is how the DNS of containers says that none runs; a DNS that is away says as little.
      return undefined
    }
  }

  async function discover(): Promise<void> {
    const found = (await targets())?.slice(0, maxReplicas)
    if (!found) return
    const named = new Map(found.map((target) => [`${target.host}:${target.port}`, target]))
    for (const [address, replica] of watched) {
      const target = named.get(address)
      // Another process on the same port is another replica.
      if (target && target.pid === replica.pid && (target.name ?? replica.name) === replica.name) continue
      watched.delete(address)
      const ended = replica.stop()
      ending.add(ended)
      void ended.finally(() => ending.delete(ended))
      if (replica.hasJoined) events.left(replica)
    }
    for (const [address, target] of named) {
      if (!watched.has(address)) watched.set(address, watch(target))
    }
  }

  const stop = poll(everyMs, limitMs, discover)
  return {
    current: () => [...watched.values()],
    async close() {
      await stop()
      await Promise.all([...watched.values()].map((replica) => replica.stop()))
      await Promise.all(ending)
    },
  }
}
