import type { Machine } from './machine.ts'
import type { Sources } from './watch.ts'

export const groups = ['nginx', 'app', 'redis', 'mongod', 'ops'] as const
export type Group = (typeof groups)[number]

/** What one process of the stack uses, by the system's word where it lets see it, else by its own. */
export interface ProcessUsage {
  group: Group
  /** `host:port` of a replica or member, else its group. */
  key: string
  /** Over the last ten seconds. */
  cores: number | undefined
  cpuSeconds: number | undefined
  residentBytes: number | undefined
}

/** The usage of every process that is known of. */
export function processUsage(sources: Sources, nowMs: number): ProcessUsage[] {
  const { machine, stack, replicas, members, redis, own } = sources
  const processes = stack()
  const pidOf = (role: Group, port?: string) =>
    processes.find((process) => process.role === role && (port === undefined || `${process.port}` === port))?.pid
  const redisFigures = redis.figures()
  return [
    seen(machine, 'nginx', 'nginx', pidOf('nginx'), nowMs, {}),
    ...replicas.current().map((replica) =>
      seen(machine, 'app', replica.address, replica.pid, nowMs, {
        cores: replica.rates(nowMs).cpu,
        cpuSeconds: replica.gauges.cpu,
        residentBytes: replica.gauges.memory,
      }),
    ),
    seen(machine, 'redis', 'redis', pidOf('redis'), nowMs, {
      cores: redis.rates(nowMs).cpu,
      cpuSeconds: redisFigures?.cpuSeconds,
      residentBytes: redisFigures?.residentBytes,
    }),
    ...members.current().map((member) =>
      seen(machine, 'mongod', member.address, pidOf('mongod', member.address.split(':').at(-1)), nowMs, {
        cores: member.rates(nowMs).cpu,
        cpuSeconds: member.figures?.cpuSeconds,
        residentBytes: member.figures?.residentBytes,
      }),
    ),
    { group: 'ops', key: 'ops', ...own(nowMs) },
  ]
}

type Figures = Omit<ProcessUsage, 'group' | 'key'>

function seen(
  machine: Machine,
  group: Group,
  key: string,
  pid: number | undefined,
  nowMs: number,
  byItself: Partial<Figures>,
): ProcessUsage {
  const usage = pid === undefined ? undefined : machine.usage(pid)
  const figures =
    pid !== undefined && usage
      ? { cores: machine.cores(pid, nowMs), cpuSeconds: usage.cpuSeconds, residentBytes: usage.residentBytes }
      : { cores: byItself.cores, cpuSeconds: byItself.cpuSeconds, residentBytes: byItself.residentBytes }
  return { group, key, ...figures }
}

/** CPU seconds of each group so far. They never become less, whoever leaves or begins anew. */
export interface GroupTotals {
  add(usage: ProcessUsage[]): void
  cpuSeconds(group: Group): number | undefined
}

export function createGroupTotals(): GroupTotals {
  const totals = new Map<Group, number>()
  let last = new Map<string, number>()
  return {
    add(usage) {
      const next = new Map<string, number>()
      for (const { group, key, cpuSeconds } of usage) {
        if (cpuSeconds === undefined) continue
        const before = last.get(`${group} ${key}`) ?? 0
        const more = cpuSeconds < before ? cpuSeconds : cpuSeconds - before
        totals.set(group, (totals.get(group) ?? 0) + more)
        next.set(`${group} ${key}`, cpuSeconds)
      }
      last = next
    },
    cpuSeconds: (group) => totals.get(group),
  }
}
