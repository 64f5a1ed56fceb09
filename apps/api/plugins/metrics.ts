import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Gauge, Registry } from 'prom-client'
import heapSizeAndUsed from 'prom-client/lib/metrics/heapSizeAndUsed.js'
import heapSpacesSizeAndUsed from 'prom-client/lib/metrics/heapSpacesSizeAndUsed.js'
import osMemoryHeap from 'prom-client/lib/metrics/osMemoryHeap.js'
import processCpuTotal from 'prom-client/lib/metrics/processCpuTotal.js'
import processMaxFileDescriptors from 'prom-client/lib/metrics/processMaxFileDescriptors.js'
import processOpenFileDescriptors from 'prom-client/lib/metrics/processOpenFileDescriptors.js'
import processStartTime from 'prom-client/lib/metrics/processStartTime.js'
import nodeVersion from 'prom-client/lib/metrics/version.js'
import { fallbacks, type ReadObserver } from '../../data/consistency.ts'
import type { CacheObserver } from '../../data/fenced-cache.ts'
import type { Mongo } from '../../data/mongo.ts'
import type { SessionObserver } from '../../data/sessions.ts'
import { createCounter, createHistogram } from './counting.ts'

/** The limits that requests run into. */
export const limits = ['requests', 'logins_of_address', 'logins_of_account'] as const
export type Limit = (typeof limits)[number]

/** Why a request is refused before anything is done for it. */
export const overloads = ['in_flight', 'delay', 'response_time'] as const
export type Overload = (typeof overloads)[number]

/** What a replica counts, in Prometheus's format. */
export interface Measurements {
  registry: Registry
  answered(request: FastifyRequest, reply: FastifyReply): void
  reads: ReadObserver
  /** Of restaurants, in Redis. */
  cache: CacheObserver
  /** Of a user's orders, in Redis. */
  orderLists: CacheObserver
  /** Of lists of restaurants, in the replica itself. */
  lists: CacheObserver
  sessions: SessionObserver
  /** A causal token that was made up, or belongs to another database. */
  ignoredToken(): void
  limited(limit: Limit): void
  shed(reason: Overload): void
  loginFailed(): void
  close(): void
}

// From what a cached answer takes to what no client waits for. No bucket ends beyond 5/3 of where it begins, so that a
// quantile that is interpolated within one is never further off than that.
const steps = [1, 1.5, 2, 3, 5, 7]
const seconds = [0.0005, ...[-3, -2, -1, 0].flatMap((decade) => steps.map((step) => Number(`${step}e${decade}`))), 10]

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

// prom-client's own, but for that of garbage collections, each of which it listens to, at more than all else here costs,
// for those of handles, requests and resources, whose gauges are named like counters, and for that of the event loop,
// which wakes the process up a hundred times a second.
const processMetrics = [
  heapSizeAndUsed,
  heapSpacesSizeAndUsed,
  osMemoryHeap,
  processCpuTotal,
  processMaxFileDescriptors,
  processOpenFileDescriptors,
  processStartTime,
  nodeVersion,
]

export function createMeasurements(mongo: Pick<Mongo, 'pools' | 'maxPoolSize'>): Measurements {
  const registry = new Registry()
  const registers = [registry]
  for (const collect of processMetrics) collect(registry)
  const forgetDelay = watchDelay(registers)

  const histogram = <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
    createHistogram({ name, help, labelNames, registry, buckets: seconds })
  const counter = <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
    createCounter({ name, help, labelNames, registry })

  const requests = histogram(
    'http_request_duration_seconds',
    'Time from the first byte of a request to the last of its answer',
    'method',
    'route',
    'status_code',
  )
  const reads = counter('brigade_reads_total', 'Reads for requests by where they were served from', 'target')
  const waits = histogram(
    'brigade_read_wait_seconds',
    'Time that reads waited for a secondary to catch up or to answer',
  )
  const fellBack = counter(
    'brigade_read_fallbacks_total',
    'Reads for showing that went to the primary, by reason',
    'reason',
  )
  const commands = histogram(
    'brigade_mongo_command_duration_seconds',
    'Time until a command of a store was answered, the wait for its connection included',
    'command',
    'member',
  )
  const poolWaits = histogram(
    'brigade_mongo_pool_wait_seconds',
    'Time that commands waited for a connection, to within a millisecond',
    'member',
  )
  const lookups = counter(
    'brigade_cache_lookups_total',
    'Look-ups in a cache by layer and outcome; `refused` is an entry that a write had made old',
    'layer',
    'outcome',
  )
  const store = histogram('brigade_session_store_duration_seconds', 'Time of an operation on sessions', 'operation')
  const ignored = counter(
    'brigade_causal_tokens_ignored_total',
    'Causal tokens of clients that nobody sealed, or that belong to another database',
  )
  const limited = counter('brigade_rate_limited_requests_total', 'Requests refused by a limit', 'limit')
  const shed = counter(
    'brigade_shed_requests_total',
    'Requests refused since there was too much to do: too many at a time, or too many for a late event loop',
    'reason',
  )
  const failures = counter('brigade_login_failures_total', 'Log-ins with an unknown e-mail or a wrong password')
  const lookedIn = (layer: 'redis' | 'redis_orders' | 'replica'): CacheObserver => ({
    looked(outcome) {
      lookups(layer, outcome).inc()
      if (outcome === 'hit') reads('cache').inc()
    },
  })
  gaugesOf(mongo, registers)
  const forgetPools = mongo.pools.onWaited((member, waited) => poolWaits(member).observe(waited))

  // From the start, so that the first of a kind shows in a rate.
  for (const target of ['cache', 'secondary', 'primary']) reads(target)
  for (const reason of fallbacks) fellBack(reason)
  for (const limit of limits) limited(limit)
  for (const reason of overloads) shed(reason)

  return {
    registry,
    answered(request, reply) {
      // The pattern, never the URL: unknown paths all count as one.
      const route = request.routeOptions.url ?? 'unknown'
      const method = methods.has(request.method) ? request.method : 'other'
      requests(method, route, reply.statusCode).observe(reply.elapsedTime / 1000)
    },
    reads: {
      read: (target) => reads(target).inc(),
      waited: (waited) => waits().observe(waited),
      fellBack: (reason) => fellBack(reason).inc(),
      command: (name, member, elapsed) => commands(name, member).observe(elapsed),
    },
    cache: lookedIn('redis'),
    orderLists: lookedIn('redis_orders'),
    lists: lookedIn('replica'),
    sessions: (operation, elapsed) => store(operation).observe(elapsed),
    ignoredToken: () => ignored().inc(),
    limited: (limit) => limited(limit).inc(),
    shed: (reason) => shed(reason).inc(),
    loginFailed: () => failures().inc(),
    close() {
      forgetPools()
      forgetDelay()
      registry.clear()
    },
  }
}

