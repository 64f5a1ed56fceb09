import { readdirSync, readFileSync } from 'node:fs'

/** Somebody whose CPU time is measured, with everybody they start. */
export interface Measured {
  part: Part
  pid: number
}

export const parts = ['Nginx', 'replicas', 'Redis', 'mongod', 'load generator'] as const
export type Part = (typeof parts)[number]

/** The part that a process of `stack.json` belongs to; undefined for those that serve no request. */
export function partOf(role: string): Part | undefined {
  return { nginx: 'Nginx', app: 'replicas', redis: 'Redis', mongod: 'mongod' }[role] as Part | undefined
}

const sampleMs = 250
// USER_HZ, which Linux keeps at 100 for whoever reads /proc.
const millisecondsPerTick = 10

/** Adds up CPU time by part, also of processes that come and go meanwhile. Needs /proc. */
export class CpuMeter {
  readonly #processes: () => Measured[]
  readonly #startedAt = new Map<string, number>()
  readonly #latest = new Map<string, { part: Part; ms: number }>()
  readonly #timer: NodeJS.Timeout
  readonly #ownAtStart = process.cpuUsage()

  constructor(processes: () => Measured[]) {
    this.#processes = processes
    this.#sample()
    for (const [id, { ms }] of this.#latest) this.#startedAt.set(id, ms)
    this.#timer = setInterval(() => this.#sample(), sampleMs)
  }

  /** Milliseconds since it was made, user and system together. */
  end(): Record<Part, number> {
    clearInterval(this.#timer)
    this.#sample()
    const sums = Object.fromEntries(parts.map((part) => [part, 0])) as Record<Part, number>
    for (const [id, { part, ms }] of this.#latest) sums[part] += ms - (this.#startedAt.get(id) ?? 0)
    const { user, system } = process.cpuUsage(this.#ownAtStart)
    sums['load generator'] = (user + system) / 1_000
    return sums
  }

  #sample(): void {
    for (const { part, pid } of this.#processes()) {
      const usage = usageOf(pid)
      if (usage) this.#latest.set(usage.id, { part, ms: usage.ms })
    }
  }
}

/** What a process has used, with its children, also those that have ended; undefined when it is gone. */
function usageOf(pid: number): { id: string; ms: number } | undefined {
  try {
    // The name in field 2 may hold blanks; what follows begins with field 3.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
    const ticks = [14, 15, 16, 17].reduce((sum, field) => sum + Number(fields[field - 3]), 0)
    const children = childrenOf(pid).reduce((sum, child) => sum + (usageOf(child)?.ms ?? 0), 0)
    return { id: `${pid} ${fields[22 - 3]}`, ms: ticks * millisecondsPerTick + children }
  } catch {
    return undefined
  }
}

function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  )
}
