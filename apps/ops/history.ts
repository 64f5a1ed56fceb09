import type { Values } from './thresholds.ts'
import type { History, Sample } from './wire.ts'

export interface HistoryRing {
  add(sample: Sample): void
  /** Oldest first. */
  snapshot(): History
}

/**
 * The latest seconds of every series, in bounded memory. A series without a value in all of them is dropped; of too many,
 * those that come last are left out.
 */
export function createHistory(length = 1_800, maxSeries = 256): HistoryRing {
  const times = new Float64Array(length)
  const series = new Map<string, { column: Float64Array; lastIndex: number }>()
  // Counts all samples ever; a sample lies at its index modulo the length.
  let next = 0

  return {
    add({ timeMs, values }: { timeMs: number; values: Values }) {
      const slot = next % length
      times[slot] = timeMs
      for (const [name, value] of Object.entries(values)) {
        if (value === null || series.has(name) || series.size >= maxSeries) continue
        series.set(name, { column: new Float64Array(length).fill(Number.NaN), lastIndex: next })
      }
      for (const [name, entry] of series) {
        const value = values[name] ?? null
        entry.column[slot] = value ?? Number.NaN
        if (value !== null) entry.lastIndex = next
        else if (next - entry.lastIndex >= length) series.delete(name)
      }
      next++
    },
    snapshot() {
      const first = Math.max(0, next - length)
      const slots = Array.from({ length: next - first }, (_, offset) => (first + offset) % length)
      const columnOf = (column: Float64Array) =>
        slots.map((slot) => {
          const value = column[slot] ?? Number.NaN
          return Number.isNaN(value) ? null : value
        })
      return {
        timesMs: slots.map((slot) => times[slot] ?? 0),
        series: Object.fromEntries([...series].map(([name, { column }]) => [name, columnOf(column)])),
      }
    },
  }
}
