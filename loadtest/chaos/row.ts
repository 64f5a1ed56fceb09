import type { Scene as Base } from '../consistency/inflict.ts'
import type { Attacker } from './attacker.ts'
import type { Figure, Seen } from './figures.ts'
import type { RowSight } from './watch.ts'

/** What a row may use. */
export interface Scene extends Base {
  attacker: Attacker
  /** Writes down that something was not as it must be, besides what the limits say. */
  wrong: (what: string) => void
  /** Counts what no limit and no watch counts. */
  count: (what: string, times?: number) => void
  /** What has been seen of this row so far. */
  sight: RowSight
  /** How often something read was held against what its reader had written, so far in this row. */
  ownPairs: () => number
  /** How many times longer everything may take. */
  patience: number
  /** How much of its figures a row is to reach: 1 for all. */
  share: number
}

/**
 * What people do meanwhile: as usual, more orders, the same with pauses where times are held to a limit, which says nothing
 * about a machine that is full, or little, where the row itself is the load.
 */
export type Pace = 'usual' | 'orders' | 'steady' | 'little'

/** Who asks: people without account, people who read, who write, and who log in or look after their sessions. */
export type Who = 'public' | 'reads' | 'writes' | 'sessions'

/** What may be seen from outside at the most. */
export interface Limits {
  /** Which answers may fail, as `503 unavailable` or `no answer`; all that is not named has to succeed. */
  failures: Partial<Record<Who, readonly string[]>>
  /** Between two reads, and between two writes, that succeeded. */
  readGapMs: number
  writeGapMs: number
  /** From the end of the fault to the beginning of normal service. */
  recoverMs: number
  /** The longest that anybody waits for an answer, where that is part of the promise. */
  slowestMs?: number
}

export interface Row {
  name: string
  /** What is done, and how it is undone, in words. */
  fault: string
  undo: string
  /** What must be seen besides the limits. */
  also?: string
  limits: Limits
  /** Sessions end by it, which the judge has to know. */
  endsSessions?: boolean
  pace?: Pace
  /** What it has to reach, where that takes more than that its limits hold. */
  figures?: (seen: Seen) => Figure[]
  run: (scene: Scene) => Promise<void>
}

// A machine that is shared pauses for half a second now and then.
export const nothingNoticed: Limits = { failures: {}, readGapMs: 1_500, writeGapMs: 1_500, recoverMs: 2_000 }

export const writesWait: readonly string[] = ['503 unavailable', '504 timeout']

/** The limits in words, as the tables have them. */
export function describeLimits({ failures, readGapMs, writeGapMs, recoverMs, slowestMs }: Limits): string {
  const byKinds = new Map<string, string[]>()
  for (const [who, kinds] of Object.entries(failures)) {
    const words = kinds.join(', ')
    byKinds.set(words, [...(byKinds.get(words) ?? []), who])
  }
  const allowed = [...byKinds].map(([kinds, whose]) => `${whose.join(', ')}: ${kinds}`)
  const seconds = (ms: number) => `${ms / 1_000} s`
  return [
    allowed.length === 0 ? '0 failed' : `only ${allowed.join('; ')}`,
    `gaps ${seconds(readGapMs)} and ${seconds(writeGapMs)}`,
    `normal after ${seconds(recoverMs)}`,
    ...(slowestMs === undefined ? [] : [`no answer later than ${seconds(slowestMs)}`]),
  ].join('; ')
}
