import { expect, test } from 'vitest'
import { Chance } from '../../loadtest/chance.ts'
import { Zipf } from '../../loadtest/zipf.ts'

const places = Array.from({ length: 5_000 }, (_, index) => index + 1)
const draws = 200_000

function countDraws(zipf: Zipf<number>): Map<number, number> {
  const chance = new Chance(7)
  const counts = new Map<number, number>()
  for (let draw = 0; draw < draws; draw++) {
    const place = zipf.pick(chance)
    counts.set(place, (counts.get(place) ?? 0) + 1)
  }
  return counts
}

test('the item at place n is picked in proportion to 1 / n', () => {
  const counts = countDraws(new Zipf(places))
  const sum = places.reduce((total, place) => total + 1 / place, 0)
  for (const place of [1, 2, 3, 10, 50]) {
    const expected = draws / place / sum
    // Five standard deviations of what chance alone does.
    expect(Math.abs((counts.get(place) ?? 0) - expected), `place ${place}`).toBeLessThan(5 * Math.sqrt(expected))
  }
  expect(counts.size).toBeGreaterThan(4_000)
})

test('an exponent of zero makes all alike', () => {
  const counts = countDraws(new Zipf(places.slice(0, 10), 0))
  for (const count of counts.values()) expect(Math.abs(count - draws / 10)).toBeLessThan(5 * Math.sqrt(draws / 10))
})

test('the most popular ones among themselves are the first of the list', () => {
  const first = new Zipf(places).first(3)
  expect(first.items).toEqual([1, 2, 3])
  expect([...countDraws(first).keys()].sort()).toEqual([1, 2, 3])
})

test('there must be something to pick from', () => {
  expect(() => new Zipf([])).toThrow(RangeError)
})
