/** When a request may be sent. */
export interface Pace {
  /**
   * Calls `send` when the next request is due, with the moment from which its time counts, on the clock of
   * `performance.now()`; never when the time is up.
   */
  next(send: (dueAtMs: number) => void): void
  /** From now on nothing is due any more. */
  end(): void
  readonly isOver: boolean
  /** Requests that were due and could not be sent in time, since all connections were busy until the end. */
  readonly unsent: number
}

/** Everything is due at once: each connection sends as soon as it has its answer. */
export class Unpaced implements Pace {
  readonly unsent = 0
  isOver = false

  next(send: (dueAtMs: number) => void): void {
    if (!this.isOver) send(performance.now())
  }

  end(): void {
    this.isOver = true
  }
}

// A timer may be this late without anybody else being to blame.
const timerMs = 2

/**
 * One request after another in equal intervals, whatever becomes of those before (an open loop). When no connection is
 * free, requests wait their turn, and their time counts from when they were due: a server that stalls cannot hide it.
 */
export class FixedRate implements Pace {
  readonly #intervalMs: number
  readonly #startedAt = performance.now()
  readonly #idle: ((dueAtMs: number) => void)[] = []
  #count = 0
  #endedAt: number | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(perSecond: number) {
    this.#intervalMs = 1_000 / perSecond
  }

  next(send: (dueAtMs: number) => void): void {
    if (this.isOver) return
    const dueAt = this.#dueAt
    if (dueAt <= performance.now()) {
      this.#count++
      send(dueAt)
    } else {
      this.#idle.push(send)
      this.#wait()
    }
  }

  end(): void {
    this.#endedAt ??= performance.now()
    clearTimeout(this.#timer)
    this.#idle.length = 0
  }

  get isOver(): boolean {
    return this.#endedAt !== undefined
  }

  get unsent(): number {
    const due = Math.floor(((this.#endedAt ?? performance.now()) - this.#startedAt) / this.#intervalMs)
    return Math.max(0, due - this.#count)
  }

  get #dueAt(): number {
    return this.#startedAt + this.#count * this.#intervalMs
  }

  #wait(): void {
    this.#timer ??= setTimeout(() => this.#sendWhatIsDue(), Math.max(0, this.#dueAt - performance.now()))
  }

  #sendWhatIsDue(): void {
    this.#timer = undefined
    for (;;) {
      const now = performance.now()
      if (this.#dueAt > now) break
      const send = this.#idle.shift()
      if (!send) return
      const dueAt = this.#dueAt
      this.#count++
      send(now - dueAt <= timerMs ? now : dueAt)
    }
    if (this.#idle.length > 0) this.#wait()
  }
}