function gaugesOf({ pools, maxPoolSize }: Pick<Mongo, 'pools' | 'maxPoolSize'>, registers: Registry[]): void {
  new Gauge({
    name: 'brigade_mongo_pool_connections',
    help: 'Connections to a member, those of them in use, and commands that wait for one',
    labelNames: ['member', 'state'],
    registers,
    collect() {
      this.reset()
      for (const { member, open, inUse, waiting } of pools.all()) {
        this.set({ member, state: 'open' }, open)
        this.set({ member, state: 'in_use' }, inUse)
        this.set({ member, state: 'waiting' }, waiting)
      }
    },
  })
  new Gauge({
    name: 'brigade_mongo_pool_max_connections',
    help: 'Connections to each member at the most',
    registers,
  }).set(maxPoolSize)
  let from = performance.eventLoopUtilization()
  let fromMs = performance.now()
  new Gauge({
    name: 'brigade_eventloop_utilization',
    help: 'Share of the last second or more in which the event loop was not idle',
    registers,
    collect() {
      // Several may ask, and none may leave so little time to the next that it says nothing.
      if (performance.now() - fromMs < 1_000) return
      const until = performance.eventLoopUtilization()
      this.set(performance.eventLoopUtilization(until, from).utilization)
      from = until
      fromMs = performance.now()
    },
  })
}

/** How long the turns of the event loop took, by the names of prom-client. */
function watchDelay(registers: Registry[]): () => void {
  const delay = monitorEventLoopDelay({ samplePerIteration: true })
  delay.enable()
  const figures: Record<string, () => number> = {
    mean: () => delay.mean,
    max: () => delay.max,
    p50: () => delay.percentile(50),
    p90: () => delay.percentile(90),
    // Asked last: then it begins anew.
    p99() {
      const value = delay.percentile(99)
      delay.reset()
      return value
    },
  }
  for (const [name, read] of Object.entries(figures)) {
    new Gauge({
      name: `nodejs_eventloop_lag_${name}_seconds`,
      help: `Time of a turn of the event loop since they were last asked for: ${name}`,
      registers,
      collect() {
        // NaN where there was no turn.
        this.set((read() || 0) / 1e9)
      },
    })
  }
  return () => delay.disable()
}

/** `/metrics`: every request by method, route pattern and status, where reads went, and what Node tells of itself. */
export function serveMetrics(app: FastifyInstance, measurements: Measurements): void {
  const { registry } = measurements
  const registers = [registry]
  let inFlight = 0
  let connections = 0
  // Also of those that another socket has let in.
  app.server.on('connection', (socket: Socket) => {
    connections++
    socket.once('close', () => connections--)
  })
  app.server.on('request', ({ url }: IncomingMessage, response: ServerResponse) => {
    if (url === metricsPath) return
    inFlight++
    // Also of an answer that never comes to its end.
    response.once('close', () => inFlight--)
  })
  new Gauge({
    name: 'brigade_http_requests_in_flight',
    help: 'Requests that are being answered, but for this one',
    registers,
    collect() {
      this.set(inFlight)
    },
  })
  new Gauge({
    name: 'brigade_http_connections',
    help: 'Open connections of clients, in use or idle',
    registers,
    collect() {
      this.set(connections)
    },
  })
  app.addHook('onResponse', (request, reply, done) => {
    measurements.answered(request, reply)
    done()
  })
  app.get(
    metricsPath,
    { schema: { hide: true }, logLevel: 'silent', config: { isVital: true } },
    async (_request, reply) => {
      return reply.type(registry.contentType).send(await registry.metrics())
    },
  )
  app.addHook('onClose', async () => measurements.close())
}

const metricsPath = '/metrics'
