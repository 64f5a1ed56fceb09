/** Throughput with a number of replicas. */
export interface Point {
  replicas: number
  perSecond: number
}

/** The Universal Scalability Law, X(N) = λN / (1 + σ(N−1) + κN(N−1)), with the terms that come closest to what was measured. */
export interface Fit {
  /** λ: what one alone does. */
  alone: number
  /** σ: the share of the work for which replicas wait for one another. */
  contention: number
  /** κ: what each has to do for each other one. */
  coherency: number
  /** How far a point is from the curve at the most, as a share of what was measured. */
  furthest: number
}

/** Throughput by the law. */
export function predict({ alone, contention, coherency }: Omit<Fit, 'furthest'>, replicas: number): number {
  return (alone * replicas) / (1 + contention * (replicas - 1) + coherency * replicas * (replicas - 1))
}

/** Where throughput is highest; infinite where more replicas always give more. */
export function peakOf({ contention, coherency }: Pick<Fit, 'contention' | 'coherency'>): number {
  if (coherency === 0) return Number.POSITIVE_INFINITY
  return Math.max(1, Math.sqrt(Math.max(0, 1 - contention) / coherency))
}

/**
 * Fits the law by least squares. N / X(N) is linear in 1/λ, σ/λ and κ/λ, so there is nothing to iterate; each point counts
 * by how far it is off in proportion, or those with many replicas would decide alone. A term that would come out negative,
 * which means nothing, is zero, and the others are the best there are with it.
 *
 * @returns undefined where fewer than three numbers of replicas were measured: any three terms would do
 */
export function fitScalability(points: readonly Point[]): Fit | undefined {
  const usable = points.filter(({ perSecond }) => perSecond > 0)
  if (new Set(usable.map(({ replicas }) => replicas)).size < 3) return undefined
  // Of a sum of squares over a cone, the least lies where some terms are zero and the others are free.
  const candidates = [[1, 2], [1], [2], []].flatMap((free) => {
    const terms = solve(usable, [0, ...free])
    return terms.every((term) => term >= 0) && terms[0] > 0 ? [{ terms, error: errorOf(usable, terms) }] : []
  })
  const [best] = candidates.toSorted((a, b) => a.error - b.error)
  if (!best) return undefined
  const [perAlone, contention, coherency] = best.terms
  const law = { alone: 1 / perAlone, contention: contention / perAlone, coherency: coherency / perAlone }
  const furthest = Math.max(
    ...usable.map(({ replicas, perSecond }) => Math.abs(predict(law, replicas) / perSecond - 1)),
  )
  return { ...law, furthest }
}

type Terms = [perAlone: number, contention: number, coherency: number]

/** What each term is multiplied by, so that they add up to 1 on the curve. */
function factorsOf({ replicas, perSecond }: Point): Terms {
  const perReplica = perSecond / replicas
  return [perReplica, perReplica * (replicas - 1), perReplica * replicas * (replicas - 1)]
}

function errorOf(points: readonly Point[], terms: Terms): number {
  return points.reduce((sum, point) => {
    const factors = factorsOf(point)
    return sum + (terms.reduce((value, term, index) => value + term * (factors[index] as number), 0) - 1) ** 2
  }, 0)
}

/** The free terms with the least error, by the normal equations; the others are zero. */
function solve(points: readonly Point[], free: number[]): Terms {
  const rows = free.map((row) => [
    ...free.map((column) => sumOf(points, (factors) => (factors[row] as number) * (factors[column] as number))),
    sumOf(points, (factors) => factors[row] as number),
  ])
  for (const [pivot, row] of rows.entries()) {
    const divisor = row[pivot] as number
    for (const [index] of row.entries()) row[index] = (row[index] as number) / divisor
    for (const other of rows) {
      if (other === row) continue
      const times = other[pivot] as number
      for (const [index] of other.entries()) other[index] = (other[index] as number) - times * (row[index] as number)
    }
  }
  const terms: Terms = [0, 0, 0]
  for (const [index, term] of free.entries()) terms[term] = rows[index]?.at(-1) ?? 0
  // Where exact data has none of it, rounding leaves a trace of either sign.
  return terms.map((term) => (Math.abs(term) < 1e-9 * (terms[0] ?? 1) ? 0 : term)) as Terms
}

function sumOf(points: readonly Point[], value: (factors: Terms) => number): number {
  return points.reduce((sum, point) => sum + value(factorsOf(point)), 0)
}
