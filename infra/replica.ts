import { join } from 'node:path'
import type { OneShot } from './one-shot.ts'
import { answersOk } from './probes.ts'
import { secrets } from './secrets.ts'
import type { Program } from './supervisor.ts'
import { environment, host, replicaName, type Site } from './topology.ts'

const main = 'apps/api/main.ts'
const neededSecrets = ['sessionSecret', 'mongoPassword', 'redisPassword'] as const

/** One replica of the API. Two of one name may run while a restart puts the one in the place of the other. */
export function replicaProgram(site: Site, name: string, port: number): Program {
  return {
    role: 'app',
    name,
    port,
    command: process.execPath,
    args: [join(site.root, main)],
    env: replicaEnvironment(site, name, port),
    cwd: site.root,
    logPath: join(site.dataDir.logs, `${name}.log`),
    isReady: () => answersOk(host, port, '/readyz'),
    readyWithinMs: 60_000,
    stopSignal: 'SIGTERM',
  }
}

type CheckSite = Pick<Site, 'root' | 'env' | 'dataDir' | 'ports'>

/**
 * The command that checks the settings of a replica and does nothing else.
 *
 * @param hasSecrets false if the secrets are not right themselves: the check is then of everything else
 */
export function replicaCheck(site: CheckSite, hasSecrets: boolean): OneShot {
  const env = replicaEnvironment(site, replicaName(1), site.ports.apps.first)
  for (const secret of hasSecrets ? [] : neededSecrets) {
    delete env[`${secrets[secret].variable}_FILE`]
    env[secrets[secret].variable] = 'x'.repeat(64)
  }
  return { command: process.execPath, args: [join(site.root, main), '--check'], env, cwd: site.root }
}

function replicaEnvironment(site: Pick<Site, 'env' | 'dataDir' | 'ports'>, name: string, port: number) {
  return environment(site, [...neededSecrets], {
    HOST: host,
    PORT: `${port}`,
    NAME: name,
    // Nginx is the only one to say who the client is.
    TRUSTED_PROXIES: site.env.TRUSTED_PROXIES ?? 'loopback',
  })
}
