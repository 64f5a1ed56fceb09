import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { redisAnswers } from './probes.ts'
import { secrets } from './secrets.ts'
import type { Program } from './supervisor.ts'
import { host, type Site, serverEnvironment } from './topology.ts'

/** Redis or Valkey, whose configuration is written anew at each start. */
export function redisProgram(site: Site): Program {
  const { dataDir, binaries, ports } = site
  const password = readFileSync(join(dataDir.secrets, secrets.redisPassword.file), 'utf8').trimEnd()
  // A file, since a command line could be read by everybody on the machine.
  writeFileSync(join(dataDir.redis, 'redis.conf'), configuration(ports.redis, password), { mode: 0o600 })
  return {
    role: 'redis',
    name: 'redis',
    port: ports.redis,
    command: binaries.redis.path,
    args: ['redis.conf'],
    env: serverEnvironment(site),
    cwd: dataDir.redis,
    logPath: join(dataDir.logs, 'redis.log'),
    isReady: () => redisAnswers(host, ports.redis, password),
    readyWithinMs: 60_000,
    stopSignal: 'SIGTERM',
  }
}

function configuration(port: number, password: string): string {
  return [
    `bind ${host}`,
    `port ${port}`,
    `requirepass "${password.replace(/["\\]/g, '\\$&')}"`,
    'dir .',
    'daemonize no',
    'appendonly yes',
    'appendfsync everysec',
    'save ""',
    'maxmemory-policy noeviction',
    '',
  ].join('\n')
}
