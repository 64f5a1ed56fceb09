import type { Outcome } from './connections.ts'
import type { PlaceOrder } from './requests.ts'
import { everything, type KindResult, type LoadResult } from './result.ts'
import { Spread } from './spread.ts'

const keptExamples = 5
// From the middle towards the end, each step half as far from it: even on an axis of 1 / (1 - share).
const shares = [0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999, 0.9995, 0.9999, 0.99999, 1]

interface Kind {
  times: Spread
  wrong: number
}

interface Second extends Kind {
  requests: number
}

/** Judges answers one by one and counts them. */
export class Tally {
  requests = 0
  wrong = 0
  retries = 0
  readonly examples: string[] = []
  readonly #kinds = new Map<string, Kind>([[everything, { times: new Spread(), wrong: 0 }]])
  readonly #sources = new Map<string, number>()
  readonly #seconds: Second[] = []
  readonly #startedAt = performance.now()
  /** Orders that were asked for, by their keys. */
  readonly orders: Map<string, { cookie: string; id: string | undefined }>

  /** @param orders goes on with those that were asked for before */
  constructor(orders: Tally['orders'] = new Map()) {
    this.orders = orders
  }

  /** Returns whether the answer is right. */
  add(outcome: Outcome): boolean {
    const { request, status, timeMs, retries, headers } = outcome
    const problem = problemOf(outcome)
    const second = this.#second()
    this.requests++
    this.retries += retries
    for (const kind of [this.#kind(everything), this.#kind(request.kind)]) {
      kind.times.add(timeMs)
      if (problem !== undefined) kind.wrong++
    }
    second.requests++
    second.times.add(timeMs)
    if (problem !== undefined) {
      this.wrong++
      second.wrong++
      if (this.examples.length < keptExamples) this.examples.push(`${request.method} ${request.path}: ${problem}`)
    }
    if (status !== 0) {
      const source = sourceOf(headers)
      this.#sources.set(source, (this.#sources.get(source) ?? 0) + 1)
    }
    if ('key' in request) this.#noteOrder(request as PlaceOrder, outcome, problem)
    return problem === undefined
  }

  /** The second that has just passed, for whoever wants to see progress. */
  latest(): { requests: number; p99Ms: number } {
    const { requests = 0, times } = this.#seconds.at(-2) ?? this.#seconds.at(-1) ?? {}
    return { requests, p99Ms: times?.quantile(0.99) ?? 0 }
  }

  result(): Pick<LoadResult, 'requests' | 'wrong' | 'examples' | 'retries' | 'kinds' | 'perSecond' | 'sources'> {
    const { requests, wrong, examples, retries } = this
    return {
      requests,
      wrong,
      examples,
      retries,
      kinds: [...this.#kinds].map(([kind, of]) => kindResult(kind, of)),
      perSecond: this.#seconds.map(({ requests, wrong, times }) => ({
        requests,
        wrong,
        p99Ms: rounded(times.quantile(0.99) ?? 0),
      })),
      sources: [...this.#sources].map(([source, requests]) => ({ source, requests })),
    }
  }

  #kind(name: string): Kind {
    const kind = this.#kinds.get(name) ?? { times: new Spread(), wrong: 0 }
    this.#kinds.set(name, kind)
    return kind
  }

  #second(): Second {
    const number = Math.floor((performance.now() - this.#startedAt) / 1_000)
    while (this.#seconds.length <= number) this.#seconds.push({ requests: 0, wrong: 0, times: new Spread() })
    return this.#seconds[number] as Second
  }

  #noteOrder({ key, headers }: PlaceOrder, { status, body }: Outcome, problem: string | undefined): void {
    // A refusal is known to have placed nothing; what is in doubt is what was not answered, or by 5xx.
    if (status >= 400 && status < 500) return
    const id = problem === undefined ? body.slice('{"id":"'.length, '{"id":"'.length + 24) : undefined
    this.orders.set(key, { cookie: headers?.cookie ?? '', id })
  }
}

function problemOf({ request, status, body, failure }: Outcome): string | undefined {
  if (failure !== undefined) return failure
  if (status !== request.expected) return `${status} in place of ${request.expected}: ${body.slice(0, 200)}`
  return request.problem?.(body)
}

function sourceOf(headers: Outcome['headers']): string {
  const said: { cache?: string; from?: string } = {}
  for (const [name, value] of Object.entries(headers)) {
    if (name.length !== 7 && name.length !== 11) continue
    const lower = name.toLowerCase()
    if (lower === 'x-cache') said.cache = String(value)
    if (lower === 'x-read-from') said.from = String(value)
  }
  if (said.cache === 'HIT' || said.cache === 'STALE') return 'Nginx'
  if (said.from === undefined) return 'not said'
  return { cache: 'a cache', secondary: 'secondaries', primary: 'primary' }[said.from.split(' ')[0] ?? ''] ?? said.from
}

function kindResult(kind: string, { times, wrong }: Kind): KindResult {
  const percentiles = shares.map((share) => ({ share, ms: rounded(times.quantile(share) ?? 0) }))
  return { kind, requests: times.count, wrong, maxMs: rounded(times.max), percentiles }
}

function rounded(ms: number): number {
  return Math.round(ms * 1_000) / 1_000
}
