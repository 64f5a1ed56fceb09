import { Counter, Gauge, Registry } from 'prom-client'
import type { ReplicaState } from './replicas.ts'
import { groups } from './usage.ts'
import type { Sources, Watch } from './watch.ts'

/** The states of members that are told one by one; any other counts as `other`. */
const states = ['primary', 'secondary', 'recovering', 'startup', 'startup2', 'rollback', 'removed', 'other', 'down']

type Write = (value: number | null | undefined, labels?: Record<string, string>) => void

/** What ops exports of the stack for Prometheus: always the latest sample, and nothing for what is not known. */
export function createExposition(sources: Sources, watch: Pick<Watch, 'usage' | 'totals'>): Registry {
  const registry = new Registry()
  const { replicas, nginx, redis, members, machine } = sources

  function gauge(name: string, help: string, labelNames: string[], collect: (write: Write) => void): void {
    new Gauge({
      name,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset()
        collect((value, labels = {}) => {
          if (value != null) this.set(labels, value)
        })
      },
    })
  }
  function counter(name: string, help: string, labelNames: string[], collect: (write: Write) => void): void {
    new Counter({
      name,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset()
        collect((value, labels = {}) => {
          if (value != null) this.inc(labels, value)
        })
      },
    })
  }
  const eachMember =
    (read: (member: ReturnType<typeof members.current>[number], write: Write) => void) => (write: Write) => {
      for (const member of members.current()) {
        read(member, (value, labels = {}) => write(value, { member: member.name, ...labels }))
      }
    }

  gauge(
    'mongodb_replication_lag_seconds',
    'How long a written heartbeat was not yet visible at this member; 0 for the primary',
    ['member'],
    eachMember((member, write) => {
      const lagMs = member.lagMs(performance.now())
      write(lagMs === null ? null : lagMs / 1000)
    }),
  )
  gauge(
    'mongodb_member_state',
    '1 for the state that the member is in',
    ['member', 'state'],
    eachMember((member, write) => {
      const current = states.includes(member.state) ? member.state : 'other'
      for (const state of states) write(state === current ? 1 : 0, { state })
    }),
  )
  gauge(
    'mongodb_up',
    '1 if the member answers',
    ['member'],
    eachMember(({ isUp }, write) => write(flag(isUp))),
  )
  gauge(
    'mongodb_oplog_window_seconds',
    'Between the oldest and the newest entry of the oplog',
    ['member'],
    eachMember(({ figures }, write) => write(figures?.oplogSeconds)),
  )
  gauge(
    'mongodb_connections',
    'Open connections of the member',
    ['member'],
    eachMember(({ figures }, write) => write(figures?.connections)),
  )
  counter(
    'mongodb_cpu_seconds_total',
    'CPU time of the member',
    ['member'],
    eachMember(({ figures }, write) => write(figures?.cpuSeconds)),
  )
  gauge(
    'mongodb_resident_memory_bytes',
    'Resident memory of the member',
    ['member'],
    eachMember(({ figures }, write) => write(figures?.residentBytes)),
  )
  counter(
    'mongodb_operations_total',
    'Operations of the member by type (opcounters)',
    ['member', 'type'],
    eachMember(({ figures }, write) => {
      for (const [type, count] of Object.entries(figures?.operations ?? {})) write(count, { type })
    }),
  )

  gauge('redis_up', '1 if Redis answers', [], (write) =>
    write(redis.isKnown() ? flag(redis.figures() !== undefined) : null),
  )
  gauge('redis_memory_used_bytes', 'Memory that Redis has allocated', [], (write) => write(redis.figures()?.usedBytes))
  gauge('redis_memory_max_bytes', 'Its limit; 0 is none', [], (write) => write(redis.figures()?.maxBytes))
  counter('redis_evicted_keys_total', 'Keys evicted for want of memory', [], (write) =>
    write(redis.figures()?.evictedKeys),
  )
  counter('redis_keyspace_hits_total', 'Look-ups of keys that were there', [], (write) => write(redis.figures()?.hits))
  counter('redis_keyspace_misses_total', 'Look-ups of keys that were not', [], (write) =>
    write(redis.figures()?.misses),
  )
  gauge('redis_connected_clients', 'Connections of clients', [], (write) => write(redis.figures()?.clients))
  counter('redis_cpu_seconds_total', 'CPU time of Redis', [], (write) => write(redis.figures()?.cpuSeconds))
  counter('redis_commands_total', 'Commands processed', [], (write) => write(redis.figures()?.commands))

  gauge('nginx_up', '1 if Nginx answers', [], (write) => write(flag(nginx.isUp())))
  gauge('nginx_connections', 'Connections of clients by state, where stub_status is there', ['state'], (write) => {
    const status = nginx.status()
    if (!status) return
    for (const state of ['active', 'reading', 'writing', 'waiting'] as const) write(status[state], { state })
  })
  counter(
    'nginx_requests_total',
    'Requests answered: by the access log since ops started, else by stub_status',
    [],
    (write) => write(nginx.totals().requests),
  )
  counter('nginx_errors_total', 'Answers of 500 and above, where there is an access log', [], (write) =>
    write(nginx.totals().errors),
  )
  counter('nginx_edge_answers_total', 'Answers of the edge cache alone, where there is an access log', [], (write) =>
    write(nginx.totals().edge),
  )

  const eachReplica = (isTrue: (state: ReplicaState) => boolean) => (write: Write) => {
    // While one is put in the place of another, both have its name: it is up if one of them is.
    const names = new Map<string, boolean>()
    for (const { name, state } of replicas.current()) {
      if (state !== 'starting') names.set(name, isTrue(state) || names.get(name) === true)
    }
    for (const [replica, value] of names) write(flag(value), { replica })
  }
  gauge(
    'replica_up',
    '1 if the replica answers; absent until it was ready for the first time',
    ['replica'],
    eachReplica((state) => state === 'ready' || state === 'not ready'),
  )
  gauge(
    'replica_ready',
    '1 if the replica is ready for requests; absent until it was for the first time',
    ['replica'],
    eachReplica((state) => state === 'ready'),
  )

  gauge('machine_cpu_utilization', 'Share of the CPUs in use over the last ten seconds, 0 to 1', [], (write) =>
    write(machine.cpuShare(performance.now())),
  )
  gauge('machine_memory_utilization', 'Share of the memory that cannot be had, 0 to 1', [], (write) =>
    write(machine.memoryShare()),
  )
  gauge('machine_cpus', 'CPUs of the machine', [], (write) => write(machine.cpuCount))
  counter('machine_disk_bytes_total', 'Bytes to and from all disks', ['direction'], (write) => {
    for (const direction of ['read', 'written']) write(machine.bytes()[direction], { direction })
  })
  counter('machine_network_bytes_total', 'Bytes over all interfaces but loopback', ['direction'], (write) => {
    for (const direction of ['received', 'sent']) write(machine.bytes()[direction], { direction })
  })
  counter('group_cpu_seconds_total', 'CPU time of all processes of a kind', ['group'], (write) => {
    for (const group of groups) write(watch.totals.cpuSeconds(group), { group })
  })
  gauge('group_resident_memory_bytes', 'Resident memory of all processes of a kind', ['group'], (write) => {
    for (const group of groups) {
      const own = watch.usage().filter((process) => process.group === group && process.residentBytes !== undefined)
      if (own.length > 0)
        write(
          own.reduce((sum, { residentBytes = 0 }) => sum + residentBytes, 0),
          { group },
        )
    }
  })
  return registry
}

function flag(value: boolean | undefined): number | undefined {
  return value === undefined ? undefined : Number(value)
}
