import { join } from 'node:path'
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
  /** The first and the last port that a replica may have; more than `maxReplicas`, since a restart starts the new one first. */
  apps: { first: number; last: number }
}

export function mongoUrl(ports: Ports): string {
  return `mongodb://${ports.mongo.map((port) => `${host}:${port}`).join(',')}/${database}?replicaSet=${replicaSet}`
}

type SecretName = keyof typeof secrets

/**
 * The environment of a program of this stack: the person's own, without any secret, with the files of the secrets it
 * needs, and with the addresses of this stack.
 */
export function environment(
  own: NodeJS.ProcessEnv,
  secretsDir: string,
  needed: SecretName[],
  addresses: Record<string, string>,
): NodeJS.ProcessEnv {
  const env = { ...own }
  for (const { variable } of Object.values(secrets)) {
    delete env[variable]
    delete env[`${variable}_FILE`]
  }
  for (const name of needed) env[`${secrets[name].variable}_FILE`] = join(secretsDir, secrets[name].file)
  return { ...env, ...addresses }
}
