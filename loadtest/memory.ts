import { readFileSync } from 'node:fs'

/** Somebody whose memory is measured, without those whom they start. */
export interface Resident {
  role: string
  pid: number
}

/** Resident memory of a role, MiB, each time of the process that had most. */
export interface MemoryUse {
  role: string
  peakMiB: number
  endMiB: number
}

const sampleMs = 1_000

/** Looks at resident memory once a second, also of processes that come and go meanwhile. Needs /proc. */
export class MemoryMeter {
  readonly #processes: () => Resident[]
  readonly #peaks = new Map<string, number>()
  readonly #timer: NodeJS.Timeout

  constructor(processes: () => Resident[]) {
    this.#processes = processes
    this.#timer = setInterval(() => this.#sample(), sampleMs)
  }

  /** By role, in the order in which they were named. */
  end(): MemoryUse[] {
    clearInterval(this.#timer)
    const atEnd = this.#sample()
    return [...this.#peaks].map(([role, peakMiB]) => ({ role, peakMiB, endMiB: atEnd.get(role) ?? 0 }))
  }

  #sample(): Map<string, number> {
    const most = new Map<string, number>()
    for (const { role, pid } of this.#processes()) {
      most.set(role, Math.max(most.get(role) ?? 0, residentMiB(pid)))
    }
    for (const [role, now] of most) this.#peaks.set(role, Math.max(this.#peaks.get(role) ?? 0, now))
    return most
  }
}

/** 0 of one that is gone. */
function residentMiB(pid: number): number {
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return Number(kilobytes ?? 0) / 1_024
  } catch {
    return 0
  }
}
