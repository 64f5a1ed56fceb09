import { Counter, type Histogram, type Registry } from 'prom-client'

/**
 * The child of a metric with these values of its labels, in their order. Counts are kept here and handed to prom-client
 * when somebody asks: its own children build strings for each one.
 */
export type Metric<Child> = (...values: (string | number)[]) => Child

export interface MetricOptions<Label extends string> {
  name: string
  help: string
  labelNames: Label[]
  registry: Registry
}

// Of one metric, whatever its labels are made from. There are 25 routes, with ten answers at the most.
const maxChildren = 500

/** There are never more than {@link maxChildren} children: what comes after them all counts as `other`. */
class Children<Child> {
  readonly #labelNames: string[]
  readonly #create: () => Child
  readonly #children = new Map<string, { labels: Record<string, string>; child: Child }>()

  constructor(labelNames: string[], create: () => Child) {
    this.#labelNames = labelNames
    this.#create = create
    // Without labels there is one from the start, so that it shows.
    if (labelNames.length === 0) this.get([])
  }

  get(values: (string | number)[]): Child {
    const key = values.join(' ')
    const known = this.#children.get(key)
    if (known) return known.child
    if (this.#children.size >= maxChildren && values.some((value) => value !== 'other')) {
      return this.get(this.#labelNames.map(() => 'other'))
    }
    const labels = Object.fromEntries(this.#labelNames.map((name, index) => [name, String(values[index])]))
    const child = this.#create()
    this.#children.set(key, { labels, child })
    return child
  }

  all(): Iterable<{ labels: Record<string, string>; child: Child }> {
    return this.#children.values()
  }
}

class Tally {
  count = 0

  inc(): void {
    this.count++
  }
}

/** Registers a counter. A child shows from when it was first asked for. */
export function createCounter<Label extends string>(options: MetricOptions<Label>): Metric<Tally> {
  const { registry, ...metric } = options
  const children = new Children(metric.labelNames, () => new Tally())
  new Counter<string>({
    ...metric,
    registers: [registry],
    collect() {
      this.reset()
      for (const { labels, child } of children.all()) this.inc(labels, child.count)
    },
  })
  return (...values) => children.get(values)
}

class Spread {
  /** Of each bucket alone; the last is what is beyond them all. */
  readonly counts: Float64Array
  readonly #bounds: readonly number[]
  sum = 0

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.counts = new Float64Array(bounds.length + 1)
  }

  observe(value: number): void {
    let bucket = 0
    while (bucket < this.#bounds.length && value > (this.#bounds[bucket] as number)) bucket++
    ;(this.counts[bucket] as number)++
    this.sum += value
  }
}

/**
 * Registers a histogram, of which prom-client makes what Prometheus reads.
 *
 * @param buckets upper bounds, ascending
 */
export function createHistogram<Label extends string>(
  options: MetricOptions<Label> & { buckets: readonly number[] },
): Metric<Spread> {
  const { name, help, labelNames, registry, buckets } = options
  const children = new Children(labelNames, () => new Spread(buckets))
  const bounds = [...buckets, '+Inf']
  const get = async () => {
    const values = []
    for (const { labels, child } of children.all()) {
      let count = 0
      for (const [index, le] of bounds.entries()) {
        count += child.counts[index] ?? 0
        values.push({ labels: { ...labels, le }, value: count, metricName: `${name}_bucket` })
      }
      values.push({ labels, value: child.sum, metricName: `${name}_sum` })
      values.push({ labels, value: count, metricName: `${name}_count` })
    }
    return { name, help, type: 'histogram', aggregator: 'sum', values }
  }
  // All that a registry asks of a metric.
  registry.registerMetric({ name, get } as unknown as Histogram<string>)
  return (...values) => children.get(values)
}
