import type { Call } from './history.ts'

interface Stretch {
  start: number
  end: number
}

// Longer than a write takes while there is a primary that can commit it.
const noticedMs = 500

const writes = new Set<Call['op']>(['place', 'cancel', 'advance', 'edit-name', 'edit-menu', 'open-restaurant'])

/**
 * For how long others may be shown less than what somebody has written. It is promised for as long as there is a primary:
 * while writes are waited for and none is acknowledged to anybody, there is none, or none that can commit yet, and time
 * does not count. Calls come in the order of their ends.
 */
export class StalenessBound {
  readonly ms: number
  readonly #gaps: Stretch[] = []
  readonly #waits: Stretch[] = []
  #acknowledgedAt = Number.NEGATIVE_INFINITY

  constructor(ms: number) {
    this.ms = ms
  }

  add({ op, outcome, start, end }: Call): void {
    if (!writes.has(op)) return
    if (end - start > noticedMs) this.#waits.push({ start, end })
    if (outcome !== 'ok') return
    if (end - this.#acknowledgedAt > noticedMs) this.#gaps.push({ start: this.#acknowledgedAt, end })
    this.#acknowledgedAt = end
  }

  /** To be asked after the last call, since what was waited for ends later. */
  allows({ since, shownAt, moreMs = 0 }: { since: number; shownAt: number; moreMs?: number }): boolean {
    const hidden = { start: since, end: shownAt }
    const standstillMs = this.#gaps
      .filter((gap) => overlap(gap, hidden) > 0 && this.#waits.some((wait) => overlap(gap, wait) > noticedMs))
      .reduce((sum, gap) => sum + overlap(gap, hidden), 0)
    return shownAt - since - standstillMs <= this.ms + moreMs
  }
}

function overlap(a: Stretch, b: Stretch): number {
  return Math.max(0, Math.min(a.end, b.end) - Math.max(a.start, b.start))
}
