/** A bucket of a histogram as Prometheus keeps them: how much is at or below `le`. */
export interface Bucket {
  le: number
  count: number
}

/**
 * A quantile of a histogram by the formula of Prometheus' `histogram_quantile`: linear within the bucket, the last finite
 * bound for what lies beyond it.
 *
 * @returns null where there is nothing to go by: no observations, or no bucket `+Inf`
 */
export function histogramQuantile(quantile: number, histogram: Bucket[]): number | null {
  const buckets = histogram.toSorted((a, b) => a.le - b.le)
  const last = buckets.at(-1)
  if (buckets.length < 2 || last?.le !== Number.POSITIVE_INFINITY) return null
  let highest = 0
  // Buckets are not read all in the same instant, so that a lower one may be ahead.
  const counts = buckets.map(({ count }) => {
    highest = Math.max(highest, count)
    return highest
  })
  const total = counts.at(-1) ?? 0
  if (total === 0) return null
  const rank = quantile * total
  const index = counts.findIndex((count) => count >= rank)
  const at = (position: number) => ({ le: buckets[position]?.le ?? 0, count: counts[position] ?? 0 })
  if (index === buckets.length - 1) return at(index - 1).le
  const { le: end, count } = at(index)
  if (index === 0 && end <= 0) return end
  const { le: start, count: below } = index === 0 ? { le: 0, count: 0 } : at(index - 1)
  return start + (end - start) * ((rank - below) / (count - below))
}
