import { inject } from 'vitest'
import type { SamplingOptions } from '../../apps/ops/sampling.ts'
import { redisOptions } from './api.ts'
import { rootUser } from './servers.ts'

/**
 * What ops needs to watch the servers of the tests and the replicas that a list as the launcher's names.
 *
 * @param database for the heartbeat
 */
export function samplingOptions(database: string, stackPath: string): SamplingOptions {
  const { url, password } = redisOptions()
  return {
    source: { kind: 'stack' },
    stackPath,
    nginx: { statusUrl: '', logPath: '' },
    redis: { url, password },
    mongo: {
      hosts: inject('servers').mongoHosts,
      database,
      credentials: { user: rootUser, password: inject('servers').rootPassword },
    },
    onError: () => {},
  }
}
