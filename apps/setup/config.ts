import type { Credentials } from '../data/admin.ts'
import { readSecret, SettingsError } from '../data/settings.ts'

/** What a `MONGO_URL` says. */
export interface ReplicaSetAddress {
  url: string
  /** `host:port`, in the order of the URL. */
  hosts: string[]
  database: string
  name: string
}

export interface ImportConfig {
  mongo: ReplicaSetAddress
  user: Credentials
}

export interface SetupConfig extends ImportConfig {
  root: Credentials
  /** The password of the demo users; without one there is no sample data. */
  demoPassword: string | undefined
  /** Bounds each wait for members, a primary, and copies of the data. */
  waitMs: number
}

/**
 * Reads the settings of the setup; an empty variable counts as absent, and each password may be given as `X_FILE`.
 * @throws SettingsError that names every variable which is missing or malformed
 */
export function readSetupConfig(env: NodeJS.ProcessEnv): SetupConfig {
  const reader = createReader(env)
  const config: SetupConfig = {
    mongo: reader.replicaSet(),
    user: { user: reader.text('MONGO_USER', 'brigade'), password: reader.secret('MONGO_PASSWORD') },
    root: { user: reader.text('MONGO_ROOT_USER', 'root'), password: reader.secret('MONGO_ROOT_PASSWORD') },
    demoPassword: reader.flag('SAMPLE_DATA', true) ? reader.secret('DEMO_PASSWORD') : undefined,
    waitMs: reader.integer('SETUP_WAIT_SECONDS', 60, 1, 3600) * 1000,
  }
  if (config.user.user === config.root.user) reader.refuse('MONGO_USER and MONGO_ROOT_USER are the same user')
  // The bounds of the log-in route: with another password the demo users would be locked out.
  const { length } = config.demoPassword ?? 'longer than eight'
  if (length > 0 && (length < 8 || length > 128)) reader.refuse('DEMO_PASSWORD must have 8 to 128 characters')
  reader.finish()
  return config
}

/** As {@link readSetupConfig}, for an import. */
export function readImportConfig(env: NodeJS.ProcessEnv): ImportConfig {
  const reader = createReader(env)
  const config: ImportConfig = {
    mongo: reader.replicaSet(),
    user: { user: reader.text('MONGO_USER', 'brigade'), password: reader.secret('MONGO_PASSWORD') },
  }
  reader.finish()
  return config
}

function createReader(env: NodeJS.ProcessEnv) {
  const problems: string[] = []
  return {
    refuse: (problem: string) => void problems.push(problem),
    text: (name: string, byDefault: string) => env[name] || byDefault,
    flag(name: string, byDefault: boolean): boolean {
      const value = env[name] || String(byDefault)
      if (value !== 'true' && value !== 'false') problems.push(`${name} must be true or false, not ${quote(value)}`)
      return value === 'true'
    },
    integer(name: string, byDefault: number, minimum: number, maximum: number): number {
      const value = env[name] || String(byDefault)
      const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN
      if (!(number >= minimum && number <= maximum)) {
        problems.push(`${name} must be a whole number from ${minimum} to ${maximum}, not ${quote(value)}`)
      }
      return number
    },
    secret(name: string): string {
      try {
        const value = readSecret(env, name)
        if (value === undefined) problems.push(`${name} is not set, and neither is ${name}_FILE`)
        if (value === '') problems.push(`${name}_FILE: ${env[`${name}_FILE`]} is empty`)
        return value ?? ''
      } catch (error) {
        problems.push((error as Error).message)
        return ''
      }
    },
    replicaSet(): ReplicaSetAddress {
      const url = env.MONGO_URL || 'mongodb://127.0.0.1:27017/brigade?replicaSet=brigade'
      try {
        return parseMongoUrl(url)
      } catch (error) {
        problems.push(`MONGO_URL ${(error as Error).message}`)
        return { url, hosts: [], database: '', name: '' }
      }
    },
    finish(): void {
      if (problems.length > 0) throw new SettingsError(problems)
    },
  }
}

function quote(value: string): string {
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
}

const host = String.raw`(?:\[[0-9A-Fa-f:.]+\]|[^\s:,/@?[\]]+)(?::\d{1,5})?`
const mongoUrl = new RegExp(String.raw`^mongodb://(${host}(?:,${host})*)/([^/?\s.$"]+)\?(\S+)$`)

/**
 * Members, database and set of a `mongodb://h1:p1,h2:p2/database?replicaSet=name`.
 * @throws Error whose message continues "MONGO_URL …"; it never repeats the URL, which may hold a password
 */
export function parseMongoUrl(url: string): ReplicaSetAddress {
  if (url.includes('@')) throw new Error('must not hold a user or password: set MONGO_USER and MONGO_PASSWORD')
  const [, list, database, query] = mongoUrl.exec(url) ?? []
  const name = new URLSearchParams(query).get('replicaSet')
  if (!list || !database || !name) {
    throw new Error('must look like mongodb://host:port,host:port,host:port/database?replicaSet=name')
  }
  const hosts = list.split(',').map((entry) => (/[^:]:\d+$|\]:\d+$/.test(entry) ? entry : `${entry}:27017`))
  if (new Set(hosts).size < hosts.length) throw new Error('names a member twice')
  if (hosts.some((entry) => !isPort(Number(entry.slice(entry.lastIndexOf(':') + 1))))) {
    throw new Error('names a port that is not between 1 and 65535')
  }
  return { url, hosts, database, name }
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535
}
