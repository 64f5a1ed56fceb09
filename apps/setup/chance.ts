import { hash } from 'node:crypto'

/** Choices that look random and are the same for the same seed, on every machine. */
export interface Chance {
  /** A whole number from 0 up to, but not including, the limit. */
  below(limit: number): number
  /** A whole number between both, both included. */
  between(least: number, most: number): number
  /** True this often, from 0 (never) to 1 (always). */
  happens(probability: number): boolean
  /** @throws RangeError for an empty list */
  pick<T>(list: readonly T[]): T
  /** All of the list in another order. */
  shuffle<T>(list: readonly T[]): T[]
}

export function createChance(seed: string): Chance {
  const digest = hash('sha256', seed, 'buffer')
  let [a, b, c, counter] = [digest.readInt32LE(0), digest.readInt32LE(4), digest.readInt32LE(8), 1]

  // sfc32, by Chris Doty-Humphrey: 32 bits at a time, enough for menus and orders.
  function next(): number {
    const sum = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + sum
    return (sum >>> 0) / 4_294_967_296
  }

  const below = (limit: number) => Math.floor(next() * limit)
  return {
    below,
    between: (least, most) => least + below(most - least + 1),
    happens: (probability) => next() < probability,
    pick(list) {
      if (list.length === 0) throw new RangeError('There is nothing to pick from')
      return list[below(list.length)] as (typeof list)[number]
    },
    shuffle(list) {
      const shuffled = [...list]
      for (let last = shuffled.length - 1; last > 0; last--) {
        const other = below(last + 1)
        ;[shuffled[last], shuffled[other]] = [shuffled[other] as never, shuffled[last] as never]
      }
      return shuffled
    },
  }
}
