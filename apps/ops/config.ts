import { type Static, Type } from 'typebox'
import { readSettings, settingFactsOf } from '../data/settings.ts'
import type { ReplicaSource } from './replicas.ts'

/** Every setting of ops: the one list that the types, the checks and `.env.example` come from. */
export const settings = Type.Object({
  HOST: Type.String({ default: '127.0.0.1', minLength: 1, description: 'Address to listen on' }),
  PORT: Type.Integer({ default: 3100, minimum: 1, maximum: 65_535, description: 'Port to listen on' }),
  LOG_LEVEL: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    default: 'info',
    description: 'Least severe level that is logged',
  }),
  MONGO_URL: Type.String({
    default: 'mongodb://127.0.0.1:27017/brigade?replicaSet=brigade',
    pattern: '^mongodb://[^@/]+/[^/?]+',
    description: 'Members to begin with, and the database of the heartbeat, without credentials',
  }),
  MONGO_USER: Type.String({ default: 'brigade', description: 'User of the database, kept in `admin`' }),
  MONGO_PASSWORD: Type.String({ default: '', description: 'Its password; empty connects without one' }),
  REDIS_URL: Type.String({
    default: 'redis://127.0.0.1:6379',
    pattern: '^rediss?://[^@]+$',
    description: 'Redis, without credentials',
  }),
  REDIS_PASSWORD: Type.String({ default: '', description: 'Its password; empty connects without one' }),
  OPS_REPLICAS: Type.String({
    default: 'stack:.brigade/stack.json',
    pattern: '^(stack:.+|dns:[^:]+:\\d{1,5})$',
    description: 'Where replicas are found: `stack:` and the path of the launcher’s stack.json, or `dns:name:port`',
  }),
  OPS_NGINX_STATUS_URL: Type.String({
    default: '',
    pattern: '^(https?://.+)?$',
    description: 'Address of Nginx’s stub_status, or of anything that answers while Nginx does; empty asks for none',
  }),
  OPS_NGINX_LOG: Type.String({
    default: '',
    description: 'Path of Nginx’s access log, by whose lines requests are counted; empty reads none',
  }),
})

export type OpsConfig = Static<typeof settings>

/** Settings that may also be given as `X_FILE`, the path of a file with the value. */
export const secrets = ['MONGO_PASSWORD', 'REDIS_PASSWORD'] as const satisfies (keyof OpsConfig)[]

/** By name, what there is to know of each setting. */
export const settingFacts = settingFactsOf(settings)

/**
 * Reads the settings of ops from the environment.
 * @throws SettingsError that names every variable which is missing or malformed
 */
export function readConfig(env: NodeJS.ProcessEnv): OpsConfig {
  return readSettings(settings, env, { secrets })
}

/** The members and the database that a `MONGO_URL` names. */
export function readMongoUrl(url: string): { hosts: string[]; database: string } {
  const [, list = '', database = ''] = /^mongodb:\/\/([^/]+)\/([^?]+)/.exec(url) ?? []
  return { hosts: list.split(',').map((host) => (/:\d+$/.test(host) ? host : `${host}:27017`)), database }
}

/** What `OPS_REPLICAS` says; the path is that of the launcher's list. */
export function readReplicaSource(text: string): { source: ReplicaSource; stackPath: string | undefined } {
  if (text.startsWith('stack:')) return { source: { kind: 'stack' }, stackPath: text.slice('stack:'.length) }
  const [, name = '', port] = text.split(':')
  return { source: { kind: 'dns', name, port: Number(port) }, stackPath: undefined }
}
