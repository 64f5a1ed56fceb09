import { copyFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Failure } from './failure.ts'
import { tailOf } from './logs.ts'
import { keepEdgeCache } from './nginx-cache.ts'
import { featuresOf, placeHttpConf, placeServerConf, publicHosts } from './nginx-place.ts'
import { runOnce } from './one-shot.ts'
import { answersOk } from './probes.ts'
import { childrenOf, isRunning } from './process-table.ts'
import type { Program } from './supervisor.ts'
import { host, type Site, serverEnvironment } from './topology.ts'

const newWorkersWithinMs = 10_000
const pollMs = 25

/** Nginx, which is given its configuration by `configureNginx`. */
export function nginxProgram(site: Site): Program {
  const { dataDir, binaries, publicPort } = site
  return {
    role: 'nginx',
    name: 'nginx',
    port: publicPort,
    command: binaries.nginx.path,
    args: nginxArguments(site),
    env: serverEnvironment(site),
    cwd: dataDir.nginx,
    logPath: join(dataDir.logs, 'nginx.log'),
    isReady: () => answersOk(site.publicAddresses[0] ?? host, publicPort, '/healthz'),
    readyWithinMs: 20_000,
    stopSignal: 'SIGQUIT',
  }
}

function nginxArguments({ dataDir }: Site): string[] {
  // Workers that root starts would become another user, who may not enter the data directory.
  const user = process.getuid?.() === 0 ? 'user root; ' : ''
  const main = `daemon off; pid nginx.pid; ${user}`.trim()
  return ['-p', dataDir.nginx, '-c', join(dataDir.nginx, 'nginx.conf'), '-e', 'stderr', '-g', main]
}

/**
 * Lays the configuration beside Nginx, with these replicas as upstream, and has Nginx check it.
 *
 * @throws Failure with Nginx's words if it refuses; a running Nginx is not touched
 */
export async function configureNginx(site: Site, replicaPorts: number[], signal: AbortSignal): Promise<void> {
  const { root, dataDir, publicPort, publicAddresses, ports, binaries } = site
  const shared = join(root, 'nginx')
  for (const name of readdirSync(shared)) {
    if (name.endsWith('.conf')) copyFileSync(join(shared, name), join(dataDir.nginx, name))
  }
  keepEdgeCache(dataDir)
  writeWhole(
    join(dataDir.nginx, 'place.http.conf'),
    placeHttpConf(featuresOf(binaries.nginx), replicaPorts, ports, publicHosts(site.env), site.env),
  )
  writeWhole(join(dataDir.nginx, 'place.server.conf'), placeServerConf(publicPort, publicAddresses))
  const { status, lines } = await runOnce(
    {
      command: binaries.nginx.path,
      args: ['-t', '-q', ...nginxArguments(site)],
      env: serverEnvironment(site),
      cwd: dataDir.nginx,
    },
    { signal },
  )
  if (status !== 0) throw new Failure(`nginx refuses its configuration:\n${lines.join('\n')}`)
}

/**
 * Has a running Nginx take up its new configuration, and returns when new workers serve by it and no old one is left.
 *
 * @param onNewWorkers is called when they are there, while old ones may still serve what they have
 * @param drainMs how long old workers may take for the requests they still have; after that they are left to finish
 * @throws Failure if no new workers come up: the old ones then go on as before
 */
export async function reloadNginx(
  site: Site,
  master: number,
  drainMs: number,
  onNewWorkers: () => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const old = childrenOf(master)
  const isOld = (pid: number) => old.some((worker) => worker.pid === pid)
  process.kill(master, 'SIGHUP')
  await waitUntil(
    () => childrenOf(master).some(({ pid }) => !isOld(pid)),
    newWorkersWithinMs,
    signal,
    () => {
      throw new Failure(`nginx did not take up its new configuration:\n${tailOf(join(site.dataDir.logs, 'nginx.log'))}`)
    },
  )
  await onNewWorkers()
  await waitUntil(
    () => !old.some(isRunning),
    drainMs,
    signal,
    () => {},
  )
}

async function waitUntil(isTrue: () => boolean, withinMs: number, signal: AbortSignal, otherwise: () => void) {
  const giveUpAt = Date.now() + withinMs
  while (!isTrue()) {
    signal.throwIfAborted()
    if (Date.now() > giveUpAt) return otherwise()
    await sleep(pollMs)
  }
}

function writeWhole(path: string, text: string): void {
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
}
