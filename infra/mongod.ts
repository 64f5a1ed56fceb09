import { join } from 'node:path'
import { accepts } from './probes.ts'
import { secrets } from './secrets.ts'
import type { Program } from './supervisor.ts'
import { host, memberNames, replicaSet, type Site, serverEnvironment } from './topology.ts'

// Three members share one machine here: by its default each would take half of the memory.
const cacheGigabytes = '0.25'
const oplogMegabytes = '128'

/** The members of the replica set. They are ready when they listen; the setup program makes a set of them. */
export function mongodPrograms(site: Site): Program[] {
  const { dataDir, binaries, ports } = site
  return memberNames.map((name, index) => {
    const port = ports.mongo[index] as number
    return {
      role: 'mongod',
      name,
      port,
      command: binaries.mongod.path,
      args: [
        ...['--replSet', replicaSet, '--keyFile', join(dataDir.secrets, secrets.mongoKeyfile.file)],
        ...['--bind_ip', host, '--port', `${port}`, '--nounixsocket', '--dbpath', dataDir.member(name)],
        ...['--wiredTigerCacheSizeGB', cacheGigabytes, '--oplogSize', oplogMegabytes],
        // By its default a primary spends 15 s on saying good-bye.
        ...['--setParameter', 'shutdownTimeoutMillisForSignaledShutdown=1000'],
        // A secondary lets go of a frozen primary a second after its answer was due, not after five and a second try.
        ...['--setParameter', 'oplogNetworkTimeoutBufferSeconds=1'],
        ...['--setParameter', 'oplogFetcherSteadyStateMaxFetcherRestarts=0'],
      ],
      env: serverEnvironment(site),
      cwd: dataDir.path,
      logPath: join(dataDir.logs, `${name}.log`),
      isReady: () => accepts(host, port),
      // A member that was killed replays its journal first.
      readyWithinMs: 120_000,
      stopSignal: 'SIGTERM',
    }
  })
}
