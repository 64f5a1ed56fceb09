import { lookup } from 'node:dns/promises'
import { type Counters, CounterWindow } from './counter-window.ts'
import { poll } from './poll.ts'
import { numberOf, readMetrics } from './prometheus-text.ts'
import type { StackProcess } from './stack-file.ts'

/** Where replicas are found: those of the launcher's list, or all addresses of a name. */
export type ReplicaSource = { kind: 'stack' } | { kind: 'dns'; name: string; port: number }

/**
 * `starting` until it was ready for the first time, `ended` from the death of its process until the next one is ready;
 * else what it last said, or that it says nothing.
 */
export type ReplicaState = 'starting' | 'ready' | 'not ready' | 'no answer' | 'ended'

/** What is known of one replica. */
export interface Replica {
  /** `host:port`. */
  readonly address: string
  /** By its own word (`X-Served-By`), or the launcher's. */
  readonly name: string
  readonly pid: number | undefined
  readonly state: ReplicaState
  /** Per second over the last ten; see `readFigures` for their names. */
  rates(nowMs: number): Counters
  readonly gauges: Counters
  /** It runs, but owes its figures for so long that nobody knows what it does. */
  isSilent(nowMs: number): boolean
}

export interface Replicas {
  /** By name. */
  current(): Replica[]
  close(): Promise<void>
}

export interface ReplicaEvents {
  joined(replica: Replica): void
  /** It is no longer among those that there are to be. */
  left(replica: Replica): void
  /** It does not answer, or its process has ended. */
  down(replica: Replica): void
  up(replica: Replica): void
}

const everyMs = 1_000
const limitMs = 900
const maxReplicas = 64
/** So many tries in a row without an answer are none; fewer are usual where CPU is short. */
const triesUntilDown = 3
/** As long as the launcher gives one to become ready. One that has never been is then as ill as any other. */
const startingMs = 60_000

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
  state: ReplicaState
  gauges: Counters
  hasJoined: boolean
  failures: number
  /** Samples that this process has given; a rate needs two. */
  samples: number
  stop(): Promise<void>
}

/** Watches every replica that the source names, each by itself, and looks for others once a second. */
export function watchReplicas(source: ReplicaSource, stack: () => StackProcess[], events: ReplicaEvents): Replicas {
  const watched = new Map<string, Watched>()
  // Replicas that are on their way out; their last poll may still run.
  const ending = new Set<Promise<void>>()

  function watch({ host, port, name, pid }: Target): Watched {
    const window = new CounterWindow()
    const sinceMs = performance.now()
    const replica: Watched = {
      address: `${host}:${port}`,
      name: name ?? `${host}:${port}`,
      pid,
      state: 'starting',
      gauges: {},
      hasJoined: false,
      failures: 0,
      samples: 0,
      rates: (nowMs) => window.rates(nowMs),
      isSilent: (nowMs) =>
        replica.hasJoined &&
        replica.state !== 'ended' &&
        (replica.samples > 1 || replica.failures > 0) &&
        Object.keys(window.rates(nowMs)).length === 0,
      stop: poll(everyMs, limitMs, (signal) => sample(signal)),
    }
    async function sample(signal: AbortSignal): Promise<void> {
      try {
        const metrics = await fetch(`http://${replica.address}/metrics`, { signal })
        const { counters, gauges } = readFigures(await metrics.text())
        window.add(performance.now(), counters)
        replica.gauges = gauges
        replica.samples++
        // Not at the same time: it takes a connection to MongoDB, which would count as one in use.
        const readiness = await fetch(`http://${replica.address}/readyz`, { signal })
        await readiness.text()
        if (name === undefined) replica.name = readiness.headers.get('x-served-by') ?? replica.address
        if (watched.get(replica.address) === replica) noteAnswer(readiness.status === 200)
      } catch {
        if (watched.get(replica.address) === replica) noteSilence()
      }
    }
    const isStarting = () => !replica.hasJoined && performance.now() - sinceMs < startingMs
    function noteAnswer(isReady: boolean): void {
      const before = replica.state
      // What was asked before its process ended.
      if (before === 'ended' && replica.pid === undefined) return
      replica.failures = 0
      if (isReady) replica.state = 'ready'
      // What its next process says before it is ready for the first time is that of any that starts.
      else if (before !== 'ended' && !isStarting()) replica.state = 'not ready'
      if (isReady && !replica.hasJoined) {
        replica.hasJoined = true
        events.joined(replica)
      } else if ((before === 'no answer' || before === 'ended') && replica.state !== before) events.up(replica)
    }
    function noteSilence(): void {
      if (++replica.failures < triesUntilDown || isStarting()) return
      if (replica.state === 'no answer' || replica.state === 'ended') return
      replica.state = 'no answer'
      replica.gauges = {}
      events.down(replica)
    }
    return replica
  }

  /** Its process has ended. Another may be there already. */
  function noteEnd(replica: Watched): void {
    replica.samples = 0
    if (!replica.hasJoined || replica.state === 'ended') return
    const wasDown = replica.state === 'no answer'
    replica.state = 'ended'
    replica.gauges = {}
    if (!wasDown) events.down(replica)
  }

  async function targets(): Promise<Target[] | undefined> {
    if (source.kind === 'stack') {
      const processes = stack()
      // A list without anybody is one that is just being written, or the end of the stack.
      if (processes.length === 0) return undefined
      return processes
        .filter(({ role }) => role === 'app')
        .map(({ name, pid, port }) => ({ host: '127.0.0.1', port, name, ...(pid === undefined ? {} : { pid }) }))
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
      if (target && (target.name ?? replica.name) === replica.name) {
        // Another process in its place is the same replica, started again.
        if (target.pid !== replica.pid) noteEnd(replica)
        replica.pid = target.pid
        continue
      }
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
    current: () => [...watched.values()].sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true })),
    async close() {
      await stop()
      await Promise.all([...watched.values()].map((replica) => replica.stop()))
      await Promise.all(ending)
    },
  }
}
