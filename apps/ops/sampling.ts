import type { Credentials } from '../data/admin.ts'
import { createEventLog } from './events.ts'
import { watchMachine } from './machine.ts'
import { watchMembers } from './members.ts'
import { watchNginx } from './nginx.ts'
import { watchOwnUsage } from './own-usage.ts'
import { watchRedis } from './redis.ts'
import { type ReplicaSource, watchReplicas } from './replicas.ts'
import { watchStackFile } from './stack-file.ts'
import { createWatch, type Sources, type Watch } from './watch.ts'

export interface SamplingOptions {
  source: ReplicaSource
  /** The launcher's list; undefined where there is none. */
  stackPath: string | undefined
  nginx: { statusUrl: string; logPath: string }
  redis: { url: string; password: string | undefined }
  mongo: { hosts: string[]; database: string; credentials: Credentials | undefined }
  /** What went wrong with a question, and whose it was. */
  onError: (error: Error, where: string) => void
}

export interface Sampling {
  sources: Sources
  watch: Watch
  close(): Promise<void>
}

/** Starts all samplers, and the watch that looks at them once a second. */
export function startSampling(options: SamplingOptions): Sampling {
  const { source, stackPath, nginx, redis, mongo, onError } = options
  const events = createEventLog()
  // Replicas and members are asked themselves; of these two, quickly started again, only the launcher knows.
  const stack = watchStackFile(stackPath, ({ role, name }) => {
    if (role === 'nginx' || role === 'redis') events.add('server-restarted', `${name} was started again`)
  })
  const sources: Sources = {
    stack: stack.processes,
    machine: watchMachine(stack.processes),
    replicas: watchReplicas(source, stack.processes, {
      joined: ({ name, address }) => events.add('replica-joined', `${name} (${address}) is ready`),
      left: ({ name, address }) => events.add('replica-left', `${name} (${address}) is gone`),
      down: ({ name, state }) =>
        events.add('replica-down', `${name} does not answer${state === 'ended' ? ': its process has ended' : ''}`),
      up: ({ name }) => events.add('replica-up', `${name} answers again`),
    }),
    nginx: watchNginx(nginx.statusUrl, nginx.logPath),
    redis: watchRedis(redis.url, redis.password, (error) => onError(error, 'Redis')),
    members: watchMembers({
      ...mongo,
      onError,
      events: {
        down: ({ name }) => events.add('member-down', `${name} does not answer`),
        up: ({ name }) => events.add('member-up', `${name} answers again`),
        elected: ({ name }, before) =>
          events.add('election', name === before ? `${name} was elected again` : `${name} is primary after ${before}`),
      },
    }),
    own: watchOwnUsage(),
  }
  const watch = createWatch(sources, events)
  return {
    sources,
    watch,
    async close() {
      const { machine, replicas, members } = sources
      await Promise.all(
        [watch, stack, machine, replicas, sources.nginx, sources.redis, members].map((each) => each.close()),
      )
    },
  }
}
