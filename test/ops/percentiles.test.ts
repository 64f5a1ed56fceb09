import { expect, test } from 'vitest'
import { histogramQuantile } from '../../apps/ops/percentiles.ts'

const infinity = Number.POSITIVE_INFINITY
const histogram = (...pairs: [number, number][]) => pairs.map(([le, count]) => ({ le, count }))

// The histograms of Prometheus' own tests of histogram_quantile, and what those expect.
const positive = histogram([0.1, 50], [0.2, 70], [1, 110], [infinity, 120])
const negative = histogram([-0.2, 10], [-0.1, 20], [0.3, 20], [infinity, 30])

test.each([
  ['positive', positive, 0, 0],
  ['positive', positive, 0.2, 0.048],
  ['positive', positive, 0.5, 0.15],
  ['positive', positive, 0.8, 0.72],
  ['positive', positive, 1, 1],
  ['negative', negative, 0.2, -0.2],
  ['negative', negative, 0.5, -0.15],
  ['negative', negative, 0.8, 0.3],
])('a quantile is that of histogram_quantile: %s buckets %j at %f', (_name, buckets, quantile, expected) => {
  expect(histogramQuantile(quantile, buckets)).toBeCloseTo(expected, 12)
  expect(histogramQuantile(quantile, buckets.toReversed())).toBeCloseTo(expected, 12)
})

test('a bucket that is behind a lower one counts as much as that', () => {
  expect(histogramQuantile(0.5, histogram([1, 10], [2, 9], [infinity, 10]))).toBeCloseTo(0.5, 12)
})

test.each([
  ['no bucket', []],
  ['none without an end', histogram([1, 10], [2, 20])],
  ['no observation', histogram([1, 0], [infinity, 0])],
  ['no bound but infinity', histogram([infinity, 5])],
])('there is none where there is %s', (_what, buckets) => {
  expect(histogramQuantile(0.95, buckets)).toBeNull()
})
