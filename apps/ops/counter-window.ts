/** Rates are over this long, so that they agree with Prometheus' `rate` over the same interval. */
export const windowMs = 10_000

/** Without a sample for so long there is no rate any more. */
const staleMs = 3_000

export type Counters = Record<string, number>

/** The latest samples of some counters, and how fast they rise. */
export class CounterWindow {
  readonly #samples: { atMs: number; counters: Counters }[] = []

  /** @param atMs on any clock that never goes back, the same for all calls */
  add(atMs: number, counters: Counters): void {
    this.#samples.push({ atMs, counters })
    // Half a second of grace, since samples do not come to the millisecond.
    while ((this.#samples[0]?.atMs ?? atMs) < atMs - windowMs - 500) this.#samples.shift()
  }

  /** Per second, for every counter that has a sample; nothing where there are fewer than two samples, or no recent one. */
  rates(nowMs: number): Counters {
    const [first] = this.#samples
    const last = this.#samples.at(-1)
    if (!first || !last || last.atMs === first.atMs || nowMs - last.atMs > staleMs) return {}
    const seconds = (last.atMs - first.atMs) / 1000
    return Object.fromEntries(Object.keys(last.counters).map((name) => [name, this.#increase(name) / seconds]))
  }

  #increase(name: string): number {
    let increase = 0
    let before = this.#samples[0]?.counters[name] ?? 0
    for (const { counters } of this.#samples) {
      const count = counters[name] ?? before
      // What has become less began anew at 0.
      increase += count < before ? count : count - before
      before = count
    }
    return increase
  }
}
