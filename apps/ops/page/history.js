// @ts-check
/** @typedef {import('../wire.ts').History} History */
/** @typedef {import('../wire.ts').Sample} Sample */
/** @typedef {import('../wire.ts').OpsEvent} OpsEvent */

const keptSeconds = 1800
const keptEvents = 200
// Longer than this without a sample is drawn as a gap, not as a line across.
const gapMs = 5000

/**
 * What the charts draw: the last half hour, a column a second, and what happened.
 */
export function createHistory() {
  /** @type {number[]} */
  let timesMs = []
  /** @type {Map<string, (number | null)[]>} */
  let series = new Map()
  /** @type {OpsEvent[]} */
  let events = []

  /** @param {number} timeMs @param {Record<string, number | null>} values */
  function addColumn(timeMs, values) {
    for (const name of Object.keys(values)) {
      if (!series.has(name)) series.set(name, new Array(timesMs.length).fill(null))
    }
    timesMs.push(timeMs)
    for (const [name, column] of series) column.push(values[name] ?? null)
    if (timesMs.length <= keptSeconds) return
    timesMs.shift()
    for (const [name, column] of series) {
      column.shift()
      // A replica or member that left half an hour ago is forgotten.
      if (!(name in values) && column.every((value) => value === null)) series.delete(name)
    }
  }

  return {
    /** @param {Sample} sample */
    append({ timeMs, values }) {
      const lastMs = timesMs.at(-1)
      if (lastMs !== undefined && timeMs <= lastMs) return
      if (lastMs !== undefined && timeMs - lastMs > gapMs) addColumn(lastMs + 1, {})
      addColumn(timeMs, values)
    },

    /** @param {History} history */
    replace(history) {
      timesMs = []
      series = new Map()
      for (const [column, timeMs] of history.timesMs.entries()) {
        const values = Object.entries(history.series).map(([name, all]) => [name, all[column] ?? null])
        this.append({ timeMs, values: Object.fromEntries(values) })
      }
    },

    /** @param {OpsEvent[]} all */
    replaceEvents(all) {
      events = all.slice(-keptEvents)
    },

    /** @param {OpsEvent[]} more */
    appendEvents(more) {
      events = [...events, ...more].slice(-keptEvents)
    },

    /** Oldest first. */
    get events() {
      return events
    },

    get latestMs() {
      return timesMs.at(-1)
    },

    /** @param {string} name */
    latest(name) {
      return series.get(name)?.at(-1) ?? null
    },

    /**
     * The columns of the last `rangeMs`.
     * @param {number} rangeMs
     */
    window(rangeMs) {
      const fromMs = (timesMs.at(-1) ?? 0) - rangeMs
      // One more to the left, so that lines reach the edge.
      const first = Math.max(0, timesMs.findIndex((timeMs) => timeMs >= fromMs) - 1)
      return {
        timesMs: timesMs.slice(first),
        names: [...series.keys()],
        /** @param {string} name */
        values: (name) => series.get(name)?.slice(first) ?? timesMs.slice(first).map(() => null),
      }
    },
  }
}

/** @typedef {ReturnType<typeof createHistory>} LiveHistory */
/** @typedef {ReturnType<LiveHistory['window']>} HistoryWindow */
