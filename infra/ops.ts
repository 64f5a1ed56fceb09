import { request } from 'node:http'
import { join } from 'node:path'
import { answersOk } from './probes.ts'
import { stackPathIn } from './stack-file.ts'
import type { Program } from './supervisor.ts'
import { environment, host, type Site } from './topology.ts'

const answerMs = 1_000

/** The process that watches all others and serves the dashboard. */
export function opsProgram(site: Site): Program {
  const { root, dataDir, ports } = site
  return {
    role: 'ops',
    name: 'ops',
    port: ports.ops,
    command: process.execPath,
    args: [join(root, 'apps/ops/main.ts')],
    env: environment(site, ['mongoPassword', 'redisPassword'], {
      HOST: host,
      PORT: `${ports.ops}`,
      OPS_REPLICAS: `stack:${stackPathIn(dataDir.path)}`,
      OPS_NGINX_STATUS_URL: `http://${host}:${ports.status}/status`,
      OPS_NGINX_LOG: join(dataDir.logs, 'access.log'),
    }),
    cwd: root,
    logPath: join(dataDir.logs, 'ops.log'),
    isReady: () => answersOk(host, ports.ops, '/livez'),
    readyWithinMs: 30_000,
    stopSignal: 'SIGTERM',
  }
}

/** Has dashboards that are open connect anew. One that goes through an old worker of Nginx would keep it alive. */
export function renewStreams({ ports }: Pick<Site, 'ports'>): Promise<void> {
  return new Promise((resolve) => {
    const call = request({ host, port: ports.ops, path: '/streams', method: 'DELETE', timeout: answerMs, agent: false })
    call.on('response', (response) => response.resume())
    call.on('timeout', () => call.destroy())
    // Nobody waits for a dashboard that is not there.
    call.on('error', () => {})
    call.on('close', resolve)
    call.end()
  })
}
