import type { Call } from './history.ts'

/** Something that has been known since a moment, and the call that showed it. */
export interface Known<T> {
  since: number
  value: T
  call: Call
}

// No call takes longer, so no question goes further back.
const forgetAfterMs = 120_000
const forgetFrom = 256

/** The least that must be shown, as it rose in time. Calls come in the order of their ends. */
export class Bound<T> {
  #steps: Known<T>[] = []
  readonly #isHigher: (value: T, than: T) => boolean

  constructor(isHigher: (value: T, than: T) => boolean) {
    this.#isHigher = isHigher
  }

  raise(value: T, call: Call): void {
    const last = this.#steps.at(-1)
    if (last && !this.#isHigher(value, last.value)) return
    this.#steps.push({ since: call.end, value, call })
    if (this.#steps.length > forgetFrom) {
      const kept = this.#steps.findIndex(({ since }) => since > call.end - forgetAfterMs)
      this.#steps = this.#steps.slice(Math.max(0, kept - 1))
    }
  }

  /** What was known before a moment; undefined when nothing was. */
  before(moment: number): Known<T> | undefined {
    for (let index = this.#steps.length - 1; index >= 0; index--) {
      const step = this.#steps[index]
      if (step && step.since < moment) return step
    }
    return undefined
  }

  get latest(): Known<T> | undefined {
    return this.#steps.at(-1)
  }
}
