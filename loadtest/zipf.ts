import type { Chance } from './chance.ts'

/** Picks from a list by popularity: the item at place n is asked for in proportion to 1 / n^exponent (Zipf's law). */
export class Zipf<T> {
  readonly #items: readonly T[]
  readonly #exponent: number
  /** Up to each place, the weight of all until there. */
  readonly #sums: Float64Array

  /** @throws RangeError when there is nothing to pick from */
  constructor(items: readonly T[], exponent = 1) {
    if (items.length === 0) throw new RangeError('There is nothing to pick from')
    this.#items = items
    this.#exponent = exponent
    this.#sums = new Float64Array(items.length)
    let sum = 0
    for (let place = 1; place <= items.length; place++) {
      sum += place ** -exponent
      this.#sums[place - 1] = sum
    }
  }

  /** The most popular ones among themselves. */
  first(count: number): Zipf<T> {
    return new Zipf(this.#items.slice(0, count), this.#exponent)
  }

  get items(): readonly T[] {
    return this.#items
  }

  pick(chance: Chance): T {
    const total = this.#sums.at(-1) as number
    return this.#items[this.#placeOf(chance.fraction() * total)] as T
  }

  /** The first place whose sum is above a weight. */
  #placeOf(weight: number): number {
    let [low, high] = [0, this.#sums.length - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#sums[middle] as number) > weight) high = middle
      else low = middle + 1
    }
    return low
  }
}
