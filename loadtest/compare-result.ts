import type { Goal } from './compare-works.ts'
import { type Part, parts } from './cpu.ts'
import type { Machine } from './result.ts'

/** A comparison as data: what reports are made of, and what `--json` writes. */
export interface Comparison {
  startedAt: string
  command: string
  machine: Machine
  alternations: number
  seconds: number
  connections: number
  works: WorkResult[]
}

export interface WorkResult {
  work: string
  goal: Goal
  /** CPU-ms that hashing passwords takes per 1,000 requests, the same on both sides; null where nothing is hashed. */
  hashCpu: number | null
  variants: VariantResult[]
  /** At half of the rate that the guide can do; null where times are not compared. */
  times: { rate: number; p99Ms: { stack: number[]; guide: number[] } } | null
}

export const variantNames = ['stack', 'guide', 'limit'] as const
export type VariantName = (typeof variantNames)[number]

export interface VariantResult {
  variant: VariantName
  /** What it is, in words. */
  description: string
  /** One for each alternation. */
  rounds: Round[]
}

export interface Round {
  requests: number
  seconds: number
  wrong: number
  /** CPU-ms by part. */
  cpu: Record<Part, number>
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle) - 1] ?? Number.NaN)) / 2
}

/** CPU-ms of all servers per 1,000 requests, one for each alternation. */
export function serverCpus({ rounds }: VariantResult): number[] {
  return rounds.map(({ cpu, requests }) => {
    const { 'load generator': _, ...servers } = cpu
    return (Object.values(servers).reduce((sum, each) => sum + each, 0) / requests) * 1_000
  })
}

/** The median CPU-ms of each part per 1,000 requests. */
export function partCpus({ rounds }: VariantResult): { part: Part; ms: number }[] {
  return parts.map((part) => ({
    part,
    ms: median(rounds.map(({ cpu, requests }) => (cpu[part] / requests) * 1_000)),
  }))
}

export interface Ratio {
  median: number
  least: number
  most: number
}

/**
 * How many times more one takes than the other: of those that were measured one after the other, since whatever else
 * the machine does hits both.
 */
export function ratioOf(more: number[], less: number[], without = 0): Ratio {
  const each = more.map((value, round) => (value - without) / ((less[round] ?? Number.NaN) - without))
  return { median: median(each), least: Math.min(...each), most: Math.max(...each) }
}

export interface Verdict {
  what: string
  reached: Ratio
  goal: number
  isReached: boolean
}

/** Each ratio of a work beside its goal. */
export function verdictsOf({ goal, hashCpu, variants, times }: WorkResult): Verdict[] {
  const cpuOf = (name: VariantName) => {
    const found = variants.find(({ variant }) => variant === name)
    return found && serverCpus(found)
  }
  const [stack, guide, limit] = variantNames.map(cpuOf)
  const verdict = (what: string, reached: Ratio, goal: number) => ({
    what,
    reached,
    goal,
    isReached: reached.median >= goal,
  })
  return [
    ...(stack && guide
      ? [
          verdict(
            hashCpu === null ? 'times less CPU than the guide' : 'times less CPU than the guide, without the hash',
            ratioOf(guide, stack, hashCpu ?? 0),
            goal.timesLess,
          ),
        ]
      : []),
    ...(stack && limit && goal.shareOfLimit !== undefined
      ? [verdict('of the limit', ratioOf(limit, stack), goal.shareOfLimit)]
      : []),
    ...(times ? [verdict('times shorter p99', ratioOf(times.p99Ms.guide, times.p99Ms.stack), 3)] : []),
  ]
}
