import { join } from 'node:path'
import { answersOk } from './probes.ts'
import type { Program } from './supervisor.ts'
import { environment, host, type Site } from './topology.ts'

const main = 'apps/api/main.ts'

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

/** The command that checks the settings of a replica and does nothing else. */
export function replicaCheck(site: Pick<Site, 'root' | 'env' | 'dataDir' | 'ports'>) {
  return {
    command: process.execPath,
    args: [join(site.root, main), '--check'],
    env: replicaEnvironment(site, 'app-1', site.ports.apps.first),
    cwd: site.root,
  }
}

function replicaEnvironment(site: Pick<Site, 'env' | 'dataDir' | 'ports'>, name: string, port: number) {
  return environment(site, ['sessionSecret', 'mongoPassword', 'redisPassword'], {
    HOST: host,
    PORT: `${port}`,
    NAME: name,
    // Nginx is the only one to say who the client is.
    TRUSTED_PROXIES: site.env.TRUSTED_PROXIES ?? 'loopback',
  })
}
