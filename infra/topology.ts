import { join } from 'node:path'
import type { Binary, ServerName } from './binaries.ts'
import type { DataDir } from './data-dir.ts'
import { stackVariable } from './leftovers.ts'
import { secrets } from './secrets.ts'

/** Every process, port and replica of a local stack, stated once. All of them listen on loopback only. */
export const host = '127.0.0.1'
export const roles = ['nginx', 'app', 'redis', 'mongod', 'ops', 'worker'] as const
export type Role = (typeof roles)[number]

export const defaults = { port: 8080, replicas: 3, dataDir: '.brigade' }
export const maxReplicas = 32
export const replicaSet = 'brigade'
export const database = 'brigade'
const memberCount = 3

export const memberNames = Array.from({ length: memberCount }, (_, index) => `mongo-${index + 1}`)
export const replicaName = (number: number) => `app-${number}`

export interface Ports {
  mongo: number[]
  redis: number
  /** Nginx's stub_status. */
  status: number
  ops: number
  /** The first and the last port that a replica may have; more than `maxReplicas`, since a restart starts the new one first. */
  apps: { first: number; last: number }
}

function mongoUrl(ports: Ports): string {
  return `mongodb://${ports.mongo.map((port) => `${host}:${port}`).join(',')}/${database}?replicaSet=${replicaSet}`
}

/** Where a stack stands: what its processes need to know of each other. */
export interface Site {
  /** The checkout. */
  root: string
  dataDir: DataDir
  /** The port of Nginx, and the loopback addresses on which it listens. */
  publicPort: number
  publicAddresses: string[]
  ports: Ports
  binaries: Record<ServerName, Binary>
  /** The environment that the person gave. */
  env: NodeJS.ProcessEnv
}

type SecretName = keyof typeof secrets

/**
 * The environment of a program of this project: the person's own, without any secret, with the files of the secrets
 * that it needs, and with addresses of this stack in place of any other.
 */
export function environment(
  site: Pick<Site, 'env' | 'dataDir' | 'ports'>,
  needed: SecretName[],
  addresses: Record<string, string> = {},
): NodeJS.ProcessEnv {
  const { dataDir, ports } = site
  const env = { ...site.env, ...frugal(site.env) }
  for (const { variable } of Object.values(secrets)) {
    delete env[variable]
    delete env[`${variable}_FILE`]
  }
  for (const name of needed) env[`${secrets[name].variable}_FILE`] = join(dataDir.secrets, secrets[name].file)
  return {
    ...env,
    MONGO_URL: mongoUrl(ports),
    REDIS_URL: `redis://${host}:${ports.redis}`,
    [stackVariable]: dataDir.path,
    ...addresses,
  }
}

/** What keeps a program small; the Dockerfile has the same. What the person says otherwise holds. */
function frugal({ NODE_OPTIONS = '', MALLOC_ARENA_MAX = '1' }: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return {
    // By its default V8 lets what is new grow to 128 MiB before it looks what of it can go.
    NODE_OPTIONS: `--max-semi-space-size=8 ${NODE_OPTIONS}`.trimEnd(),
    // Hashing a password takes 19 MiB on any of four threads, each of which would keep that in an arena of its own.
    MALLOC_ARENA_MAX,
  }
}

/** The environment of a server that is none of this project's programs: nothing that it has no use for. */
export function serverEnvironment({ env, dataDir }: Site): NodeJS.ProcessEnv {
  const { PATH, HOME, TZ, LD_LIBRARY_PATH } = env
  return { PATH, HOME, TZ, LD_LIBRARY_PATH, LC_ALL: 'C', [stackVariable]: dataDir.path }
}
