import { setTimeout as sleep } from 'node:timers/promises'
import type { ReplicaSet } from './replica-set.ts'

// Long enough to catch up, at the rates that a checker writes at.
const breathMs = 15
const retryMs = 500

/**
 * Holds secondaries behind by this much on average: each is locked for a little more than twice as long, in which its
 * lag grows from nothing, then let go for a moment. Two locks at once hold up every write, as slow replication does.
 */
export class SteadyLag {
  readonly #set: ReplicaSet
  #lockedSquareMs = 0
  #elapsedMs = 0

  constructor(set: ReplicaSet) {
    this.#set = set
  }

  /** What it came to, on average over time and members. */
  get meanMs(): number | undefined {
    return this.#elapsedMs === 0 ? undefined : this.#lockedSquareMs / 2 / this.#elapsedMs
  }

  /** `lagMs` for each secondary, by name; one for both. Lets go of them before it returns. */
  async run(lagMs: readonly number[], signal: AbortSignal): Promise<void> {
    const each = lagMs.length === 1 ? [lagMs[0] ?? 0, lagMs[0] ?? 0] : lagMs
    await Promise.all(each.map((lag, index) => (lag > 0 ? this.#holdBehind(lag, index, signal) : undefined)))
  }

  async #holdBehind(lagMs: number, index: number, signal: AbortSignal): Promise<void> {
    const rest = (timeMs: number) => sleep(timeMs, undefined, { signal }).catch(() => {})
    await rest(index * lagMs)
    let member: string | undefined
    let freeMs = breathMs
    while (!signal.aborted) {
      // A primary must not be locked, and who is primary changes.
      if (member === undefined || (await this.#set.role(member)) !== 'secondary') {
        member = (await this.#set.named('secondary')).sort()[index]
      }
      if (member === undefined) {
        await rest(retryMs)
        continue
      }
      const began = performance.now()
      try {
        await this.#set.lock(member)
      } catch {
        await rest(retryMs)
        continue
      }
      const locked = performance.now()
      try {
        await rest(lagMs + Math.sqrt(lagMs ** 2 + 2 * lagMs * freeMs))
      } finally {
        await this.#set.unlock(member)
      }
      const lockedMs = performance.now() - locked
      await rest(breathMs)
      const cycleMs = performance.now() - began
      // The lag grows while it is locked only, and counts over the whole cycle: lockedMs² / 2 / cycleMs on average.
      freeMs = cycleMs - lockedMs
      this.#lockedSquareMs += lockedMs ** 2
      this.#elapsedMs += cycleMs
    }
  }
}
