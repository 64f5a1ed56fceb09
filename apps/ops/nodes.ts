import { milliseconds } from './figures.ts'
import type { ReplicaState } from './replicas.ts'
import type { ProcessUsage } from './usage.ts'
import type { Sources } from './watch.ts'
import type { Health, Node } from './wire.ts'

const lagThatWarnsMs = 2_000

const healthOfReplica: Record<ReplicaState, Health> = {
  starting: 'starting',
  ready: 'ok',
  'not ready': 'warning',
  'no answer': 'down',
  ended: 'down',
}

/** Every process of the stack as the page shows it. */
export function nodesOf(sources: Sources, usage: ProcessUsage[], nowMs: number): Node[] {
  const { replicas, nginx, redis, members } = sources
  const used = new Map(usage.map((process) => [process.key, process]))
  const costs = (key: string) => {
    const { cores, residentBytes } = used.get(key) ?? {}
    return {
      ...(cores === undefined ? {} : { cpu: Number(cores.toFixed(3)) }),
      ...(residentBytes === undefined ? {} : { memoryBytes: residentBytes }),
    }
  }
  const requests = replicas.current().reduce((sum, replica) => sum + (replica.rates(nowMs).requests ?? 0), 0)
  const allReads = members.current().map(({ name }) => queriesAt(sources, name, nowMs))
  const reads = allReads.reduce<number>((sum, rate) => sum + (rate ?? 0), 0)
  const figures = redis.figures()
  const nginxRequests = nginx.rates(nowMs).requests
  return [
    {
      id: 'nginx',
      kind: 'nginx',
      name: 'nginx',
      health: healthOf(nginx.isUp()),
      detail: nginx.isUp() === false ? 'down' : nginxRequests === undefined ? '' : perSecond(nginxRequests),
      ...costs('nginx'),
    },
    ...replicas.current().map((replica): Node => {
      const rate = replica.rates(nowMs).requests
      return {
        id: `app ${replica.address}`,
        kind: 'app',
        name: replica.name,
        health: healthOfReplica[replica.state],
        detail: detailOf(replica.state, rate),
        ...(rate === undefined || requests === 0 ? {} : { share: Math.min(1, Number((rate / requests).toFixed(4))) }),
        ...costs(replica.address),
      }
    }),
    {
      id: 'redis',
      kind: 'redis',
      name: 'redis',
      health: redis.isKnown() ? healthOf(figures !== undefined) : 'unknown',
      detail: figures
        ? `${perSecond(redis.rates(nowMs).commands ?? 0, 'commands')}, ${Math.round(figures.usedBytes / 2 ** 20)} MiB`
        : redis.isKnown()
          ? 'down'
          : '',
      ...costs('redis'),
    },
    ...members.current().map((member, index): Node => {
      const lagMs = member.lagMs(nowMs)
      const isWarning = member.isUp && (member.role === 'other' || (lagMs ?? 0) > lagThatWarnsMs)
      const share = allReads[index]
      return {
        id: `mongod ${member.address}`,
        kind: 'mongod',
        name: member.name,
        health: isWarning ? 'warning' : healthOf(member.isUp),
        role: member.role,
        detail:
          member.role !== 'secondary' ? member.state : lagMs === null ? 'lag unknown' : `lag ${milliseconds(lagMs)}`,
        ...(share === undefined || reads === 0 ? {} : { share: Number((share / reads).toFixed(4)) }),
        ...costs(member.address),
      }
    }),
    { id: 'ops', kind: 'ops', name: 'ops', health: 'ok', detail: 'watches', ...costs('ops') },
  ]
}

function detailOf(state: ReplicaState, rate: number | undefined): string {
  if (state === 'ready') return rate === undefined ? 'rate unknown' : perSecond(rate)
  return { starting: 'not ready yet', ended: 'ended, starts again', 'not ready': state, 'no answer': state }[state]
}

function queriesAt({ replicas }: Sources, member: string, nowMs: number): number | undefined {
  let queries: number | undefined
  for (const replica of replicas.current()) {
    const rate = replica.rates(nowMs)[`queries|${member}`]
    if (rate !== undefined) queries = (queries ?? 0) + rate
  }
  return queries
}

function healthOf(isUp: boolean | undefined): Health {
  return isUp === undefined ? 'unknown' : isUp ? 'ok' : 'down'
}

function perSecond(rate: number, what = 'req'): string {
  return `${rate < 10 ? rate.toFixed(1) : Math.round(rate)} ${what}/s`
}
