// Each step is 2 % longer than the one before.
const step = Math.log(1.02)
const leastMs = 0.01

/** How times are spread, to 2 %, in a space that does not grow with their number. */
export class Spread {
  readonly #counts: number[] = []
  count = 0
  max = 0

  add(timeMs: number): void {
    const index = Math.max(0, Math.ceil(Math.log(Math.max(timeMs, leastMs) / leastMs) / step))
    this.#counts[index] = (this.#counts[index] ?? 0) + 1
    this.count++
    this.max = Math.max(this.max, timeMs)
  }

  /** How many were no longer than this. */
  within(timeMs: number): number {
    const last = Math.floor(Math.log(Math.max(timeMs, leastMs) / leastMs) / step)
    return this.#counts.slice(0, last + 1).reduce((sum, each) => sum + (each ?? 0), 0)
  }

  /** The time that this share of all were within, from 0 to 1; undefined when there are none. */
  quantile(share: number): number | undefined {
    if (this.count === 0) return undefined
    let rest = Math.max(1, Math.ceil(share * this.count))
    for (const [index, each] of this.#counts.entries()) {
      rest -= each ?? 0
      if (rest <= 0) return Math.min(this.max, leastMs * Math.exp(index * step))
    }
    return this.max
  }
}
