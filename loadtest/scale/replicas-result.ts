import { median } from '../compare-result.ts'
import type { Part } from '../cpu.ts'
import type { Machine } from '../result.ts'
import { type Fit, fitScalability, peakOf, predict } from './usl.ts'

/** Throughput over replicas as data: what the report is made of, and what `--json` writes. */
export interface ReplicaScale {
  startedAt: string
  command: string
  machine: Machine
  scenario: string
  connections: number
  /** Share of a core that each replica got; null for as much as it could take. */
  cap: number | null
  /** Why there were no caps although there should have been; null otherwise. */
  noCaps: string | null
  /** In the order in which they were measured. */
  steps: Step[]
}

export interface Step {
  replicas: number
  requests: number
  seconds: number
  wrong: number
  /** CPU milliseconds by part. */
  cpu: Record<Part, number>
  /** Share of all cores of the machine that was busy, whoever for. */
  machine: number
}

/** All measurements with the same number of replicas, as their medians. */
export interface Level {
  replicas: number
  perSecond: number
  predicted: number | undefined
  /** Throughput of each as a share of what one does alone, by the fit where there is one. */
  efficiency: number | undefined
  wrong: number
  /** Cores that each part has used. */
  cores: Record<Part, number>
  limits: Limit[]
}

/** Something that can be full. */
export interface Limit {
  name: string
  /** From 0, idle, to 1, full. */
  used: number
}

export interface Summary {
  levels: Level[]
  fit: Fit | undefined
  /** Infinite where more replicas always give more. */
  peak: number | undefined
}

export function summarize(scale: ReplicaScale): Summary {
  const { steps } = scale
  const fit = fitScalability(
    steps.map(({ replicas, requests, seconds }) => ({ replicas, perSecond: requests / seconds })),
  )
  const counts = [...new Set(steps.map(({ replicas }) => replicas))].sort((a, b) => a - b)
  const perSecondWith = (count: number) =>
    median(steps.filter(({ replicas }) => replicas === count).map(({ requests, seconds }) => requests / seconds))
  const alone = fit?.alone ?? (counts[0] === 1 ? perSecondWith(1) : undefined)
  const levels = counts.map((replicas): Level => {
    const same = steps.filter((step) => step.replicas === replicas)
    const cores = (part: Part) => median(same.map(({ cpu, seconds }) => cpu[part] / seconds / 1_000))
    const perSecond = perSecondWith(replicas)
    const used: Record<Part, number> = {
      Nginx: cores('Nginx'),
      replicas: cores('replicas'),
      Redis: cores('Redis'),
      mongod: cores('mongod'),
      'load generator': cores('load generator'),
    }
    return {
      replicas,
      perSecond,
      predicted: fit && predict(fit, replicas),
      efficiency: alone === undefined ? undefined : perSecond / replicas / alone,
      wrong: same.reduce((sum, { wrong }) => sum + wrong, 0),
      cores: used,
      limits: [
        // Without a cap a replica is one thread of JavaScript.
        { name: 'replicas', used: used.replicas / (replicas * (scale.cap ?? 1)) },
        { name: 'Redis', used: used.Redis },
        { name: 'load generator', used: used['load generator'] },
        // Nginx and the members of the replica set take as many cores as there are.
        { name: 'machine', used: median(same.map(({ machine }) => machine)) },
      ],
    }
  })
  return { levels, fit, peak: fit && peakOf(fit) }
}

/** The one that is closest to full. */
export function fullestOf({ limits }: Level): Limit {
  return limits.reduce((fullest, limit) => (limit.used > fullest.used ? limit : fullest))
}
