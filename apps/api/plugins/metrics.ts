import type { FastifyInstance } from 'fastify'
import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client'
import type { ReadObserver } from '../../data/consistency.ts'
import type { CacheObserver } from '../../data/restaurant-cache.ts'

/** What a replica counts, in Prometheus's format. */
export interface Measurements {
  registry: Registry
  request(method: string, route: string, status: number, seconds: number): void
  reads: ReadObserver
  cache: CacheObserver
  /** A causal token that was made up, or belongs to another database. */
  ignoredToken(): void
}

// From 1 ms, since a cached answer takes less than the lowest bucket of most examples.
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

export function createMeasurements(): Measurements {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const requests = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time from the first byte of a request to the last of its answer',
    labelNames: ['method', 'route', 'status_code'],
    buckets,
    registers,
  })
  const reads = new Counter({
    name: 'brigade_reads_total',
    help: 'Reads for requests by where they were served from',
    labelNames: ['target'],
    registers,
  })
  const waits = new Histogram({
    name: 'brigade_read_wait_seconds',
    help: 'Time that reads waited for a secondary to catch up or to answer',
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
    registers,
  })
  const fallbacks = new Counter({
    name: 'brigade_read_fallbacks_total',
    help: 'Reads for showing that went to the primary, by reason',
    labelNames: ['reason'],
    registers,
  })
  const commands = new Histogram({
    name: 'brigade_mongo_operation_duration_seconds',
    help: 'Time of an operation of a store, by kind and member',
    labelNames: ['kind', 'member'],
    buckets,
    registers,
  })
  const cache = new Counter({
    name: 'brigade_cache_lookups_total',
    help: 'Look-ups in a cache by layer and outcome; `refused` is an entry that a write had made old',
    labelNames: ['layer', 'outcome'],
    registers,
  })
  const ignored = new Counter({
    name: 'brigade_causal_tokens_ignored_total',
    help: 'Causal tokens of clients that nobody sealed, or that belong to another database',
    registers,
  })
  return {
    registry,
    request: (method, route, status, seconds) => requests.observe({ method, route, status_code: status }, seconds),
    reads: {
      read: (target) => reads.inc({ target }),
      waited: (seconds) => waits.observe(seconds),
      fellBack: (reason) => fallbacks.inc({ reason }),
      command: (kind, member, seconds) => commands.observe({ kind, member }, seconds),
    },
    cache: {
      looked(outcome) {
        cache.inc({ layer: 'redis', outcome })
        if (outcome === 'hit') reads.inc({ target: 'cache' })
      },
    },
    ignoredToken: () => ignored.inc(),
  }
}

/** `/metrics`: every request by method, route pattern and status, where reads went, and what Node tells of itself. */
export function serveMetrics(app: FastifyInstance, { registry, request: observe }: Measurements): void {
  app.addHook('onResponse', async (request, reply) => {
    // The pattern, never the URL: unknown paths all count as one.
    observe(request.method, request.routeOptions.url ?? 'unknown', reply.statusCode, reply.elapsedTime / 1000)
  })
  app.get('/metrics', { schema: { hide: true }, logLevel: 'silent' }, async (_request, reply) => {
    return reply.type(registry.contentType).send(await registry.metrics())
  })
  app.addHook('onClose', async () => registry.clear())
}
